"""One connection of a ``FaultServer``: bytes in, bytes out, and what a fault does to them.

It knows lines, payloads and time, and no SMTP; ``conversation`` does.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import cast

from flask_courier.testing.faults import Event, Fault, Rule, Script
from flask_courier.testing.offer import Offer
from flask_courier.testing.records import Connection, Ledger

_LINE_LIMIT = 65536
_ENDLESS_CHUNK = 65536
# SO_LINGER on, for no time: closing sends RST instead of FIN.
_RESET = struct.pack("ii", 1, 0)

#: Told, once the reply is said, whether what was asked for happens.
Then = Callable[[bool], None]


class Wire(asyncio.Protocol, ABC):
    """Buffers, order and pace; runs on the server's loop only."""

    def __init__(self, offer: Offer, script: Script, ledger: Ledger, live: set[Wire]) -> None:
        self.offer = offer
        self.script = script
        self.ledger = ledger
        self.live = live
        self.connection: Connection
        self.loop = asyncio.get_running_loop()
        self.transport: asyncio.Transport
        self.buffer = bytearray()
        #: Whether what comes is a payload; else it is lines.
        self.in_body = False
        #: Set while something else must end before the next command is looked at.
        self.upgrading = False
        self._busy = False
        self._closed = False
        self._out: list[bytes] = []
        self._due: deque[Callable[[], None]] = deque()
        self._endless: bytes | None = None
        self._full = False

    # ------------------------------------------------------------------ what conversation adds
    @abstractmethod
    def greet(self) -> None:
        """The connection stands."""

    @abstractmethod
    def take_line(self, line: bytes) -> None:
        """One line came, without its CRLF."""

    @abstractmethod
    def take_body(self) -> bool:
        """More of a payload came; whether it is whole now, or a fault has struck."""

    # ------------------------------------------------------------------ asyncio's side
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.connection = self.ledger.open(f"{peer[0]}:{peer[1]}", time.monotonic())
        self.live.add(self)
        self.note_tls()
        self.greet()
        self.flush()

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        self.buffer += data
        self._process()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - how it ended is all one
        """Note the end."""
        self._closed = True
        # Python 3.10 holds a TLS transport for open until then, and warns when it is collected.
        self.transport.close()
        self._endless = None
        if self in self.live:
            self.live.discard(self)
            self.ledger.close(self.connection, time.monotonic())

    def pause_writing(self) -> None:
        """The client does not read."""
        self._full = True

    def resume_writing(self) -> None:
        """The client has read on."""
        self._full = False
        if self._endless is not None:
            # In a turn of its own: asyncio ends a transport twice if a write fails in here.
            self.loop.call_soon(self._repeat, self._endless)

    def note_tls(self) -> None:
        """Remember how the connection is encrypted."""
        tls = self.transport.get_extra_info("ssl_object")
        if tls is not None:
            self.connection.tls_version, self.connection.tls_cipher = tls.version(), tls.cipher()[0]

    # ------------------------------------------------------------------ in
    def _process(self) -> None:
        while self.buffer and not (self._busy or self.upgrading or self._closed):
            if self.in_body:
                if not self.take_body():
                    break
                continue
            end = self.buffer.find(b"\n")
            if end < 0:
                if len(self.buffer) > _LINE_LIMIT:
                    self.say(self.offer.reply(500, "5.5.2", "line too long"))
                    self.do(self.hang_up)
                break
            line = bytes(self.buffer[: end + 1])
            del self.buffer[: end + 1]
            if line.endswith(b"\r\n"):
                self.take_line(line[:-2])
            else:
                self.say(self.offer.reply(500, "5.5.2", "a line ends with CRLF, not with LF"))
        self.flush()

    def go_on(self) -> None:
        """Look at what came while an upgrade was under way."""
        self.upgrading = False
        self._process()

    # ------------------------------------------------------------------ out
    def say(self, data: bytes) -> None:
        """Add to what goes out next."""
        self.note(data)
        self._out.append(data)

    def note(self, data: bytes) -> None:
        """Remember what is said."""
        if not self.offer.brief:
            self.connection.transcript += [b"S: " + line for line in data[:4096].splitlines()]
        code = data[:3]
        self.ledger.say(int(code) if code.isdigit() else None)

    def flush(self) -> None:
        """Send what was said, in one piece."""
        if self._out:
            data = b"".join(self._out)
            self._out.clear()
            self._in_order(partial(self._write, data))

    def do(self, action: Callable[[], None]) -> None:
        """Run ``action`` after everything said so far has gone out."""
        self.flush()
        self._in_order(action)

    def _in_order(self, action: Callable[[], None]) -> None:
        if self.offer.latency > 0 or self._due:
            # Timers of one moment fire in any order, so what they do comes from a queue.
            self._due.append(action)
            self.loop.call_later(self.offer.latency, self._next_due)
        else:
            action()

    def _next_due(self) -> None:
        self._due.popleft()()

    def _write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def hang_up(self) -> None:
        """Close after what has been written."""
        self._closed = True
        self.transport.close()

    def _reset(self) -> None:
        self._closed = True
        sock: socket.socket = self.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    # ------------------------------------------------------------------ faults
    def answer(
        self,
        event: Event,
        reply: bytes | None,
        then: Then | None = None,
        *,
        done: set[Rule] | None = None,
    ) -> bool:
        """Say ``reply``, unless the script has something else in mind; whether it had.

        :param then: what the reply is about; None where it cannot happen, whatever is said.
        """
        judged = self.script.judge(event, done) if self.script.watches(event.verb) else None
        if judged is None:
            if reply is not None:
                self.say(reply)
                if then is not None:
                    then(reply[0] in b"23")
            return False
        rule, fault = judged
        if fault.hold:
            self._busy = True
            self.flush()
            rule.hold(partial(self._wait, fault, reply, then))
        else:
            self._wait(fault, reply, then)
        return True

    def _wait(self, fault: Fault, reply: bytes | None, then: Then | None) -> None:
        if fault.delay > 0:
            self._busy = True
            self.flush()
            self.loop.call_later(fault.delay, self._carry_out, fault, reply, then)
        else:
            self._carry_out(fault, reply, then)

    def _carry_out(self, fault: Fault, reply: bytes | None, then: Then | None) -> None:
        if self._closed:
            return
        data = fault.wire()
        if data is None and not (fault.drop or fault.reset):
            data = reply
        if data and fault.endless:
            self._busy = True
            self.note(data)
            self.do(partial(self._repeat, data))
        elif data and fault.pace is not None:
            self._busy = True
            self.note(data)
            settle = partial(self._settle, fault, data, then)
            self.do(partial(self._drip, data, fault.pace, settle))
        else:
            if data:
                self.say(data)
            self._settle(fault, data, then)

    def _settle(self, fault: Fault, said: bytes | None, then: Then | None) -> None:
        positive = said is not None and said[:1] in (b"2", b"3")
        if then is not None:
            then(positive if fault.keep is None else fault.keep)
        if fault.reset:
            self.do(self._reset)
        elif fault.drop or (fault.drop is None and said is not None and said[:3] == b"421"):
            self.do(self.hang_up)
        elif self._busy:
            self._busy = False
            self._process()

    def _drip(self, data: bytes, pace: float, then: Callable[[], None]) -> None:
        """Send one byte now, and the others one by one."""
        self._write(data[:1])
        if len(data) > 1 and not self._closed:
            self.loop.call_later(pace, self._drip, data[1:], pace, then)
        else:
            then()

    def _repeat(self, data: bytes) -> None:
        """Send ``data`` as fast as the client reads, for as long as it does."""
        self._endless = data
        if not (self._closed or self._full):
            self._write(data * (_ENDLESS_CHUNK // len(data) + 1))
            self.loop.call_soon(self._repeat, data)
