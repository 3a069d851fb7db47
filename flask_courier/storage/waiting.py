"""Questions to the queue that change nothing: what waits, and who has mail already."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.messages import Lane
from flask_courier.core.status import Status
from flask_courier.storage import tokens
from flask_courier.storage.conditions import IS_QUEUED
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Message

#: The reason of a change to an address that another account has. It counts as if it had been
#: mailed: nobody is to learn from other mail that it was not.
ADDRESS_TAKEN = "address_taken"


def seconds_until_due(session: Session) -> float | None:
    """How long until the next queued message is due, or None if none waits; reads only."""
    moments: list[float] = []
    for lane in Lane:
        earliest, now = run(
            session,
            sa.select(sa.func.min(Message.next_attempt_at), db_time()).where(
                # What has outlived its time is for the next sweep, and not due.
                IS_QUEUED,
                Message.lane == int(lane),
                Message.expires_at > db_time(),
            ),
        ).one()
        if earliest is not None:
            moments.append((earliest - now).total_seconds())
    return max(0.0, min(moments)) if moments else None


def has_newer(session: Session, *, kind: str, account_ref: str, than: uuid.UUID) -> bool:
    """Whether a later message of ``kind`` was asked for by the account and not turned down."""
    statement = (
        sa.select(sa.literal(1))
        .where(
            Message.account_ref == account_ref,
            Message.kind == kind,
            Message.id > than,
            Message.status != Status.CANCELLED.value,
            sa.or_(Message.status != Status.SUPPRESSED.value, Message.reason == ADDRESS_TAKEN),
        )
        .limit(1)
    )
    return run(session, statement).first() is not None


def has_live(
    session: Session,
    *,
    kind: str,
    account_ref: str,
    fingerprints: Sequence[str],
    than: uuid.UUID,
    recipient: str | None = None,
) -> bool:
    """Whether the account has another mail of ``kind``, sent or waiting, with a working token.

    :param fingerprints: of the account as it is; a token of another state is dead.
    :param recipient: only mail to this address counts.
    """
    to_them = [] if recipient is None else [Message.recipient == recipient]
    statement = (
        sa.select(sa.literal(1))
        .where(
            Message.account_ref == account_ref,
            Message.kind == kind,
            Message.id != than,
            sa.or_(
                Message.status.in_([Status.QUEUED, Status.PROCESSING, Status.SENT]),
                Message.reason == ADDRESS_TAKEN,
            ),
            tokens.is_open_for(Message.id, tokens.has_fingerprint(fingerprints)),
            *to_them,
        )
        .limit(1)
    )
    return run(session, statement).first() is not None
