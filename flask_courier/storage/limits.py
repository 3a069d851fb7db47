"""Counters in the database: limits that hold across processes, and the lock of an account.

A counter is one row: its window begins at the first count and lasts as long as the limit says. The
check and the count are one UPDATE, so that parallel requests cannot slip past it.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.config import Limit
from flask_courier.storage.bulk import Bulk
from flask_courier.storage.dialect import (
    db_time,
    dialect_name,
    insert_if_absent,
    now,
    run,
    upsert,
)
from flask_courier.storage.models import LimitCounter

_LONG_AGO = timedelta(days=-36500)


def take(session: Session, key: str, limit: Limit) -> bool:
    """Count one more for ``key`` if the limit has room; answer whether it had.

    :param key: an HMAC (``Key.limit_key``) that already names the limit's purpose.
    """
    name = _name(key, limit)
    insert_if_absent(session, LimitCounter, {"key": name, "window": db_time(_LONG_AGO), "count": 0})
    over = LimitCounter.window <= db_time(timedelta(seconds=-limit.seconds))
    statement = (
        sa.update(LimitCounter)
        .where(LimitCounter.key == name, sa.or_(over, LimitCounter.count < limit.count))
        # MySQL assigns from left to right and reads what it has just assigned: the count goes
        # first, while the window is still the old one.
        .ordered_values(
            (LimitCounter.count, sa.case((over, 1), else_=LimitCounter.count + 1)),
            (LimitCounter.window, sa.case((over, db_time()), else_=LimitCounter.window)),
        )
    )
    return run(session, statement).rowcount == 1


def lock(session: Session, keys: Collection[str]) -> None:
    """Hold the locks named ``keys`` until the transaction ends. A write, so it may come first."""
    # In one order everywhere: two transactions that want the same locks never wait for each other.
    _lock(dialect_name(session)).run(session, [{"key": key} for key in sorted(set(keys))])


# Two databases in one process are many; a statement costs more to build than to run.
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
        names = sorted({_name(key, limit) for key, limit in wanted})
        self._rows: dict[str, tuple[datetime, int]] = {}
        self._changed: set[str] = set()
        if not names:
            return
        self._now = now(session)
        fresh = (self._now, 0)
        self._rows.update(dict.fromkeys(names, fresh))
        for key, start, n in run(session, _READ, {"keys": names}):
            self._rows[key] = start, n

    def take(self, key: str, limit: Limit) -> bool:
        """As :func:`take`, in memory."""
        name = _name(key, limit)
        window, count = self._rows[name]
        if window <= self._now - timedelta(seconds=limit.seconds):
            window, count = self._now, 0
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
