"""The queue side of the message table, and the only writer of a message's status.

A worker *claims* a message: one statement gives it a lease that two workers cannot both win. Every
later write names the lease, so that a worker which lost it changes nothing. Times are the
database's; each transaction begins with its write, which SQLite needs.
"""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.clock import utc_now
from flask_courier.core.ids import new_id, nonce
from flask_courier.core.messages import Claim, Lane, NewMessage, Rendered, SendResult
from flask_courier.core.retry import Decision, counts
from flask_courier.core.status import FINAL, Status, advance
from flask_courier.storage import attempts, contents, tokens
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Message
from flask_courier.storage.uow import note_enqueued

_CLAIMED = (
    Message.id,
    Message.kind,
    Message.recipient,
    Message.account_ref,
    Message.locale,
    Message.context,
    Message.attempts,
    Message.claims,
    Message.created_at,
    Message.expires_at,
    Message.prepared_at,
    Message.lease_token,
    Message.message_id_header,
)
_ERROR_LIMIT = 512

# Literals and not parameters: a partial index serves only a query that names its condition.
_IS_QUEUED = Message.status == sa.literal_column("'queued'")
_IS_PROCESSING = Message.status == sa.literal_column("'processing'")


def enqueue(session: Session, message: NewMessage) -> uuid.UUID:
    """Queue ``message`` in the caller's transaction; its commit wakes a worker of this process."""
    message_id = new_id(utc_now())
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
        "next_attempt_at": db_time(message.delay),
        "expires_at": db_time(message.lifetime),
    }
    run(session, sa.insert(Message).values(**values))
    note_enqueued(session)
    return message_id


def claim(session: Session, *, count: int, lease: timedelta) -> list[Claim]:
    """Take up to ``count`` due messages under a lease; account mail before everything else."""
    taken: list[Claim] = []
    for lane in Lane:
        if len(taken) < count:
            taken += _claim_lane(session, lane, count - len(taken), lease)
    return taken


def _claim_lane(session: Session, lane: Lane, count: int, lease: timedelta) -> list[Claim]:
    lease_token = nonce()
    due = (
        sa.select(Message.id)
        .where(
            _IS_QUEUED,
            Message.lane == int(lane),
            Message.next_attempt_at <= db_time(),
            Message.expires_at > db_time(),
        )
        .order_by(Message.next_attempt_at, Message.id)
        .limit(count)
    )
    values: dict[Any, Any] = {
        Message.status: advance(Status.QUEUED, Status.PROCESSING).value,
        Message.lease_token: lease_token,
        Message.lease_until: db_time(lease),
        Message.claims: Message.claims + 1,
    }
    name = session.connection().dialect.name
    if name == "postgresql":
        # MATERIALIZED: as a plain subquery the planner may run it again and lock other rows.
        rows = due.with_for_update(skip_locked=True).cte("due").prefix_with("MATERIALIZED")
        update = sa.update(Message).where(Message.id == rows.c.id).values(values)
        claimed = run(session, update.returning(*_CLAIMED)).all()
    elif name == "sqlite":
        update = sa.update(Message).where(Message.id.in_(due)).values(values)
        claimed = run(session, update.returning(*_CLAIMED)).all()
    else:
        locked = due.with_for_update(skip_locked=True).subquery("due")
        run(session, sa.update(Message).where(Message.id == locked.c.id).values(values))
        claimed = run(session, sa.select(*_CLAIMED).where(Message.lease_token == lease_token)).all()
    return sorted((Claim(*row) for row in claimed), key=lambda taken: taken.id)


def reclaim_expired_leases(session: Session) -> int:
    """Bring back what a worker that is gone held; answer how many."""
    statement = (
        sa.update(Message)
        .where(_IS_PROCESSING, Message.lease_until < db_time())
        .values(
            status=advance(Status.PROCESSING, Status.QUEUED).value,
            reason="lease_expired",
            lease_token=None,
            lease_until=None,
            next_attempt_at=db_time(),
        )
    )
    return run(session, statement).rowcount


