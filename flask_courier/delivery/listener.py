"""The thread that hears of commits in other processes and wakes the worker of this one.

It sleeps in the kernel: no query and no wake-up until a notification comes, the connection breaks
or it is told to stop. Whatever happens to it, the worker's poll goes on. For ``flask courier
worker``, which does not fork; a child that is forked all the same has no such thread, and leaves
the connection to its parent.
"""

from __future__ import annotations

import contextlib
import logging
import selectors
import socket
import threading
import time
from collections.abc import Callable

from flask_courier.core.ids import fraction
from flask_courier.storage.notify import CannotListen, Subscription

logger = logging.getLogger("flask_courier.worker")

#: Seconds, up to twice as long, before the first attempt to connect again; doubled each time.
_BACKOFF = 0.5
_LONGEST_BACKOFF = 30.0
#: Seconds that a connection must live for the next loss to count as a first one again.
_STEADY = 30.0
#: Seconds that a notification of our own may take.
_PROBE = 2.0
#: Seconds that ``stop`` waits; only an attempt to connect, which cannot be interrupted, takes them.
_STOP_TIMEOUT = 1.0


class _Stopped(Exception):
    """The listener was told to stop."""


class Listener:
    """Calls ``wake`` after each commit that notified, and whenever it may have missed one.

    :param subscribe: opens a subscription; called in the listener's thread, again after a loss.
    :param wake: called in the listener's thread; must not raise.
    """

    def __init__(self, subscribe: Callable[[], Subscription], wake: Callable[[], None]) -> None:
        self._subscribe = subscribe
        self._wake = wake
        self._bell: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._healthy = False
        #: Whether a notification of our own has ever been heard.
        self._proven = False

    @property
    def healthy(self) -> bool:
        """Whether commits of other processes are heard now, so that the poll may be rarer."""
        return self._healthy

    def start(self) -> None:
        """Begin to listen, in a thread; connects there, so this returns at once."""
        self._bell, ear = socket.socketpair()
        self._thread = threading.Thread(
            target=self._run, args=(self._bell, ear), name="flask_courier.listener", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End the thread and its connection; does nothing the second time, or in a forked child."""
        thread, bell = self._thread, self._bell
        if thread is None or bell is None or not thread.is_alive():
            return
        # It may have given up since.
        with contextlib.suppress(OSError):
            bell.send(b".")
        thread.join(_STOP_TIMEOUT)

    def _run(self, bell: socket.socket, ear: socket.socket) -> None:
        with bell, ear, contextlib.suppress(_Stopped):
            self._keep_listening(ear)

    def _keep_listening(self, ear: socket.socket) -> None:
        """Listen until there is no use in it, and connect again after each loss."""
        losses, is_told = 0, False
        while True:
            begun = time.monotonic()
            try:
                self._listen(ear)
            except _Stopped:
                raise
            except CannotListen as error:
                logger.info("%s; the worker polls", error, extra={"action": "listen_unsupported"})
                return
            except Exception as error:  # noqa: BLE001 - the host's hooks may raise anything
                if self._healthy or not is_told:
                    _tell_loss(error)
                is_told = True
            else:
                return
            finally:
                self._healthy = False
            if time.monotonic() - begun > _STEADY:
                losses = 0
            _rest(ear, min(_LONGEST_BACKOFF, _BACKOFF * 2**losses * (1 + fraction())))
            losses = min(losses + 1, 10)

    def _listen(self, ear: socket.socket) -> None:
        """Wake the worker for each notification; returns if none will ever come."""
        with contextlib.closing(self._subscribe()) as source, _both(source, ear) as selector:
            if not self._proven:
                source.announce()
                if not _hear(selector, source, _PROBE):
                    logger.warning(
                        "LISTEN does not work here (a pooler in transaction mode?): a notification "
                        "of this worker did not come back; the worker polls",
                        extra={"action": "listen_deaf"},
                    )
                    return
                self._proven = True
            self._healthy = True
            logger.info("listening for new mail", extra={"action": "listen_start"})
            # First for what was queued while nobody listened.
            while True:
                self._wake()
                _hear(selector, source, None)


def _both(source: Subscription, ear: socket.socket) -> selectors.DefaultSelector:
    selector = selectors.DefaultSelector()
    selector.register(source, selectors.EVENT_READ)
    selector.register(ear, selectors.EVENT_READ)
    return selector


def _hear(selector: selectors.BaseSelector, source: Subscription, timeout: float | None) -> bool:
    """Wait for a notification; False if none came in time.

    :param timeout: seconds, or None to wait for ever.
    :raises _Stopped: if the listener is to stop.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        events = selector.select(left)
        if any(key.fileobj is not source for key, _ in events):
            raise _Stopped
        # What is readable need not be a notification: a server announces changed settings, too.
        if events and source.take():
            return True
        if left == 0.0:
            return False


def _rest(ear: socket.socket, seconds: float) -> None:
    """Wait, unless the listener is to stop."""
    with selectors.DefaultSelector() as selector:
        selector.register(ear, selectors.EVENT_READ)
        if selector.select(seconds):
            raise _Stopped


def _tell_loss(error: Exception) -> None:
    # Its kind alone: a driver's text may hold what it connects with.
    logger.warning(
        "the connection that listens for new mail is gone (%s); the worker polls meanwhile",
        type(error).__name__,
        extra={"action": "listen_lost"},
    )
