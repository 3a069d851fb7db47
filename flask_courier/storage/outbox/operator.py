"""What a person does with a message: try it again, take it back, send it anew.

Workers are at it at the same time. So each action is decided by one UPDATE that names the status it
expects: whoever comes second changes nothing and is told so.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.ids import nonce
from flask_courier.core.messages import Claim, Lane, NewMessage
from flask_courier.core.status import FINAL, REJECTED, Obstacle, Status, advance
from flask_courier.storage import attempts, log, tokens
from flask_courier.storage.conditions import IS_QUEUED
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Event, Message
from flask_courier.storage.outbox.claims import CLAIMED
from flask_courier.storage.outbox.queue import enqueue
from flask_courier.storage.uow import note_enqueued

#: What the log calls the three actions.
RETRIED = "retried"
CANCELLED = "cancelled"
RESENT = "resent"

#: Where a message that is sent anew keeps when the first of them was queued (ISO 8601): what its
#: mail tells of happened then.
FIRST_QUEUED_KEY = "_first_queued_at"

_ACTOR_LIMIT = 255
_RETRYABLE = (Status.ABANDONED, Status.HELD)


def retry(session: Session, message_id: uuid.UUID, *, actor: str) -> Obstacle | None:
    """Queue a message again that was given up or is held, with a new life; None if that was done.

    It is the same message: mail without a token goes out byte for byte as before. Where the token's
    seed is gone, the worker prepares the mail again and mints a new one.

    :param actor: who asked, as the log shows it.
    """
    for status in _RETRYABLE:
        statement = (
            sa.update(Message)
            .where(
                Message.id == message_id,
                Message.status == status.value,
                sa.or_(Message.reason.is_(None), Message.reason != REJECTED),
            )
            .values(
                status=advance(status, Status.QUEUED).value,
                reason=RETRIED,
                attempts=0,
                next_attempt_at=db_time(),
            )
        )
        if run(session, statement).rowcount:
            _renew(session, message_id)
            log.add_event(session, message_id, actor=actor[:_ACTOR_LIMIT], what=RETRIED)
            note_enqueued(session)
            return None
    return _obstacle(session, message_id)


def cancel(session: Session, message_id: uuid.UUID, *, actor: str) -> Obstacle | None:
    """Take a queued message back before a worker has it; None if that was done."""
    statement = (
        sa.update(Message)
        .where(IS_QUEUED, Message.id == message_id)
        .values(status=advance(Status.QUEUED, Status.CANCELLED).value, reason="operator")
    )
    if not run(session, statement).rowcount:
        return _obstacle(session, message_id, retrying=False)
    tokens.wipe_seeds(session, [message_id])
    tokens.close_undelivered(session, [message_id])
    log.add_event(session, message_id, actor=actor[:_ACTOR_LIMIT], what=CANCELLED)
    return None


_AS_IT_WAS = sa.select(
    Message.kind,
    Message.recipient,
    Message.account_ref,
    Message.locale,
    Message.context,
    Message.lane,
    Message.created_at,
)


def resend(
    session: Session, message_id: uuid.UUID, *, actor: str, idempotency_key: str | None = None
) -> uuid.UUID | Obstacle:
    """Queue a new message like one that is done; answer its id.

    It is prepared from scratch, for the account as it is now, with a token of its own.

    :param idempotency_key: the second call with it answers the id that the first one made.
    """
    # Changes nothing: it holds the row, so that a double submit waits here for its first half.
    statement = (
        sa.update(Message)
        .where(Message.id == message_id, Message.status.in_([status.value for status in FINAL]))
        .values(resend_of=Message.resend_of)
    )
    if not run(session, statement).rowcount:
        return _obstacle(session, message_id, retrying=False)
    found = run(session, _AS_IT_WAS.where(Message.id == message_id)).one()
    if idempotency_key is not None:
        earlier = _with_key(session, found.kind, idempotency_key)
        if earlier is not None:
            return earlier.id if earlier.resend_of == message_id else Obstacle.KEY_TAKEN
    context: Mapping[str, Any] = found.context
    new_id = enqueue(
        session,
        NewMessage(
            kind=found.kind,
            recipient=found.recipient,
            lane=Lane(found.lane),
            lifetime=_lifetime(session, message_id),
            account_ref=found.account_ref,
            locale=found.locale,
            context={FIRST_QUEUED_KEY: found.created_at.isoformat(), **context},
            idempotency_key=idempotency_key,
            resend_of=message_id,
        ),
    )
    log.add_event(session, message_id, actor=actor[:_ACTOR_LIMIT], what=RESENT)
    return new_id


def take(session: Session, message_id: uuid.UUID, *, lease: timedelta) -> Claim | None:
    """Claim this one message, due or not, past the order of the queue; None if it does not wait."""
    statement = (
        sa.update(Message)
        .where(IS_QUEUED, Message.id == message_id)
        .values(
            status=advance(Status.QUEUED, Status.PROCESSING).value,
            lease_token=nonce(),
            lease_until=db_time(lease),
            claims=Message.claims + 1,
        )
    )
    if not run(session, statement).rowcount:
        return None
    row = run(session, sa.select(*CLAIMED).where(Message.id == message_id)).one()
    return Claim(*row)


def _renew(session: Session, message_id: uuid.UUID) -> None:
    """Begin the message's life anew, as long as it was given at first."""
    run(
        session,
        sa.update(Message)
        .where(Message.id == message_id)
        .values(
            expires_at=db_time(_lifetime(session, message_id)),
            # Earlier claims are settled: only what comes now can speak of poison.
            claims=attempts.count(session, message_id),
        ),
    )


def _lifetime(session: Session, message_id: uuid.UUID) -> timedelta:
    """How long the message was given when it was queued; a retry gave it the same again."""
    last = (
        sa.select(sa.func.max(Event.at))
        .where(Event.message_id == message_id, Event.what == RETRIED)
        .scalar_subquery()
    )
    begun, expires_at, retried_at = run(
        session,
        sa.select(Message.created_at, Message.expires_at, last).where(Message.id == message_id),
    ).one()
    lifetime: timedelta = expires_at - (retried_at or begun)
    return lifetime


def _with_key(session: Session, kind: str, idempotency_key: str) -> Any:
    return run(
        session,
        sa.select(Message.id, Message.resend_of).where(
            Message.kind == kind, Message.idempotency_key == idempotency_key
        ),
    ).one_or_none()


def _obstacle(session: Session, message_id: uuid.UUID, *, retrying: bool = True) -> Obstacle:
    """Why the UPDATE found nothing."""
    row = run(
        session, sa.select(Message.status, Message.reason).where(Message.id == message_id)
    ).one_or_none()
    if row is None:
        return Obstacle.NOT_FOUND
    rejected = (Status.ABANDONED.value, REJECTED)
    return Obstacle.REJECTED if retrying and tuple(row) == rejected else Obstacle.WRONG_STATUS