def expire_overdue(session: Session) -> int:
    """End queued messages whose time is over, before a worker can claim them; answer how many."""
    mark = nonce()
    statement = (
        sa.update(Message)
        .where(
            _IS_QUEUED,
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


def supersede(session: Session, *, by: uuid.UUID, kind: str, account_ref: str) -> int:
    """Cancel older queued messages of ``kind`` to the same account; answer how many."""
    mark = nonce()
    statement = (
        sa.update(Message)
        .where(
            _IS_QUEUED, Message.kind == kind, Message.account_ref == account_ref, Message.id < by
        )
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


def hold(session: Session, claim: Claim, *, lease: timedelta) -> bool:
    """Renew the lease, first thing in a transaction; False if it was lost: then write nothing."""
    statement = sa.update(Message).where(*_held(claim)).values(lease_until=db_time(lease))
    return run(session, statement).rowcount == 1


def prepared(
    session: Session,
    claim: Claim,
    *,
    recipient: str,
    account_ref: str | None,
    message_id_header: str,
    rendered: Rendered,
) -> datetime:
    """Store what was rendered for ``claim``; answer the time that its ``Date`` field will show."""
    contents.store(session, claim.id, rendered)
    run(
        session,
        sa.update(Message)
        .where(*_held(claim))
        .values(
            recipient=recipient,
            account_ref=account_ref,
            message_id_header=message_id_header,
            prepared_at=db_time(),
        ),
    )
    moment: datetime = run(
        session, sa.select(Message.prepared_at).where(Message.id == claim.id)
    ).scalar_one()
    return moment


def close(
    session: Session, claim: Claim, status: Status, reason: str, *, error: str | None = None
) -> bool:
    """End ``claim`` without an attempt: suppressed or abandoned; False if it was lost."""
    return _settle(session, claim, Decision(status, reason), _last_error(error))


def release(
    session: Session, claim: Claim, *, reason: str, delay: timedelta, error: str | None = None
) -> bool:
    """Give ``claim`` back unattempted, due again after ``delay``; False if it was lost."""
    values = {"next_attempt_at": db_time(delay), **_last_error(error)}
    return _settle(session, claim, Decision(Status.QUEUED, reason), values)


def record(
    session: Session,
    claim: Claim,
    result: SendResult,
    decision: Decision,
    *,
    worker: str,
    keep_seed: bool = False,
) -> bool:
    """Write an attempt and the move it led to; False if the lease was lost.

    Then only the attempt is kept, as history: another worker decides about the message.

    :param keep_seed: the mail stayed here (``log:``), where its link may be shown.
    """
    accepted = decision.status is Status.SENT
    values: dict[str, Any] = {
        "attempts": claim.attempts + counts(result.outcome),
        "sent_at": db_time() if accepted else None,
        "last_code": result.code,
        "last_error": None if accepted else result.text[:_ERROR_LIMIT],
        "transport": result.transport,
    }
    if decision.next_attempt_at is not None:
        values["next_attempt_at"] = decision.next_attempt_at
    settled = _settle(session, claim, decision, values, keep_seed=keep_seed)
    if settled and accepted:
        tokens.retire_other_codes(session, claim.id)
    attempts.add(session, claim.id, result, worker=worker)
    return settled


def _last_error(error: str | None) -> dict[str, Any]:
    return {} if error is None else {"last_error": error[:_ERROR_LIMIT]}


def _held(claim: Claim) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        Message.id == claim.id,
        Message.lease_token == claim.lease_token,
        _IS_PROCESSING,
    )


def _settle(
    session: Session,
    claim: Claim,
    decision: Decision,
    values: dict[str, Any],
    *,
    keep_seed: bool = False,
) -> bool:
    statement = (
        sa.update(Message)
        .where(*_held(claim))
        .values(
            status=advance(Status.PROCESSING, decision.status).value,
            reason=decision.reason,
            lease_token=None,
            lease_until=None,
            **values,
        )
    )
    settled = run(session, statement).rowcount == 1
    if settled and decision.status in FINAL and not keep_seed:
        tokens.wipe_seeds(session, [claim.id])
    if settled and decision.status in (Status.ABANDONED, Status.EXPIRED):
        tokens.close_undelivered(session, [claim.id])
    return settled
