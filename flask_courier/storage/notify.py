"""A commit that queued mail tells workers in other processes: LISTEN and NOTIFY of PostgreSQL.

It only shortens the wait for the poll, which a worker goes on with: a notification can be lost with
the connection that it was meant for, and other databases have none.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from flask_courier.storage.dialect import run

#: Each database has its own channels; applications that share one only wake each other in vain.
_CHANNEL = "flask_courier"
_NOTIFY = sa.text(f"NOTIFY {_CHANNEL}")
_NOTIFIED_KEY = "flask_courier.notified"

#: Seconds until the kernel asks an idle peer for a sign of life, between two such questions, and
#: how many it may leave unanswered. Idle routers forget connections after minutes, not seconds.
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}


class CannotListen(Exception):
    """This database, or the driver that the application uses, has no LISTEN for us."""


def notify(session: Session) -> None:
    """Let the caller's commit wake the workers that listen; anything but PostgreSQL is left alone.

    PostgreSQL keeps the notification until the outer commit, and drops it with what is rolled back.
    Such commits wait for each other (a lock of the whole cluster, from the NOTIFY's commit to its
    end), so only applications whose worker is another process should ask for it.
    """
    if is_due(session):
        run(session, _NOTIFY)
        note(session)


def is_due(session: Session) -> bool:
    """Whether :func:`notify` would do something: a statement may do the same, and say so."""
    # A prepared transaction may hold no NOTIFY (PostgreSQL's manual, PREPARE TRANSACTION).
    if session.get_bind().dialect.name != "postgresql" or session.twophase:
        return False
    return not _is_notified(session)


def announcement() -> sa.ColumnElement[Any]:
    """NOTIFY as an expression."""
    return sa.func.pg_notify(_CHANNEL, "")


def note(session: Session) -> None:
    """Remember that this transaction holds a NOTIFY."""
    session.info[_NOTIFIED_KEY] = session.get_nested_transaction() or session.get_transaction()


def _is_notified(session: Session) -> bool:
    """Whether this transaction, or one that this savepoint is part of, holds a NOTIFY already.

    Each is one object: what was rolled back, committed or closed is none of those that are open.
    """
    notified = session.info.get(_NOTIFIED_KEY)
    current = session.get_nested_transaction() or session.get_transaction()
    while current is not None:
        if current is notified:
            return True
        current = current.parent
    return False


class Subscription:
    """A connection of the application's engine that does nothing but listen; for one thread.

    It is made as the engine makes its own, but never part of its pool: connections at rest there
    may have died with a server that has restarted since.

    :raises CannotListen: if the engine is not PostgreSQL's, or its driver is not known here.
    :raises Exception: whatever the driver and the application's hooks raise while connecting.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._read = _reader(engine)
        connection = engine.pool.recreate().connect()
        self._driver = cast("Any", connection.driver_connection)
        connection.detach()
        try:
            # A hook of the host may have left a transaction open, inside which nothing is heard.
            self._driver.rollback()
            self._driver.autocommit = True
            _keep_alive(self._driver.fileno())
            self._driver.cursor().execute(f"LISTEN {_CHANNEL}")
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """What to wait for: readable as soon as :meth:`take` has something to read."""
        number: int = self._driver.fileno()
        return number

    def take(self) -> bool:
        """Read what has arrived, without waiting; whether a notification was there.

        :raises Exception: the driver's own, if the connection is lost.
        """
        return self._read(self._driver)

    def announce(self) -> None:
        """Notify, over another connection of the engine.

        Not over this one: a pooler in transaction mode lets a client hear itself, and nobody else.
        """
        with self._engine.begin() as connection:
            connection.execute(_NOTIFY)

    def close(self) -> None:
        """Hang up."""
        self._driver.close()


def _reader(engine: Engine) -> Callable[[Any], bool]:
    dialect = engine.dialect
    if dialect.name != "postgresql":
        raise CannotListen(f"{dialect.name} has no LISTEN")
    if dialect.is_async or dialect.driver not in _READERS:
        known = " and ".join(sorted(_READERS))
        raise CannotListen(f"LISTEN is done with the drivers {known}, not with {dialect.driver}")
    return _READERS[dialect.driver]


def _read_psycopg(driver: Any) -> bool:
    # Below its notifies(), which early versions cannot interrupt.
    driver.pgconn.consume_input()
    came = False
    while driver.pgconn.notifies() is not None:
        came = True
    return came


def _read_psycopg2(driver: Any) -> bool:
    driver.poll()
    came = bool(driver.notifies)
    driver.notifies.clear()
    return came


_READERS = {"psycopg": _read_psycopg, "psycopg2": _read_psycopg2}


def _keep_alive(number: int) -> None:
    """Let the kernel notice within a minute that an idle peer is dead (RFC 9293 section 3.8.4)."""
    with socket.socket(fileno=os.dup(number)) as connection:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            # Not every system lets a program choose; it has its own idea then.
            if hasattr(socket, name):
                connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
