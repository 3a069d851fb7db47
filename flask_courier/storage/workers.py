"""Which workers there are, and when each was last seen."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.storage.dialect import db_time, insert_if_absent, run
from flask_courier.storage.models import Worker

#: A worker that has not been seen for this long is gone; its row goes too.
_GONE = timedelta(hours=1)


def seen(session: Session, *, name: str, kind: str) -> None:
    """Note that the worker ``name`` is at work now, and forget those that are gone."""
    insert_if_absent(session, Worker, {"name": name, "kind": kind, "seen_at": db_time()})
    run(session, sa.update(Worker).where(Worker.name == name).values(seen_at=db_time()))
    run(session, sa.delete(Worker).where(Worker.seen_at < db_time(-_GONE)))


def any_seen(session: Session, *, within: timedelta) -> bool:
    """Whether some worker was at work during the last ``within``."""
    statement = sa.select(sa.literal(1)).where(Worker.seen_at >= db_time(-within)).limit(1)
    return run(session, statement).first() is not None
