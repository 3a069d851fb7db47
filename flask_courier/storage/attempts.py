"""The history of deliveries: one row for each try, written when it ended."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Outcome
from flask_courier.storage.dialect import run
from flask_courier.storage.models import Attempt, Message


def add(session: Session, message_id: uuid.UUID, result: SendResult, *, worker: str) -> None:
    """Write down what one attempt came to; the message's own row is locked, not changed."""
    # Two workers may have something to tell about one message, if the lease changed hands: each
    # waits here until the other's number is taken.
    run(session, sa.select(Message.id).where(Message.id == message_id).with_for_update())
    latest = run(
        session, sa.select(sa.func.max(Attempt.number)).where(Attempt.message_id == message_id)
    ).scalar_one()
    run(
        session,
        sa.insert(Attempt).values(
            message_id=message_id,
            number=(latest or 0) + 1,
            worker=worker,
            transport=result.transport,
            host=result.host,
            address=result.address,
            tls_version=result.tls_version,
            tls_cipher=result.tls_cipher,
            phase=result.phase.value,
            outcome=result.outcome.value,
            code=result.code,
            enhanced_code=result.enhanced_code,
            reply=result.text,
            started_at=result.started_at,
            duration_ms=round(result.duration.total_seconds() * 1000),
        ),
    )


def count(session: Session, message_id: uuid.UUID) -> int:
    """How many attempts there were for the message."""
    statement = sa.select(sa.func.count()).where(Attempt.message_id == message_id)
    total: int = run(session, statement).scalar_one()
    return total


def count_unknown(session: Session, message_id: uuid.UUID) -> int:
    """How many attempts for the message ended without anybody knowing how."""
    statement = sa.select(sa.func.count()).where(
        Attempt.message_id == message_id, Attempt.outcome == Outcome.UNKNOWN.value
    )
    total: int = run(session, statement).scalar_one()
    return total
