"""Counters in the database: limits that hold across processes, and the lock of an account.

A counter is one row: its window begins at the first count and lasts as long as the limit says. The
check and the count are one UPDATE, so that parallel requests cannot slip past it.
"""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.config import Limit
from flask_courier.storage.dialect import db_time, insert_if_absent, run
from flask_courier.storage.models import LimitCounter

_LONG_AGO = timedelta(days=-36500)


def take(session: Session, key: str, limit: Limit) -> bool:
    """Count one more for ``key`` if the limit has room; answer whether it had.

    :param key: an HMAC (``Key.limit_key``) that already names the limit's purpose.
    """
    name = f"{key[:48]}/{limit.seconds}"[:64]
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


def lock(session: Session, key: str) -> None:
    """Hold the lock named ``key`` until the transaction ends. A write, so it may come first."""
    insert_if_absent(session, LimitCounter, {"key": key, "window": db_time(), "count": 0})
    run(
        session,
        sa.update(LimitCounter)
        .where(LimitCounter.key == key)
        .values(count=LimitCounter.count + 1, window=db_time()),
    )
