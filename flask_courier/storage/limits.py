"""Counters in the database: limits that hold across processes, and the lock of an account.

A counter is one row: its window begins at the first count and lasts as long as the limit says. The
check and the count are one UPDATE, so that parallel requests cannot slip past it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import cache, lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.orm import Session

from flask_courier.core.config import Limit
from flask_courier.storage.bulk import Bulk
from flask_courier.storage.dialect import (
    db_time,
    dialect_name,
    now,
    run,
    upsert,
)
from flask_courier.storage.models import LimitCounter
from flask_courier.storage.single import Single

#: In microseconds.
_SECOND = 1_000_000


def take(session: Session, key: str, limit: Limit) -> bool:
    """Count one more for ``key`` if the limit has room; answer whether it had.

    :param key: an HMAC (``Key.limit_key``) that already names the limit's purpose.
    """
    dialect = dialect_name(session)
    if dialect in ("mysql", "mariadb"):
        # 0 where the window is new.
        return _count_or_stay().run(session, taken(key, limit)).lastrowid <= limit.count
    return _count_or_insert(dialect).run(session, taken(key, limit)).rowcount == 1


def lock(session: Session, keys: Collection[str]) -> None:
    """Hold the locks named ``keys`` until the transaction ends. A write, so it may come first.

    What is to be asked for later, by :func:`is_held_since`, is the only one of its call.
    """
    dialect = dialect_name(session)
    # In one order everywhere: two transactions that want the same locks never wait for each other.
    names = sorted(set(keys))
    # There, whoever has written anything has the whole database.
    wanted = names[:1] if dialect == "sqlite" else names
    if wanted:
        _lock(dialect).run(session, [{"key": name} for name in wanted])


def is_held_since(session: Session, keys: Collection[str], duration: timedelta) -> bool:
    """Whether :func:`lock` was called for one of ``keys`` at most ``duration`` ago."""
    statement = sa.select(LimitCounter.key).where(
        LimitCounter.key.in_(keys), LimitCounter.window > db_time(-duration)
    )
    return run(session, statement).first() is not None


def forget(session: Session, keys: Collection[str]) -> None:
    """Take back that :func:`lock` was ever called for ``keys``."""
    run(session, sa.delete(LimitCounter).where(LimitCounter.key.in_(keys)))


#: The values of :func:`taking`.
TAKEN = {"key": LimitCounter.key.type, "most": sa.Integer(), "ago": sa.BigInteger()}


def _over(row: Any) -> sa.ColumnElement[bool]:
    """Whether the window is over."""
    return LimitCounter.window <= db_time(row.ago)


def _counted(row: Any, one_more: sa.ColumnElement[int]) -> list[tuple[str, Any]]:
    # MySQL assigns from left to right and reads what it has just assigned: the count goes first,
    # while the window is still the old one.
    over = _over(row)
    return [
        ("count", sa.case((over, 1), else_=one_more)),
        ("window", sa.case((over, db_time()), else_=LimitCounter.window)),
    ]


@cache
def _count_or_stay() -> Single:
    """The same for MySQL and MariaDB, whose upsert has no condition.

    What it would have counted to is told as if it were a number that the server had drawn.
    """

    def build(row: Any) -> sa.Executable:
        wanted = sa.func.last_insert_id(LimitCounter.count + 1, type_=sa.Integer())
        one_more = LimitCounter.count + sa.case((wanted <= row.most, 1), else_=0)
        return (
            mysql.insert(LimitCounter)
            .values(key=row.key, window=db_time(), count=1)
            .on_duplicate_key_update(_counted(row, one_more))
        )

    return Single(TAKEN, build)


def taken(key: str, limit: Limit) -> dict[str, Any]:
    """What :func:`taking` is filled in with."""
    return {"key": _name(key, limit), "most": limit.count, "ago": -limit.seconds * _SECOND}


def taking(dialect: str, row: Any) -> Any:
    """Count one more: one row is written if there is room, else none. Not for MySQL and MariaDB.

    :param row: has an attribute for each of ``TAKEN``.
    """
    insert: Any = postgresql.insert if dialect == "postgresql" else sqlite.insert
    return (
        insert(LimitCounter)
        .values(key=row.key, window=db_time(), count=1)
        .on_conflict_do_update(
            index_elements=["key"],
            set_=dict(_counted(row, LimitCounter.count + 1)),
            where=sa.or_(_over(row), LimitCounter.count < row.most),
        )
    )


# Two databases in one process are many; a statement costs more to build than to run.
@lru_cache(8)
def _count_or_insert(dialect: str) -> Single:
    return Single(TAKEN, lambda row: taking(dialect, row))


@lru_cache(8)
def _lock(dialect: str) -> Bulk:
    changes = {"count": LimitCounter.count + 1, "window": db_time()}
    return Bulk(
        {"key": LimitCounter.key},
        lambda row: upsert(
            dialect,
            LimitCounter,
            {"key": row.key, "window": db_time(), "count": sa.literal_column("1")},
            lambda _: changes,
        ),
    )


@lru_cache(8)
def _write(dialect: str) -> Bulk:
    columns = {
        "key": LimitCounter.key,
        "window": LimitCounter.window,
        "count": LimitCounter.count,
    }
    return Bulk(
        columns,
        lambda row: upsert(
            dialect,
            LimitCounter,
            {name: getattr(row, name) for name in columns},
            lambda new: {"window": new.window, "count": new.count},
        ),
    )


_READ = sa.select(LimitCounter.key, LimitCounter.window, LimitCounter.count).where(
    LimitCounter.key.in_(sa.bindparam("keys", expanding=True))
)


class Counters:
    """Counters of many keys, read at once, counted here, and written back at once.

    Nobody else may count for these keys meanwhile: the caller holds a lock that covers each.

    :param wanted: for each key (an HMAC that names the limit's purpose) the limits to be taken.
    """

    def __init__(self, session: Session, wanted: Collection[tuple[str, Limit]]) -> None:
        self._session = session
        self._names = {(key, limit.seconds): _name(key, limit) for key, limit in wanted}
        names = sorted(set(self._names.values()))
        self._rows: dict[str, tuple[datetime, int]] = {}
        self._changed: set[str] = set()
        if not names:
            return
        self._now = now(session)
        fresh = (self._now, 0)
        self._rows.update(dict.fromkeys(names, fresh))
        for key, start, n in run(session, _READ, {"keys": names}):
            self._rows[key] = start, n

    def left(self, key: str, limit: Limit) -> int:
        """How many more there is room for."""
        return max(0, limit.count - self._current(self._named(key, limit), limit)[1])

    def ends_in(self, key: str, limit: Limit) -> timedelta:
        """How long it is until the window ends."""
        window, _ = self._current(self._named(key, limit), limit)
        return window + timedelta(seconds=limit.seconds) - self._now

    def _named(self, key: str, limit: Limit) -> str:
        return self._names[key, limit.seconds]

    def _current(self, name: str, limit: Limit) -> tuple[datetime, int]:
        window, count = self._rows[name]
        if window is self._now:
            return window, count
        over = window <= self._now - timedelta(seconds=limit.seconds)
        return (self._now, 0) if over else (window, count)

    def take(self, key: str, limit: Limit) -> bool:
        """As :func:`take`, in memory."""
        name = self._named(key, limit)
        window, count = self._current(name, limit)
        if count >= limit.count:
            return False
        self._rows[name] = window, count + 1
        self._changed.add(name)
        return True

    def save(self) -> None:
        """Write down what was taken."""
        rows = [
            {"key": name, "window": self._rows[name][0], "count": self._rows[name][1]}
            for name in sorted(self._changed)
        ]
        if rows:
            _write(dialect_name(self._session)).run(self._session, rows)


def _name(key: str, limit: Limit) -> str:
    return f"{key[:48]}/{limit.seconds}"[:64]
