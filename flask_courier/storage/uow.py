"""Units of work: the only place that commits, and what a session of ours is bound to."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakSet

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session as Session  # noqa: PLC0414 - delivery names it from here
from sqlalchemy.orm import SessionTransaction, sessionmaker

from flask_courier.core.ids import fraction
from flask_courier.storage import driver_errors, notify
from flask_courier.storage.dialect import SCHEMA_KEY, is_mysql
from flask_courier.storage.notify import Subscription

T = TypeVar("T")

#: Factories whose commits are listened to.
_heard: WeakSet[sessionmaker[Any]] = WeakSet()

#: Seconds, up to twice as long, before a transaction that lost starts again.
_PAUSE = 0.025
_WAKE_KEY = "flask_courier.wake"
_PENDING_KEY = "flask_courier.pending"
_NOTIFIES_KEY = "flask_courier.notifies"


class Conflict(Exception):
    """Two transactions met twice in a row; asking again later will do."""


@dataclass(frozen=True)
class Database:
    """How storage is reached: what opens a session, and what its sessions are bound to."""

    #: Opens a session of the application, inside an application context.
    open_session: Callable[[], AbstractContextManager[Session]]
    #: The schema that the application's metadata names, or None.
    schema: str | None
    #: Called after a commit that queued something; must not raise.
    wake: Callable[[], None]
    #: Whether commits are announced to workers in other processes (COURIER_WORKER=external).
    notifies: bool = False

    def bind(self, session: Session) -> Session:
        """Tell ``session`` whose it is; every session that reaches storage passes here."""
        session.info[SCHEMA_KEY] = self.schema
        session.info[_WAKE_KEY] = self.wake
        session.info[_NOTIFIES_KEY] = self.notifies
        return session

    def subscribe(self) -> Subscription:
        """Listen to commits of other processes; see :class:`Subscription` for what it raises."""
        with self.open_session() as session:
            return Subscription(session.get_bind().engine)

    @contextmanager
    def unit_of_work(self, *, reads: bool = True) -> Iterator[Session]:
        """A fresh session whose work is committed at the end, or not at all.

        :param reads: False for work that reads nothing that it has not written.
        """
        with self.open_session() as session:
            self.bind(session)
            if reads and is_mysql(session.get_bind().dialect):
                # REPEATABLE READ takes gap locks, over which claims deadlock. To leave it and to
                # come back costs four round trips.
                session.connection(execution_options={"isolation_level": "READ COMMITTED"})
            try:
                yield session
                session.commit()
            except BaseException as error:
                session.rollback()
                if isinstance(error, StatementError):
                    # Its text ends up in logs, and the parameters of our statements are addresses.
                    error.hide_parameters = True
                raise

    def transact(self, work: Callable[[Session], T], *, reads: bool = True) -> T:
        """Run ``work`` in a unit of work; if it met another one, start again, once.

        :param reads: as for :meth:`unit_of_work`.
        :raises Conflict: if the second run met another one too.
        """
        try:
            with self.unit_of_work(reads=reads) as session:
                return work(session)
        except DBAPIError as error:
            if not driver_errors.is_conflict(error):
                raise
        # Whoever won is on its way: at once, this run would take its rows from it again.
        time.sleep(_PAUSE * (1 + fraction()))
        try:
            with self.unit_of_work(reads=reads) as session:
                return work(session)
        except DBAPIError as error:
            if driver_errors.is_conflict(error):
                raise Conflict from error
            raise


def is_away(error: BaseException) -> bool:
    """Whether ``error`` says that the database cannot be reached now, and nothing of the work."""
    if isinstance(error, DBAPIError):
        return driver_errors.is_outage(error)
    return isinstance(error, (Conflict, PoolTimeout))


def told(error: BaseException) -> str:
    """What a log may tell of ``error``, and where it was raised.

    Of a database's only the name and the state: databases quote rows, and rows are addresses.
    """
    words = f"{type(error).__name__}: {error}"
    if isinstance(error, DBAPIError):
        words = f"{type(error).__name__} {driver_errors.state(error) or ''}".rstrip()
    trail = "" if is_away(error) else "".join(traceback.format_tb(error.__traceback__))
    return f"{words}\n{trail}".rstrip()


def note_enqueued(session: Session) -> None:
    """Remember that this transaction queued something, so that its commit wakes a worker."""
    wake = session.info.get(_WAKE_KEY)
    if wake is not None:
        session.info[_PENDING_KEY] = wake
    if session.info.get(_NOTIFIES_KEY):
        notify.notify(session)


def announces(session: Session) -> bool:
    """Whether what queues a message in this transaction has to announce it as well."""
    return bool(session.info.get(_NOTIFIES_KEY)) and notify.is_due(session)


def listen(factory: sessionmaker[Any]) -> None:
    """Wake workers at outer commits of ``factory``'s sessions; a second call changes nothing."""
    # Not event.contains(), which knows a factory by its address, and long after it is gone.
    if factory not in _heard:
        _heard.add(factory)
        event.listen(factory, "after_commit", _after_commit)
        event.listen(factory, "after_soft_rollback", _after_soft_rollback)


def _after_commit(session: Session) -> None:
    # after_commit also fires when a SAVEPOINT is released; nobody else can see its rows yet.
    if session.in_nested_transaction():
        return
    wake = session.info.pop(_PENDING_KEY, None)
    if wake is not None:
        wake()


def _after_soft_rollback(session: Session, previous: SessionTransaction) -> None:
    if previous.parent is None:
        session.info.pop(_PENDING_KEY, None)
