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


def has_live(
    session: Session, *, kind: str, account_ref: str, fingerprints: Sequence[str], than: uuid.UUID
) -> bool:
    """Whether the account has another mail of ``kind``, sent or waiting, with a working token.

    :param fingerprints: of the account as it is; a token of another state is dead.
    """
    statement = (
        sa.select(sa.literal(1))
        .where(
            Message.account_ref == account_ref,
            Message.kind == kind,
            Message.id != than,
            Message.status.in_([Status.QUEUED, Status.PROCESSING, Status.SENT]),
            tokens.is_open_for(Message.id, tokens.has_fingerprint(fingerprints)),
        )
        .limit(1)
    )
    return run(session, statement).first() is not None
