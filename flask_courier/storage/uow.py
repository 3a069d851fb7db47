"""Units of work: the only place that commits, and what a session of ours is bound to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, StatementError
from sqlalchemy.orm import Session as Session  # noqa: PLC0414 - delivery names it from here
from sqlalchemy.orm import SessionTransaction, sessionmaker

from flask_courier.core.ids import fraction
from flask_courier.storage.dialect import SCHEMA_KEY, is_mysql

T = TypeVar("T")

#: Seconds, up to twice as long, before a transaction that lost starts again.
_PAUSE = 0.025
_WAKE_KEY = "flask_courier.wake"
_PENDING_KEY = "flask_courier.pending"

#: What databases say when two transactions met and one must start again: PostgreSQL's SQLSTATEs
#: serialization_failure and deadlock_detected; MySQL's and MariaDB's ER_LOCK_DEADLOCK,
#: ER_LOCK_WAIT_TIMEOUT and ER_CHECKREAD; SQLite's SQLITE_BUSY, which has only words.
_CONFLICT_STATES = frozenset({"40001", "40P01"})
_CONFLICT_NUMBERS = frozenset({1213, 1205, 1020})
_CONFLICT_WORDS = "database is locked"


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

    def bind(self, session: Session) -> Session:
        """Tell ``session`` whose it is; every session that reaches storage passes here."""
        session.info[SCHEMA_KEY] = self.schema
        session.info[_WAKE_KEY] = self.wake
        return session

    @contextmanager
    def unit_of_work(self) -> Iterator[Session]:
        """A fresh session whose work is committed at the end, or not at all."""
        with self.open_session() as session:
            self.bind(session)
            if is_mysql(session.get_bind().dialect):
                # REPEATABLE READ takes gap locks, over which claims deadlock.
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

    def transact(self, work: Callable[[Session], T]) -> T:
        """Run ``work`` in a unit of work; if it met another one, start again, once.

        :raises Conflict: if the second run met another one too.
        """
        try:
            with self.unit_of_work() as session:
                return work(session)
        except DBAPIError as error:
            if not is_conflict(error):
                raise
        # Whoever won is on its way: at once, this run would take its rows from it again.
        time.sleep(_PAUSE * (1 + fraction()))
        try:
            with self.unit_of_work() as session:
                return work(session)
        except DBAPIError as error:
            if is_conflict(error):
                raise Conflict from error
            raise


def is_conflict(error: DBAPIError) -> bool:
    """Whether ``error`` says that starting the transaction again may well succeed."""
    original = error.orig
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    if state in _CONFLICT_STATES:
        return True
    # MySQL's drivers may name a state too, but it is HY000 for two of the three numbers.
    arguments = getattr(original, "args", ())
    if arguments and arguments[0] in _CONFLICT_NUMBERS:
        return True
    return _CONFLICT_WORDS in str(original)


def note_enqueued(session: Session) -> None:
    """Remember that this transaction queued something, so that its commit wakes a worker."""
    wake = session.info.get(_WAKE_KEY)
    if wake is not None:
        session.info[_PENDING_KEY] = wake


def listen(factory: sessionmaker[Any]) -> None:
    """Wake workers at outer commits of ``factory``'s sessions; a second call changes nothing."""
    if not event.contains(factory, "after_commit", _after_commit):
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
