"""The thread and the event loop in which a ``FaultServer`` serves."""

from __future__ import annotations

import asyncio
import concurrent.futures
import ssl
import threading
from collections.abc import Callable
from typing import Any

from flask_courier.testing.wire import Wire

_ADDRESS = "127.0.0.1"
# Seconds; a loop that does not answer for so long is broken, not slow.
_DEADLINE = 20.0
# Turns of the loop that connections get to end in: TLS closes in more than one.
_LAST_TURNS = 5


class Service:
    """Listens from ``__init__`` to ``stop``.

    :param port: 0 for any free one.
    :raises OSError: if the port cannot be had.
    """

    def __init__(
        self, protocol: Callable[[], Wire], live: set[Wire], port: int, tls: ssl.SSLContext | None
    ) -> None:
        self._live = live
        #: What a script's own callable raised.
        self.errors: list[BaseException] = []
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(self._note)
        started: concurrent.futures.Future[int] = concurrent.futures.Future()
        self._thread = threading.Thread(
            target=self._run, args=(protocol, port, tls, started), daemon=True
        )
        self._thread.name = "flask_courier.testing"
        self._thread.start()
        self.port = started.result(_DEADLINE)

    def stop(self) -> None:
        """Hang up on everybody and stop listening."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(_DEADLINE)

    def call_soon(self, action: Callable[[], None]) -> None:
        """Run ``action`` on the loop."""
        self.loop.call_soon_threadsafe(action)

    def _run(
        self,
        protocol: Callable[[], Wire],
        port: int,
        tls: ssl.SSLContext | None,
        started: concurrent.futures.Future[int],
    ) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            try:
                listener = self.loop.run_until_complete(
                    self.loop.create_server(protocol, _ADDRESS, port, ssl=tls, backlog=1024)
                )
            except OSError as error:
                started.set_exception(error)
                return
            started.set_result(listener.sockets[0].getsockname()[1])
            self.loop.run_forever()
            self.loop.run_until_complete(self._end(listener))
        finally:
            self.loop.close()

    async def _end(self, listener: asyncio.AbstractServer) -> None:
        listener.close()
        for wire in tuple(self._live):
            wire.transport.abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for _ in range(_LAST_TURNS):
            await asyncio.sleep(0)

    def _note(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        # A client that goes away in mid-handshake is a client's business.
        if error is not None and not isinstance(error, OSError):
            self.errors.append(error)
