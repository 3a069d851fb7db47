"""The history of deliveries: one row for each try, written when it ended."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Outcome
from flask_courier.storage.bulk import Bulk
from flask_courier.storage.dialect import run
from flask_courier.storage.models import Attempt, Message

_CLOSING = 421
#: A fault from RCPT on that may be the message's doing.
_WAS_DEFERRED = Attempt.outcome == Outcome.DEFERRED.value
_IS_DROPPED = sa.and_(_WAS_DEFERRED, Attempt.code.is_(None))
_IS_SUSPECT = sa.and_(_WAS_DEFERRED, sa.or_(Attempt.code.is_(None), Attempt.code == _CLOSING))
_NAMES = (
    "message_id", "worker", "transport", "host", "address", "tls_version", "tls_cipher", "phase",
    "outcome", "code", "enhanced_code", "cause", "reply", "started_at", "duration_ms",
)  # fmt: skip
_COLUMNS = {name: getattr(Attempt, name) for name in _NAMES}
_EARLIER = aliased(Attempt)


def _numbered(row: Any) -> sa.Insert:
    """An attempt takes the next number of its message by itself."""
    number = sa.select(sa.func.coalesce(sa.func.max(_EARLIER.number), 0) + 1).where(
        _EARLIER.message_id == row.message_id
    )
    values = [getattr(row, name) for name in _COLUMNS]
    return sa.insert(Attempt).from_select(
        [*_COLUMNS, "number"], sa.select(*values, number.scalar_subquery())
    )


_INSERT = Bulk(_COLUMNS, _numbered)


def add(session: Session, results: Sequence[tuple[uuid.UUID, SendResult]], *, worker: str) -> None:
    """Write down what attempts came to; the rows of their messages must be locked."""
    _INSERT.run(session, [_row(message_id, worker, result) for message_id, result in results])


def _row(message_id: uuid.UUID, worker: str, result: SendResult) -> dict[str, Any]:
    return {
        "message_id": message_id,
        "worker": worker,
        "transport": result.transport,
        "host": result.host,
        "address": result.address,
        "tls_version": result.tls_version,
        "tls_cipher": result.tls_cipher,
        "phase": result.phase.value,
        "outcome": result.outcome.value,
        "code": result.code,
        "enhanced_code": result.enhanced_code,
        "cause": result.cause or None,
        "reply": result.text,
        "started_at": result.started_at,
        "duration_ms": round(result.duration.total_seconds() * 1000),
    }


def lock(session: Session, message_ids: Sequence[uuid.UUID]) -> None:
    """Lock the rows of messages that are not changed: each next number is taken once."""
    statement = sa.select(Message.id).where(Message.id.in_(message_ids)).order_by(Message.id)
    run(session, statement.with_for_update()).all()


def written(
    session: Session, message_ids: Sequence[uuid.UUID], *, worker: str
) -> set[tuple[uuid.UUID, datetime]]:
    """The attempts of a worker at these messages: of which message, and when they began."""
    statement = sa.select(Attempt.message_id, Attempt.started_at).where(
        Attempt.message_id.in_(message_ids), Attempt.worker == worker
    )
    return {(message_id, started_at) for message_id, started_at in run(session, statement)}


def count(session: Session, message_id: uuid.UUID) -> int:
    """How many attempts there were for the message."""
    return _count(session, message_id)


def count_unknown(session: Session, message_id: uuid.UUID) -> int:
    """How many attempts for the message ended without anybody knowing how."""
    return _count(session, message_id, Attempt.outcome == Outcome.UNKNOWN.value)


def count_dropped(session: Session, message_id: uuid.UUID) -> int:
    """How many attempts for the message ended with its connection, without a word."""
    return _count(session, message_id, _IS_DROPPED)


def acquit(session: Session, message_ids: Sequence[uuid.UUID]) -> None:
    """Lay the faults of these messages to the transport, which had them."""
    run(
        session,
        sa.update(Attempt)
        .where(Attempt.message_id.in_(message_ids), _IS_SUSPECT)
        .values(outcome=Outcome.TRANSPORT_FAULT.value),
    )


def _count(session: Session, message_id: uuid.UUID, *conditions: sa.ColumnElement[bool]) -> int:
    statement = sa.select(sa.func.count()).where(Attempt.message_id == message_id, *conditions)
    total: int = run(session, statement).scalar_one()
    return total
