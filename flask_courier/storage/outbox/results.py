"""What became of a claimed message."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.accounts import search_key
from flask_courier.core.messages import Claim, Rendered, SendResult
from flask_courier.core.retry import Decision
from flask_courier.core.retry import counts as uses_attempt
from flask_courier.core.status import FINAL, Status, advance
from flask_courier.storage import attempts, contents, seeds, tokens
from flask_courier.storage.bulk import Bulk
from flask_courier.storage.conditions import held_of, is_held_as
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Message

_ERROR_LIMIT = 512

_PREPARED = Bulk(
    {
        "id": Message.id,
        "lease_token": Message.lease_token,
        "recipient": Message.recipient,
        "recipient_folded": Message.recipient_folded,
        "account_ref": Message.account_ref,
        "message_id_header": Message.message_id_header,
        "prepared_at": Message.prepared_at,
    },
    lambda row: (
        sa.update(Message)
        .where(is_held_as(row))
        .values(
            recipient=row.recipient,
            recipient_folded=row.recipient_folded,
            account_ref=row.account_ref,
            message_id_header=row.message_id_header,
            prepared_at=row.prepared_at,
        )
    ),
    found_by="id",
)
# Accepted mail is what the queue is busy with: one statement for all of it.
_SENT = Bulk(
    {
        "id": Message.id,
        "lease_token": Message.lease_token,
        "attempts": Message.attempts,
        "last_code": Message.last_code,
        "transport": Message.transport,
    },
    lambda row: (
        sa.update(Message)
        .where(is_held_as(row))
        .values(
            status=advance(Status.PROCESSING, Status.SENT).value,
            reason=None,
            lease_token=None,
            lease_until=None,
            attempts=Message.attempts + row.attempts,
            # One moment for all: which of two codes works depends on it.
            sent_at=sa.select(db_time()).scalar_subquery(),
            last_code=row.last_code,
            last_error=None,
            transport=row.transport,
        )
    ),
    found_by="id",
)


class LeaseLost(Exception):
    """Not every message was still held; nothing may be committed. Ask ``hold`` which ones are."""


@dataclass(frozen=True)
class Prepared:
    """What was rendered for a claim."""

    claim: Claim
    recipient: str
    account_ref: str | None
    message_id_header: str
    rendered: Rendered


@dataclass(frozen=True)
class Settlement:
    """An attempt and the move that follows it."""

    claim: Claim
    result: SendResult
    decision: Decision
    #: The mail carried a token, which becomes underivable when the message is final.
    carries_token: bool


def prepared(session: Session, mails: Sequence[Prepared], *, date: Any) -> None:
    """Store what was rendered.

    :param date: the database's time, which the ``Date`` field of each mail will show.
    :raises LeaseLost: if not every claim is still held.
    """
    contents.store(session, [(mail.claim.id, mail.rendered) for mail in mails])
    rows = [
        {
            "id": mail.claim.id,
            "lease_token": mail.claim.lease_token,
            "recipient": mail.recipient,
            "recipient_folded": search_key(mail.recipient),
            "account_ref": mail.account_ref,
            "message_id_header": mail.message_id_header,
            "prepared_at": date,
        }
        for mail in mails
    ]
    if _PREPARED.run(session, rows).rowcount != len(rows):
        raise LeaseLost


def close(
    session: Session, claim: Claim, status: Status, reason: str, *, error: str | None = None
) -> bool:
    """End ``claim`` without an attempt: suppressed or abandoned; False if it was lost."""
    return _settle(session, claim, Decision(status, reason), _last_error(error))


def release(
    session: Session,
    claim: Claim,
    *,
    reason: str,
    delay: timedelta,
    error: str | None = None,
    counts: bool = True,
) -> bool:
    """Give ``claim`` back unattempted, due again after ``delay``; False if it was lost.

    :param counts: whether the claim speaks against the message: too many, and it is poison.
    """
    values: dict[str, Any] = {"next_attempt_at": db_time(delay), **_last_error(error)}
    if not counts:
        values["claims"] = Message.claims - 1
    return _settle(session, claim, Decision(Status.QUEUED, reason), values)


def record(
    session: Session,
    settlements: Sequence[Settlement],
    *,
    worker: str,
    keep_seed: bool = False,
    history: bool = True,
) -> None:
    """Write attempts and the moves they led to.

    :param keep_seed: the mail stayed here (``log:``), where its link may be shown.
    :param history: False writes the moves alone, where the database refuses the attempts.
    :raises LeaseLost: if another worker has one of these messages by now.
    """
    sent = [one for one in settlements if one.decision.status is Status.SENT]
    _settle_sent(session, sent)
    for one in settlements:
        if one.decision.status is not Status.SENT and not _settle_other(session, one, keep_seed):
            raise LeaseLost
    with_token = [one.claim.id for one in sent if one.carries_token]
    if with_token and not keep_seed:
        seeds.wipe(session, with_token)
    if history:
        attempts.add(session, [(one.claim.id, one.result) for one in settlements], worker=worker)


def keep_history(
    session: Session, results: Sequence[tuple[uuid.UUID, SendResult]], *, worker: str
) -> None:
    """Write attempts for messages that another worker decides about, or that are decided about."""
    ids = [message_id for message_id, _ in results]
    attempts.lock(session, ids)
    # A commit whose answer was lost is tried again, and may have been done.
    known = attempts.written(session, ids, worker=worker)
    new = [one for one in results if (one[0], one[1].started_at) not in known]
    if new:
        attempts.add(session, new, worker=worker)


def refund(session: Session, message_ids: Sequence[uuid.UUID]) -> None:
    """Give messages the attempt back that turned out to have been the transport's fault."""
    run(
        session,
        sa.update(Message)
        .where(Message.id.in_(message_ids), Message.attempts > 0)
        .values(attempts=Message.attempts - 1),
    )
    attempts.acquit(session, message_ids)


def _settle_sent(session: Session, settlements: Sequence[Settlement]) -> None:
    if not settlements:
        return
    rows = [
        {
            "id": one.claim.id,
            "lease_token": one.claim.lease_token,
            "attempts": int(uses_attempt(one.result.outcome)),
            "last_code": one.result.code,
            "transport": one.result.transport,
        }
        # The order in which codes follow each other, where each row has a moment of its own.
        for one in sorted(settlements, key=lambda one: one.claim.id)
    ]
    if _SENT.run(session, rows).rowcount != len(rows):
        raise LeaseLost


def _settle_other(session: Session, one: Settlement, keep_seed: bool) -> bool:  # noqa: FBT001
    result, decision = one.result, one.decision
    values: dict[str, Any] = {
        # Not the claim's number: an attempt may have been given back since.
        "attempts": Message.attempts + int(uses_attempt(result.outcome)),
        "last_code": result.code,
        "last_error": result.text[:_ERROR_LIMIT],
        "transport": result.transport,
    }
    if decision.next_attempt_at is not None:
        values["next_attempt_at"] = decision.next_attempt_at
    return _settle(session, one.claim, decision, values, keep_seed=keep_seed)


def _last_error(error: str | None) -> Mapping[str, Any]:
    return {} if error is None else {"last_error": error[:_ERROR_LIMIT]}


def _settle(
    session: Session,
    claim: Claim,
    decision: Decision,
    values: Mapping[str, Any],
    *,
    keep_seed: bool = False,
) -> bool:
    statement = (
        sa.update(Message)
        .where(held_of([claim]))
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
        seeds.wipe(session, [claim.id])
    if settled and decision.status in (Status.ABANDONED, Status.EXPIRED):
        tokens.close_undelivered(session, [claim.id])
    return settled
