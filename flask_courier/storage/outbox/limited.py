"""A message that anybody may ask for: queued if whoever asks has not had their share."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.clock import utc_now
from flask_courier.core.ids import new_id
from flask_courier.core.limits import Limit
from flask_courier.core.messages import NewMessage
from flask_courier.storage import limits, notify, uow
from flask_courier.storage.dialect import dialect_name
from flask_courier.storage.models import LimitCounter, Message
from flask_courier.storage.outbox import queue
from flask_courier.storage.single import Single


def enqueue_limited(
    session: Session, message: NewMessage, *, key: str | None, within: Sequence[Limit]
) -> bool:
    """Queue ``message`` if each limit has room for one more of ``key``; answer whether it had.

    PostgreSQL counts, queues and announces in one statement: a round trip costs more than its work.

    :param message: due after its delay, without an idempotency key.
    :param key: as for ``limits.take``; None where nobody can be told apart.
    """
    if key is not None and len(within) == 1 and dialect_name(session) == "postgresql":
        return _at_once(session, message, key, within[0])
    if key is not None and not all(limits.take(session, key, limit) for limit in within):
        return False
    queue.enqueue(session, message)
    return True


def _at_once(session: Session, message: NewMessage, key: str, limit: Limit) -> bool:
    announces = uow.announces(session)
    values = queue.in_the_database(new_id(utc_now()), message)
    # A column of a message and one of a limit may have one name.
    counted = {f"limit_{name}": value for name, value in limits.taken(key, limit).items()}
    if _count_and_queue(announces=announces).run(session, {**values, **counted}).first() is None:
        return False
    if announces:
        notify.note(session)
    uow.note_enqueued(session)
    return True


@cache
def _count_and_queue(*, announces: bool) -> Single:
    def build(row: Any) -> sa.Executable:
        limit = SimpleNamespace(**{name: getattr(row, f"limit_{name}") for name in limits.TAKEN})
        taken = limits.taking("postgresql", limit).returning(LimitCounter.count).cte("taken")
        columns = queue.columns_of(row)
        typed = [sa.cast(value, _type(name)) for name, value in columns.items()]
        queued = (
            sa.insert(Message)
            .from_select([*columns], sa.select(*typed).select_from(taken))
            .returning(Message.id)
            .cte("queued")
        )
        told = notify.announcement() if announces else queued.c.id
        return sa.select(told).select_from(queued)

    types = {f"limit_{name}": type_ for name, type_ in limits.TAKEN.items()}
    return Single({**queue.types(), **types}, build)


def _type(name: str) -> Any:
    """What a value is cast to: in a SELECT it has no column to take its type from."""
    type_ = Message.__table__.c[name].type
    # A cast to a length would cut off in silence what the column refuses.
    return sa.String() if isinstance(type_, sa.String) else type_
