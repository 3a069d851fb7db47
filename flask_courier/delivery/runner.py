"""Ways to run a worker that is not embedded: drain in this thread, or serve until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from flask_courier.core.errors import SetupError
from flask_courier.core.ids import nonce
from flask_courier.core.status import Status
from flask_courier.delivery.thread import DatabaseThread
from flask_courier.delivery.worker import Worker, WorkerParts

T = TypeVar("T")

_INSIDE_A_LOOP = (
    "mail was to be delivered inside a running event loop, which cannot wait for it; call this "
    "from ordinary code, or run 'flask courier worker'"
)


def worker_name() -> str:
    """What a worker of this process is called in rows: host, process, and something of its own."""
    return f"{socket.gethostname()}:{os.getpid()}:{nonce()[:6]}"


def drain(parts: WorkerParts) -> Counter[Status]:
    """Deliver everything that is due, in this thread; answer how often each status was reached.

    :raises SetupError: inside a running event loop, which would have to wait for itself.
    """

    async def work() -> Counter[Status]:
        worker = Worker(parts, _directly)
        await worker.drain()
        return worker.outcomes

    return _run(work)


def serve(parts: WorkerParts) -> None:
    """Deliver until SIGTERM or SIGINT, then finish what is in hand."""
    call = DatabaseThread("flask_courier.database")

    async def work() -> None:
        worker = Worker(parts, call)
        loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, worker.stop)
        await worker.run()

    try:
        _run(work)
    finally:
        call.stop()


def _run(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with contextlib.suppress(RuntimeError):
        asyncio.get_running_loop()
        raise SetupError(_INSIDE_A_LOOP)
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(work())
    finally:
        loop.close()


async def _directly(function: Callable[..., Any], /, *args: Any) -> Any:
    """Run database work in the calling thread: nothing else happens there meanwhile."""
    return function(*args)
