"""What a person does with a message: try it again, take it back, send it anew, forget its text.

Workers are at it at the same time. So each action is decided by one UPDATE that names the status it
expects: whoever comes second changes nothing and is told so. When what is possible stands in
``core.actions``.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.actions import STATUSES, Action, Obstacle, Standing, obstacle
from flask_courier.core.ids import nonce
from flask_courier.core.messages import Claim, Lane, NewMessage
from flask_courier.core.status import REJECTED, Status, advance
from flask_courier.storage import attempts, contents, log, seeds, tokens
from flask_courier.storage.conditions import IS_QUEUED
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Content, Event, Message
from flask_courier.storage.outbox.claims import CLAIMED
from flask_courier.storage.outbox.queue import enqueue
from flask_courier.storage.uow import note_enqueued

#: What the log calls them.
RETRIED = "retried"
#: A retry of what waits: it keeps the life and the attempts that it has.
HURRIED = "hurried"
CANCELLED = "cancelled"
RESENT = "resent"
CONTENT_DELETED = "content_deleted"

#: Where a message that is sent anew keeps when the first of them was queued (ISO 8601): what its
#: mail tells of happened then.
FIRST_QUEUED_KEY = "_first_queued_at"

_ACTOR_LIMIT = 255


def retry(session: Session, message_id: uuid.UUID, *, actor: str) -> Obstacle | None:
    """Try a message again; None if that was done.

    What waits for its next attempt is due at once. What was given up or is held is queued again,
    with a new life. It is the same message: mail without a token goes out byte for byte as before.
    Where the token's seed is gone, the worker prepares the mail again and mints a new one.

    :param actor: who asked, as the log shows it.
    """
    if _hurry(session, message_id):
        _note(session, message_id, actor, HURRIED)
        note_enqueued(session)
        return None
    for status in sorted(STATUSES[Action.RETRY] - {Status.QUEUED}):
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
            _note(session, message_id, actor, RETRIED)
            note_enqueued(session)
            return None
    return _why_not(session, Action.RETRY, message_id)


def _hurry(session: Session, message_id: uuid.UUID) -> bool:
    statement = (
        sa.update(Message)
        .where(IS_QUEUED, Message.id == message_id, Message.next_attempt_at > db_time())
        .values(next_attempt_at=db_time())
    )
    return bool(run(session, statement).rowcount)


def cancel(session: Session, message_id: uuid.UUID, *, actor: str) -> Obstacle | None:
    """Take a queued message back before a worker has it; None if that was done."""
    statement = (
        sa.update(Message)
        .where(IS_QUEUED, Message.id == message_id)
        .values(status=advance(Status.QUEUED, Status.CANCELLED).value, reason="operator")
    )
    if not run(session, statement).rowcount:
        return _why_not(session, Action.CANCEL, message_id)
    seeds.wipe(session, [message_id])
    tokens.close_undelivered(session, [message_id])
    _note(session, message_id, actor, CANCELLED)
    return None


def delete_content(session: Session, message_id: uuid.UUID, *, actor: str) -> Obstacle | None:
    """Forget what a mail said that is done, and keep its row; None if that was done."""
    if not _hold(session, Action.DELETE_CONTENT, message_id):
        return _why_not(session, Action.DELETE_CONTENT, message_id)
    if not contents.drop(session, [message_id]):
        return Obstacle.NO_CONTENT
    _note(session, message_id, actor, CONTENT_DELETED)
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
    session: Session,
    message_id: uuid.UUID,
    *,
    actor: str,
    idempotency_key: str | None = None,
    known: int | None = None,
) -> uuid.UUID | Obstacle:
    """Queue a new message like one that is done; answer its id.

    It is prepared from scratch, for the account as it is now, with a token of its own.

    :param idempotency_key: the second call with it answers the id that the first one made.
    :param known: how often it was sent anew as far as ``actor`` knows: nothing is sent if somebody
        has been faster.
    """
    if not _hold(session, Action.RESEND, message_id):
        return _why_not(session, Action.RESEND, message_id)
    found = run(session, _AS_IT_WAS.where(Message.id == message_id)).one()
    if idempotency_key is not None:
        earlier = _with_key(session, found.kind, idempotency_key)
        if earlier is not None:
            return earlier.id if earlier.resend_of == message_id else Obstacle.KEY_TAKEN
    if known is not None and times_resent(session, [message_id])[message_id] != known:
        return Obstacle.RESENT
    new_id = enqueue(session, _like(session, message_id, found, idempotency_key))
    _note(session, message_id, actor, RESENT)
    return new_id


def _like(
    session: Session, message_id: uuid.UUID, found: Any, idempotency_key: str | None
) -> NewMessage:
    context: Mapping[str, Any] = found.context
    return NewMessage(
        kind=found.kind,
        recipient=found.recipient,
        lane=Lane(found.lane),
        lifetime=_lifetime(session, message_id),
        account_ref=found.account_ref,
        locale=found.locale,
        context={FIRST_QUEUED_KEY: found.created_at.isoformat(), **context},
        idempotency_key=idempotency_key,
        resend_of=message_id,
    )


def times_resent(session: Session, message_ids: Sequence[uuid.UUID]) -> Counter[uuid.UUID]:
    """How often each of these messages was sent anew; reads only."""
    statement = (
        sa.select(Event.message_id, sa.func.count())
        .where(Event.message_id.in_(message_ids), Event.what == RESENT)
        .group_by(Event.message_id)
    )
    return Counter({row[0]: row[1] for row in run(session, statement)})


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


def _hold(session: Session, action: Action, message_id: uuid.UUID) -> bool:
    """Hold the message's row if its status lets ``action`` be; whoever comes second waits here."""
    statuses = [status.value for status in STATUSES[action]]
    statement = (
        sa.update(Message)
        .where(Message.id == message_id, Message.status.in_(statuses))
        # Changes nothing.
        .values(resend_of=Message.resend_of)
    )
    return bool(run(session, statement).rowcount)


def _note(session: Session, message_id: uuid.UUID, actor: str, what: str) -> None:
    log.add_event(session, message_id, actor=actor[:_ACTOR_LIMIT], what=what)


def _why_not(session: Session, action: Action, message_id: uuid.UUID) -> Obstacle:
    """Why the UPDATE found nothing."""
    statement = sa.select(
        Message.status,
        Message.reason,
        Message.next_attempt_at <= db_time(),
        sa.exists().where(Content.message_id == Message.id),
    )
    row = run(session, statement.where(Message.id == message_id)).one_or_none()
    if row is None:
        return Obstacle.NOT_FOUND
    standing = Standing(Status(row[0]), row[1], is_due=row[2], has_content=row[3])
    # By now it may be possible again: it was not when it was tried.
    return obstacle(action, standing) or Obstacle.WRONG_STATUS
