"""Ways to run a worker that is not embedded: drain in this thread, or serve until a signal."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from flask_courier.core.errors import SetupError
from flask_courier.core.ids import nonce
from flask_courier.core.status import Status
from flask_courier.delivery.listener import Listener
from flask_courier.delivery.parts import WorkerParts
from flask_courier.delivery.thread import DatabaseThread
from flask_courier.delivery.worker import Worker
from flask_courier.storage import statistics
from flask_courier.storage.uow import Database

T = TypeVar("T")

#: Gets the counts so far, and how many messages are due: None while the database is away.
Tick = Callable[[Counter[Status], "int | None"], None]

#: Seconds between two ticks; a database that is away is not asked more than others ask it.
_TICK = 1.0
_TICK_AWAY = 5.0
#: Seconds that mail on the wire gets when the worker is told to stop. With all that follows
#: (``WorkerParts.end``) it is less than supervisors wait before they kill: Kubernetes 30, systemd
#: 90.
_DRAIN = 20.0
_SIGNALS = (signal.SIGTERM, signal.SIGINT)

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


def serve(parts: WorkerParts, *, on_tick: Tick | None = None) -> Counter[Status]:
    """Deliver until SIGTERM or SIGINT, then finish what is in hand; answer as :func:`drain` does.

    A second signal does what signals do to a program that does not heed them: it is gone at once,
    and its leases bring back what it had in hand.

    :param on_tick: called about once a second in the loop's thread; must not block.
    :raises SetupError: inside a running event loop, which would have to wait for itself.
    """
    call = DatabaseThread("flask_courier.database")
    # The process does nothing else: what is here now stays, and need not be looked through again.
    gc.freeze()

    async def work() -> Counter[Status]:
        worker = Worker(dataclasses.replace(parts, drain=_DRAIN), call)
        with _heeding_signals(worker), _hearing_commits(worker, parts.database):
            ticker = asyncio.create_task(_tick(worker, on_tick, parts.database, call))
            try:
                await worker.run()
            finally:
                ticker.cancel()
        return worker.outcomes

    try:
        return _run(work)
    finally:
        gc.unfreeze()
        call.stop()


@contextlib.contextmanager
def _heeding_signals(worker: Worker) -> Iterator[None]:
    """Let the first signal stop the worker, and leave the next one to the system."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in _SIGNALS}

    def stop() -> None:
        let_go()
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        worker.stop()

    def let_go() -> None:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        let_go()
        for number, handler in before.items():
            # None: it was not set from Python, and cannot be from here.
            if handler is not None:
                signal.signal(number, handler)


@contextlib.contextmanager
def _hearing_commits(worker: Worker, database: Database) -> Iterator[None]:
    """Wake the worker for each commit that queued mail, where commits are announced."""
    if not database.notifies:
        yield
        return
    loop = asyncio.get_running_loop()

    def wake() -> None:
        # The loop may have ended a moment ago.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(worker.wake)

    listener = Listener(database.subscribe, wake)
    worker.hears_commits = lambda: listener.healthy
    listener.start()
    try:
        yield
    finally:
        listener.stop()


async def _tick(
    worker: Worker, tell: Tick | None, database: Database, call: DatabaseThread
) -> None:
    while tell is not None:
        waiting = await call(statistics.due_now, database)
        tell(Counter(worker.outcomes), waiting)
        await asyncio.sleep(_TICK if waiting is not None else _TICK_AWAY)


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
