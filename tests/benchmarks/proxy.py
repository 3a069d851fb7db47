"""A proxy that holds every byte back for a while in each direction: a server far away.

Bandwidth is not limited, order is kept. The loop waits with select(2), whose timeout counts in
microseconds: epoll's counts in milliseconds, rounded up, which would be a tenth of the delay.
"""

from __future__ import annotations

import asyncio
import selectors
import sys
from collections import deque

from tests.benchmarks.processes import greet


class End(asyncio.Protocol):
    """One side of a connection; what it gets goes to ``other`` after ``delay`` seconds."""

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._transport: asyncio.Transport | None = None
        #: Data on its way to this side; None is the end of it.
        self._due: deque[bytes | None] = deque()
        self._early: list[bytes | None] = []
        self.other: End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send what came due before the connection stood."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        for data in self._early:
            self._pass(data)

    def data_received(self, data: bytes) -> None:
        """Hand it to the other side, later."""
        assert self.other is not None
        self.other.take(data)

    def connection_lost(self, _error: Exception | None) -> None:
        """The other side ends as much later."""
        assert self.other is not None
        self.other.take(None)

    def take(self, data: bytes | None) -> None:
        """Send ``data`` after the delay; timers that fall together still keep the order."""
        self._due.append(data)
        asyncio.get_running_loop().call_later(self._delay, self._send_next)

    def _send_next(self) -> None:
        data = self._due.popleft()
        if self._transport is None:
            self._early.append(data)
        else:
            self._pass(data)

    def _pass(self, data: bytes | None) -> None:
        assert self._transport is not None
        if data is None:
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write(data)


async def _serve(target: int, delay: float) -> None:
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    dials: set[asyncio.Task[object]] = set()

    def accept() -> End:
        near, far = End(delay), End(delay)
        near.other, far.other = far, near
        dial = loop.create_task(loop.create_connection(lambda: far, "127.0.0.1", target))
        dials.add(dial)
        dial.add_done_callback(dials.discard)
        return near

    def obey() -> None:
        if not sys.stdin.readline():
            done.set()

    server = await loop.create_server(accept, "127.0.0.1", 0, backlog=512)
    loop.add_reader(sys.stdin.fileno(), obey)
    greet(port=server.sockets[0].getsockname()[1])
    await done.wait()
    server.close()


if __name__ == "__main__":
    _loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    _loop.run_until_complete(_serve(int(sys.argv[1]), float(sys.argv[2])))
    _loop.close()
