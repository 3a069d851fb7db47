"""Commands out and replies in, over a connection that is ready for mail.

A :class:`Wire` knows which replies it waits for. Whatever does not fit (a line nobody asked for, a
reply of another kind, no SMTP at all, no end of it) ends the connection: with replies out of step,
"250" may be the answer to anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Container, Sequence
from typing import NamedTuple

from flask_courier.core.replies import Phase, Reply, Trouble
from flask_courier.delivery.envelope import Timeouts
from flask_courier.delivery.tls import words

#: Bytes of one line and of one whole reply; RFC 5321 section 4.5.3.1.5 allows 512 a line.
LONGEST_LINE = 8 * 1024
LONGEST_REPLY = 64 * 1024

_CLOSING = 421
# How a reply of one line begins, which nearly all are.
_WHOLE = {b"%d " % code: code for code in range(200, 600)}
# A reply to a command of mail has 5 as its second digit (RFC 5321 section 4.2.1). Any other 2yz
# answers something else: 220 is a banner, 221 a farewell, 235 a login.
_MAIL_DONE = range(250, 260)


class Step(NamedTuple):
    """A command whose reply is waited for."""

    phase: Phase
    #: The replies that fit, besides refusals (4yz, 5yz).
    good: Container[int]
    #: Which of the :class:`Timeouts`.
    limit: str


RSET = Step(Phase.MAIL, (250,), "command")
MAIL = Step(Phase.MAIL, (250,), "command")
RCPT = Step(Phase.RCPT, _MAIL_DONE, "command")
# Two replies to MAIL would make DATA look like 250 (RFC 5321 section 4.3.2).
DATA = Step(Phase.DATA, (354,), "data")
DOT = Step(Phase.DOT, _MAIL_DONE, "dot")
QUIT = Step(Phase.MAIL, (221, 250), "quit")


class End(NamedTuple):
    """Why a wire carries nothing more."""

    trouble: Trouble
    text: str
    #: The reply that did not fit, or that announced the end.
    reply: Reply | None = None


class Wire(asyncio.Protocol):
    """The protocol of a transport that something else has opened.

    It is for one task, which sends a group of commands and waits for all their replies. It never
    raises for what the server does: answers are short, and :attr:`ended` says why.
    """

    def __init__(self, transport: asyncio.Transport, timeouts: Timeouts) -> None:
        self._transport = transport
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._steps: Sequence[Step] = ()
        self._replies: list[Reply] = []
        self._wanted = 0
        self._waiter: asyncio.Future[None] | None = None
        self._tail = b""
        # The lines of a reply whose last line has not come, and their size.
        self._lines: list[bytes] = []
        self._size = 0
        self._paused = False
        # One timer for all waits, moved only when it would come too late.
        self._deadline: float | None = None
        self._patience = 0.0
        self._timer: asyncio.TimerHandle | None = None
        #: Set when the connection is of no more use.
        self.ended: End | None = None

    @property
    def is_open(self) -> bool:
        """Whether anything can still be sent, as far as this side knows."""
        if self.ended is None and self._transport.is_closing():
            # ``connection_lost`` is due but has not come yet.
            self._end(Trouble.DROPPED, "the server closed the connection")
        return self.ended is None

    async def ask(
        self, commands: bytes, steps: Sequence[Step], *, wanted: int | None = None
    ) -> list[Reply]:
        """Send ``commands`` in one piece and wait for the replies to all of them.

        :param wanted: wait for so many only; :meth:`rest` waits for the others.
        :return: one reply for each of ``steps``, fewer if the connection ended before. Those that
            come later are put into the same list.
        """
        if not self.is_open:
            return []
        replies: list[Reply] = []
        self._steps, self._replies = steps, replies
        self._wanted = len(steps) if wanted is None else wanted
        self._transport.write(commands)
        await self._wait(steps[0].limit)
        return replies

    async def rest(self) -> None:
        """Wait for the replies that :meth:`ask` has not waited for."""
        self._wanted = len(self._steps)
        if self.is_open and len(self._replies) < self._wanted:
            await self._wait(self._steps[len(self._replies)].limit)

    async def push(self, part: bytes) -> None:
        """Send a part of a payload; comes back when there is room for more, or at the end."""
        if not self.is_open:
            return
        self._transport.write(part)
        if self._paused:
            await self._wait("block")

    def abort(self) -> None:
        """Close without a word; what is not sent yet is thrown away."""
        self._end(Trouble.DROPPED, "the connection is closed")

    def pause_writing(self) -> None:
        """asyncio: the buffers are full."""
        self._paused = True

    def resume_writing(self) -> None:
        """asyncio: there is room again."""
        self._paused = False
        if len(self._replies) == len(self._steps):
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """asyncio: the connection is gone."""
        self._end(Trouble.DROPPED, words(exc) if exc else "the server closed the connection")

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes have come, which may be parts of lines, or many of them."""
        if self._tail:
            data = self._tail + data
        start = 0
        while self.ended is None:
            end = data.find(b"\n", start)
            if end < 0:
                break
            self._take_line(data[start:end])
            start = end + 1
        self._tail = data[start:]
        if len(self._tail) > LONGEST_LINE:
            self._end(Trouble.OUT_OF_STEP, "the server sent a line without end")

    async def _wait(self, limit: str) -> None:
        self._set_deadline(limit)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        except asyncio.CancelledError:
            if self._waiter.done() and not self._waiter.cancelled():
                # It is here: what is known is not thrown away.
                return
            # The replies would come in when nobody expects them.
            self.abort()
            raise
        finally:
            self._waiter = None
            self._deadline = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _take_line(self, line: bytes) -> None:
        code = None if self._lines else _WHOLE.get(line[:4])
        if code is not None:
            self._take_reply(Reply(code, line[4:].strip().decode("utf-8", "replace")))
            return
        # RFC 5321 section 4.2. A line that ends with LF alone counts too: nothing that is told by
        # it depends on where the server ends its lines.
        if line.endswith(b"\r"):
            line = line[:-1]
        mark = line[3:4]
        if not (len(line) >= 3 and line[:3].isdigit() and mark in (b" ", b"-", b"")):
            self._garbled(line)
            return
        code = int(line[:3])
        if not 200 <= code < 600 or (self._lines and not self._lines[0].startswith(line[:3])):
            self._garbled(line)
            return
        self._lines.append(line)
        self._size += len(line)
        if self._size > LONGEST_REPLY:
            self._end(Trouble.OUT_OF_STEP, "the server sent a reply without end")
        elif mark != b"-":
            text = b"\n".join(part[4:].strip() for part in self._lines)
            self._lines, self._size = [], 0
            self._take_reply(Reply(code, text.decode("utf-8", "replace")))

    def _garbled(self, line: bytes) -> None:
        if len(line) > LONGEST_LINE:
            # Not a part of it: what a cut leaves of a token is not masked for certain.
            self._end(Trouble.OUT_OF_STEP, "the server sent a line without end")
            return
        said = line.decode("utf-8", "replace")
        self._end(Trouble.OUT_OF_STEP, f"the server sent what is not an SMTP reply: {said}")

    def _take_reply(self, reply: Reply) -> None:
        code, had = reply.code, len(self._replies)
        if had == len(self._steps):
            if code == _CLOSING:
                # A server may say so at any time (RFC 5321 section 3.8).
                self._end(Trouble.DROPPED, reply.text, reply)
            else:
                self._end(
                    Trouble.OUT_OF_STEP, f"the server spoke without being asked: {reply.text}"
                )
            return
        if not (code >= 400 or code in self._steps[had].good):
            self._end(Trouble.OUT_OF_STEP, reply.text, reply)
            return
        self._replies.append(reply)
        if code == _CLOSING:
            self._end(Trouble.DROPPED, reply.text)
            return
        if had + 1 == self._wanted:
            self._wake()
        if had + 1 < len(self._steps):
            self._set_deadline(self._steps[had + 1].limit)
        else:
            self._deadline = None

    def _end(self, trouble: Trouble, text: str, reply: Reply | None = None) -> None:
        if self.ended is not None:
            return
        self.ended = End(trouble, text, reply)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        cut(self._transport)
        self._wake()

    def _set_deadline(self, limit: str) -> None:
        self._patience = getattr(self._timeouts, limit)
        self._deadline = deadline = self._loop.time() + self._patience
        if self._timer is not None:
            if self._timer.when() <= deadline:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._look_at_the_time)

    def _look_at_the_time(self) -> None:
        self._timer = None
        if self._deadline is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._look_at_the_time)
        else:
            self._end(Trouble.TIMED_OUT, f"no answer within {self._patience:g} seconds")


def cut(transport: asyncio.Transport) -> None:
    """Close without a word; what is not sent yet is thrown away."""
    # Not close() alone: TLS would wait for the server's farewell, longer than a loop may run.
    transport.abort()
    # Python 3.10 holds a TLS transport for open until then, and warns when it is collected.
    transport.close()
