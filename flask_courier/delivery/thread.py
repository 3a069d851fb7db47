"""The embedded worker: an event loop in a thread of the application's own process.

It starts with the first request or commit, never at import or ``init_app``, and once per process:
a fork leaves its threads behind, so a child starts its own. Nothing here uses concurrent.futures,
whose shut-down at interpreter exit would lose results of mail that is already on the wire.
"""

from __future__ import annotations

import asyncio
import atexit
import codecs
import logging
import os
import queue
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any

from flask_courier.delivery.parts import WorkerParts
from flask_courier.delivery.worker import Worker

logger = logging.getLogger("flask_courier.worker")

#: Seconds that ``stop`` waits: for as long as a worker takes to end (``WorkerParts.end``), and for
#: the database.
_STOP_TIMEOUT = 10.0
#: Seconds that a fork waits for the loop, which is between two steps all the time.
_PARK_TIMEOUT = 1.0

# Else the first look-up of a host imports it, perhaps as this process forks.
codecs.lookup("idna")

#: Held while a child process finds out that it is one.
_forgetting = threading.Lock()

_Job = tuple["Future[Any]", Callable[..., Any], tuple[Any, ...]]


class DatabaseThread:
    """A thread that runs database work in the order it is given, one piece at a time."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # Held while a job runs; its own thread may fork in the midst of one.
        self._busy = threading.RLock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def __call__(self, function: Callable[..., Any], /, *args: Any) -> Awaitable[Any]:
        """Answer what ``function`` answers, to the running event loop."""
        future: Future[Any] = Future()
        self._jobs.put((future, function, args))
        return asyncio.wrap_future(future)

    def stop(self) -> None:
        """Finish what was given, and end the thread."""
        self._jobs.put(None)
        self._thread.join(_STOP_TIMEOUT)

    def pause(self) -> bool:
        """Let the job in hand come to its end and start no other; False if that takes too long."""
        return self._busy.acquire(timeout=_STOP_TIMEOUT)

    def go_on(self) -> None:
        """End a pause."""
        self._busy.release()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            with self._busy:
                self._work(*job)

    def _work(
        self, future: Future[Any], function: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = function(*args)
        except BaseException as error:  # noqa: BLE001 - it belongs to whoever asked
            future.set_exception(error)
        else:
            future.set_result(result)


class _Fork(threading.local):
    """What stands still for the fork that this thread makes; several may fork at once."""

    go_on: threading.Event | None = None
    paused: DatabaseThread | None = None


class EmbeddedWorker:
    """One worker thread per process, started when it is first needed.

    :param parts: makes the worker's parts; called in the process that runs them.
    :param let_go: called in a child process before anything else, to let go of connections that
        it shares with its parent.
    """

    def __init__(self, parts: Callable[[], WorkerParts], *, let_go: Callable[[], None]) -> None:
        self._parts = parts
        self._let_go = let_go
        self._reset()
        reference: weakref.ref[EmbeddedWorker] = weakref.ref(self)
        os.register_at_fork(
            before=lambda: _each(reference, EmbeddedWorker.before_fork),
            after_in_parent=lambda: _each(reference, EmbeddedWorker.after_fork),
            after_in_child=lambda: _each(reference, EmbeddedWorker.forget),
        )
        atexit.register(_each, reference, EmbeddedWorker.stop)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: Worker | None = None
        self._call: DatabaseThread | None = None
        self._fork = _Fork()
        self._stopped = False
        # Last: with it, other threads of this process take the rest for theirs.
        self._process = os.getpid()

    def ensure_started(self) -> None:
        """Start the thread unless it runs, or has been stopped for good."""
        self._notice_fork()
        if self._is_settled() or _only_forks():
            return
        with self._lock:
            # Asked again: another thread may have been faster.
            if not self._is_settled():
                ready = threading.Event()
                thread = threading.Thread(
                    target=self._run, args=(ready,), name="flask_courier.worker", daemon=True
                )
                try:
                    thread.start()
                except RuntimeError:
                    # No thread is to be had. The request goes on; the next one asks again.
                    logger.exception("no worker", extra={"action": "worker_start_failed"})
                    return
                self._thread = thread
                ready.wait(_STOP_TIMEOUT)

    def _is_settled(self) -> bool:
        return self._stopped or (self._thread is not None and self._thread.is_alive())

    def wake(self) -> None:
        """Tell the worker that something was queued; starts it if need be. Never raises."""
        self.ensure_started()
        self._tell(lambda worker: worker.wake())

    def stop(self) -> None:
        """Let mail that is on the wire come to its end, then end the thread."""
        self._notice_fork()
        with self._lock:
            self._stopped = True
            thread = self._thread
        if thread is not None:
            self._tell(lambda worker: worker.stop())
            thread.join(_STOP_TIMEOUT)

    def before_fork(self) -> None:
        """Fork while the worker does nothing that the child would have for good by halves.

        That is a transaction, whose locks SQLite would hold there, and the import of a module.
        """
        self._park()
        call = self._call
        if call is not None and call.pause():
            self._fork.paused = call

    def _park(self) -> None:
        """Stop the loop between two steps, until :meth:`after_fork`."""
        thread, parked, go_on = self._thread, threading.Event(), threading.Event()

        def stand_still() -> None:
            parked.set()
            go_on.wait(_STOP_TIMEOUT)

        self._fork.go_on = go_on
        if thread is not None and thread.is_alive() and thread is not threading.current_thread():
            self._tell(lambda _worker: stand_still())
            parked.wait(_PARK_TIMEOUT)

    def after_fork(self) -> None:
        """In the parent: what stood still for this thread's fork goes on."""
        go_on, self._fork.go_on = self._fork.go_on, None
        if go_on is not None:
            go_on.set()
        paused, self._fork.paused = self._fork.paused, None
        if paused is not None:
            paused.go_on()

    def forget(self) -> None:
        """In a child process: there is no thread here, and no connection that is ours."""
        self._let_go()
        self._reset()

    def _notice_fork(self) -> None:
        """See to a fork that Python was not told of: uWSGI's, without ``py-call-osafterfork``.

        There, the thread that stayed behind in the parent goes on to look alive.
        """
        if self._process != os.getpid():
            with _forgetting:
                # Asked again: another thread may have been faster.
                if self._process != os.getpid():
                    self.forget()

    def _tell(self, message: Callable[[Worker], None]) -> None:
        loop, worker = self._loop, self._worker
        if loop is not None and worker is not None:
            try:
                loop.call_soon_threadsafe(message, worker)
            except RuntimeError:
                # The loop has just been closed: the next process finds the message in its table.
                return

    def _run(self, ready: threading.Event) -> None:
        loop = asyncio.new_event_loop()
        try:
            self._call = call = DatabaseThread("flask_courier.database")
            try:
                loop.run_until_complete(self._work(loop, call, ready))
            finally:
                call.stop()
        finally:
            # Whoever waits for a worker that could not be made waits no longer.
            ready.set()
            self._loop = None
            loop.close()

    async def _work(
        self, loop: asyncio.AbstractEventLoop, call: DatabaseThread, ready: threading.Event
    ) -> None:
        worker = Worker(self._parts(), call)
        self._worker, self._loop = worker, loop
        ready.set()
        await worker.run()


def _only_forks() -> bool:
    """Whether this is uWSGI's first process, where no thread may be: mail waits for its children.

    It forks without Python's own lock, which a thread that runs at that moment would hold in the
    child for good.
    """
    uwsgi: Any = sys.modules.get("uwsgi")
    return uwsgi is not None and not (uwsgi.worker_id() or uwsgi.mule_id())


def _each(reference: weakref.ref[EmbeddedWorker], act: Callable[[EmbeddedWorker], None]) -> None:
    """Hooks cannot be unregistered; they must not keep a worker alive."""
    worker = reference()
    if worker is not None:
        act(worker)
