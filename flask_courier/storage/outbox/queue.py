"""What goes into the queue, and what leaves it before a worker takes it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.accounts import search_key
from flask_courier.core.clock import utc_now
from flask_courier.core.ids import new_id, nonce
from flask_courier.core.messages import Lane, NewMessage
from flask_courier.core.status import HANDED_OVER, Status, advance
from flask_courier.storage import seeds, tokens
from flask_courier.storage.conditions import IS_QUEUED
from flask_courier.storage.dialect import db_time, insert_if_absent, microseconds, run
from flask_courier.storage.models import Message
from flask_courier.storage.single import Single
from flask_courier.storage.uow import Conflict, note_enqueued

#: What a message is queued with beside its times.
TOLD = (
    "id", "kind", "status", "recipient", "recipient_folded", "account_ref", "locale", "context",
    "requester_key", "lane", "attempts", "claims", "idempotency_key", "resend_of",
)  # fmt: skip


def enqueue(session: Session, message: NewMessage) -> uuid.UUID:
    """Queue ``message`` in the caller's transaction; its commit wakes a worker of this process.

    :raises Conflict: if another transaction has just used its idempotency key, and this one cannot
        see what for.
    """
    message_id = new_id(utc_now())
    if message.idempotency_key is not None:
        insert_if_absent(session, Message, _values(message_id, message))
        message_id = _first_with_key(session, message)
    elif message.send_at is not None:
        run(session, sa.insert(Message).values(**_values(message_id, message)))
    else:
        _due_by_the_database().run(session, in_the_database(message_id, message))
    note_enqueued(session)
    return message_id


def _values(message_id: uuid.UUID, message: NewMessage) -> dict[str, Any]:
    due: Any = db_time(message.delay) if message.send_at is None else message.send_at
    expires: Any = db_time(message.lifetime)
    if message.send_at is not None:
        expires = message.send_at + message.lifetime
    times = {"created_at": db_time(), "next_attempt_at": due, "expires_at": expires}
    return {**told(message_id, message), **times}


def told(message_id: uuid.UUID, message: NewMessage) -> dict[str, Any]:
    """All but its times."""
    return {
        "id": message_id,
        "kind": message.kind,
        "status": Status.QUEUED.value,
        "recipient": message.recipient,
        "recipient_folded": search_key(message.recipient),
        "account_ref": message.account_ref,
        "locale": message.locale,
        "context": dict(message.context),
        "requester_key": message.requester_key,
        "lane": int(message.lane),
        "attempts": 0,
        "claims": 0,
        "idempotency_key": message.idempotency_key,
        "resend_of": message.resend_of,
    }


def in_the_database(message_id: uuid.UUID, message: NewMessage) -> dict[str, Any]:
    """What a statement of :func:`columns_of` is filled in with."""
    times = {"delay": microseconds(message.delay), "lifetime": microseconds(message.lifetime)}
    return {**told(message_id, message), **times}


def types() -> dict[str, Any]:
    """The types of these values."""
    columns = cast("sa.Table", Message.__table__).columns
    times = {"delay": sa.BigInteger(), "lifetime": sa.BigInteger()}
    return {**{name: columns[name].type for name in TOLD}, **times}


def columns_of(row: Any) -> dict[str, Any]:
    """The columns of a message that is due after a delay, by the database's clock."""
    return {
        **{name: getattr(row, name) for name in TOLD},
        "created_at": db_time(),
        "next_attempt_at": db_time(row.delay),
        "expires_at": db_time(row.lifetime),
    }


@cache
def _due_by_the_database() -> Single:
    """Queues a message that is due after a delay: every request for a mail does."""
    return Single(types(), lambda row: sa.insert(Message).values(**columns_of(row)))


def _first_with_key(session: Session, message: NewMessage) -> uuid.UUID:
    """The message that has this idempotency key: the one just queued, or the one before it."""
    statement = sa.select(Message.id).where(
        Message.kind == message.kind, Message.idempotency_key == message.idempotency_key
    )
    found = run(session, statement).one_or_none()
    if found is None:
        raise Conflict
    message_id: uuid.UUID = found[0]
    return message_id


@dataclass(frozen=True)
class Queued:
    """What a message was queued with."""

    id: uuid.UUID
    recipient: str
    context: Mapping[str, Any]
    created_at: datetime


def find_queued(session: Session, message_id: uuid.UUID) -> Queued | None:
    """What the message was queued with, whatever became of it; None once it is forgotten."""
    statement = sa.select(Message.id, Message.recipient, Message.context, Message.created_at)
    row = run(session, statement.where(Message.id == message_id)).one_or_none()
    return None if row is None else Queued(*row)


def record_handed_over(session: Session, message: NewMessage) -> uuid.UUID:
    """Log a message that is never queued: its link is handed over by hand."""
    message_id = new_id(utc_now())
    status = {"status": Status.SUPPRESSED.value, "reason": HANDED_OVER}
    run(session, sa.insert(Message).values(**_values(message_id, message) | status))
    return message_id


def expire_overdue(session: Session) -> int:
    """End queued messages whose time is over, before a worker can claim them; answer how many."""
    mark = nonce()
    statement = (
        sa.update(Message)
        .where(
            IS_QUEUED,
            Message.lane.in_([int(lane) for lane in Lane]),
            Message.next_attempt_at <= db_time(),
            Message.expires_at <= db_time(),
        )
        .values(
            status=advance(Status.QUEUED, Status.EXPIRED).value,
            lease_token=mark,
        )
    )
    return _finish_marked(session, run(session, statement).rowcount, mark)


# A statement costs more to build than to run.
_WAITING = sa.select(Message.id, Message.account_ref).where(
    IS_QUEUED,
    Message.kind == sa.bindparam("waiting"),
    Message.account_ref.in_(sa.bindparam("accounts", expanding=True)),
)


def supersede(session: Session, *, kind: str, by: Mapping[str, uuid.UUID]) -> int:
    """Cancel older queued messages of ``kind``; answer how many.

    :param by: for each account the message that takes their place.
    """
    waiting = run(session, _WAITING, {"waiting": kind, "accounts": [*by]})
    older = [row[0] for row in waiting if row[0] < by[row[1]]]
    return _cancel(session, older, reason="superseded")


def withdraw(session: Session, *, kinds: Sequence[str], account_ref: str, recipient: str) -> int:
    """Cancel every queued message of these kinds for an account or its address; answer how many."""
    whose = sa.or_(
        Message.account_ref == account_ref, Message.recipient_folded == search_key(recipient)
    )
    waiting = sa.select(Message.id).where(IS_QUEUED, Message.kind.in_(kinds), whose)
    return _cancel(session, [row[0] for row in run(session, waiting)], reason="disowned")


def _cancel(session: Session, message_ids: Sequence[uuid.UUID], *, reason: str) -> int:
    if not message_ids:
        return 0
    mark = nonce()
    statement = (
        sa.update(Message)
        .where(IS_QUEUED, Message.id.in_(message_ids))
        .values(
            status=advance(Status.QUEUED, Status.CANCELLED).value,
            reason=reason,
            lease_token=mark,
        )
    )
    return _finish_marked(session, run(session, statement).rowcount, mark)


def _finish_marked(session: Session, count: int, mark: str) -> int:
    """Wipe the seeds of the messages that a sweep has marked, and take the mark off again."""
    if count:
        marked = sa.select(Message.id).where(Message.lease_token == mark)
        seeds.wipe(session, marked)
        tokens.close_undelivered(session, marked)
        run(
            session,
            sa.update(Message).where(Message.lease_token == mark).values(lease_token=None),
        )
    return count
