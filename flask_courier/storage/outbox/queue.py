"""What goes into the queue, and what leaves it before a worker takes it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.clock import utc_now
from flask_courier.core.ids import new_id, nonce
from flask_courier.core.messages import Lane, NewMessage
from flask_courier.core.status import Status, advance
from flask_courier.storage import tokens
from flask_courier.storage.conditions import IS_QUEUED
from flask_courier.storage.dialect import db_time, insert_if_absent, run
from flask_courier.storage.models import Message
from flask_courier.storage.uow import Conflict, note_enqueued


def enqueue(session: Session, message: NewMessage) -> uuid.UUID:
    """Queue ``message`` in the caller's transaction; its commit wakes a worker of this process.

    :raises Conflict: if another transaction has just used its idempotency key, and this one cannot
        see what for.
    """
    message_id = new_id(utc_now())
    due: Any = db_time(message.delay) if message.send_at is None else message.send_at
    values = {
        "id": message_id,
        "created_at": db_time(),
        "kind": message.kind,
        "status": Status.QUEUED.value,
        "recipient": message.recipient,
        "account_ref": message.account_ref,
        "locale": message.locale,
        "context": dict(message.context),
        "requester_key": message.requester_key,
        "lane": int(message.lane),
        "attempts": 0,
        "claims": 0,
        "next_attempt_at": due,
        "expires_at": db_time(message.lifetime),
        "idempotency_key": message.idempotency_key,
        "resend_of": message.resend_of,
    }
    if message.send_at is not None:
        values["expires_at"] = message.send_at + message.lifetime
    if message.idempotency_key is None:
        run(session, sa.insert(Message).values(**values))
    else:
        insert_if_absent(session, Message, values)
        message_id = _first_with_key(session, message)
    note_enqueued(session)
    return message_id


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


def supersede(session: Session, *, kind: str, by: Mapping[str, uuid.UUID]) -> int:
    """Cancel older queued messages of ``kind``; answer how many.

    :param by: for each account the message that takes their place.
    """
    waiting = sa.select(Message.id, Message.account_ref).where(
        IS_QUEUED, Message.kind == kind, Message.account_ref.in_(by)
    )
    older = [row[0] for row in run(session, waiting) if row[0] < by[row[1]]]
    if not older:
        return 0
    mark = nonce()
    statement = (
        sa.update(Message)
        .where(IS_QUEUED, Message.id.in_(older))
        .values(
            status=advance(Status.QUEUED, Status.CANCELLED).value,
            reason="superseded",
            lease_token=mark,
        )
    )
    return _finish_marked(session, run(session, statement).rowcount, mark)


def _finish_marked(session: Session, count: int, mark: str) -> int:
    """Wipe the seeds of the messages that a sweep has marked, and take the mark off again."""
    if count:
        marked = sa.select(Message.id).where(Message.lease_token == mark)
        tokens.wipe_seeds(session, marked)
        tokens.close_undelivered(session, marked)
        run(
            session,
            sa.update(Message).where(Message.lease_token == mark).values(lease_token=None),
        )
    return count
