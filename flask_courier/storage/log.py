"""What the list of the delivery log reads: its rows.

Which rows, ``storage.search`` says. The list reads no body. Masking is the reader's: content leaves
here with its placeholder.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.clock import utc_now
from flask_courier.core.ids import new_id
from flask_courier.core.messages import Rendered
from flask_courier.core.status import Status
from flask_courier.storage.conditions import IS_QUEUED
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Content, Event, Message


@dataclass(frozen=True)
class Entry:
    """A message as a row of the list."""

    id: uuid.UUID
    created_at: datetime
    kind: str
    status: Status
    reason: str | None
    recipient: str
    subject: str | None
    attempts: int
    next_attempt_at: datetime
    lease_until: datetime | None
    expires_at: datetime
    sent_at: datetime | None
    last_code: int | None
    last_error: str | None
    transport: str | None
    account_ref: str | None
    locale: str | None
    claims: int
    prepared_at: datetime | None
    message_id_header: str | None
    resend_of: uuid.UUID | None

    def names_in_kratos(self) -> dict[str, Any]:
        """What Ory Kratos' courier API calls things that a message has here, too."""
        moments = (self.created_at, self.prepared_at, self.sent_at)
        return {
            "type": "email",
            "template_type": self.kind,
            "send_count": self.attempts,
            "updated_at": max(moment for moment in moments if moment is not None),
        }


_ENTRY = (
    Message.id,
    Message.created_at,
    Message.kind,
    Message.status,
    Message.reason,
    Message.recipient,
    Content.subject,
    Message.attempts,
    Message.next_attempt_at,
    Message.lease_until,
    Message.expires_at,
    Message.sent_at,
    Message.last_code,
    Message.last_error,
    Message.transport,
    Message.account_ref,
    Message.locale,
    Message.claims,
    Message.prepared_at,
    Message.message_id_header,
    Message.resend_of,
    Content.placeholder,
)


def entries_of(session: Session, message_ids: Sequence[uuid.UUID]) -> list[Entry]:
    """These messages, as far as they exist, in this order."""
    if not message_ids:
        return []
    statement = select_entries().where(Message.id.in_(message_ids))
    found = {row[0]: row for row in run(session, statement)}
    return [to_entry(found[one]) for one in message_ids if one in found]


def oldest_due_age(session: Session) -> timedelta:
    """For how long the oldest due message has waited; zero if none waits."""
    row = run(
        session,
        sa.select(sa.func.min(Message.next_attempt_at), db_time()).where(IS_QUEUED),
    ).one()
    earliest, current = row
    return timedelta(0) if earliest is None else max(timedelta(0), current - earliest)


def add_event(session: Session, message_id: uuid.UUID, *, actor: str, what: str) -> None:
    """Note that ``what`` happened to the message."""
    run(
        session,
        sa.insert(Event).values(
            id=new_id(utc_now()), message_id=message_id, at=db_time(), actor=actor, what=what
        ),
    )


def select_entries() -> Any:
    """Messages with what :func:`to_entry` needs of them, and their content at hand."""
    # Any: the type of a SELECT of many columns differs between SQLAlchemy 2.0 and 2.1.
    return sa.select(*_ENTRY).select_from(
        sa.outerjoin(Message, Content, Content.message_id == Message.id)
    )


def to_entry(row: Sequence[Any]) -> Entry:
    """A row of :func:`select_entries`."""
    # The columns of _ENTRY are the fields of Entry, in their order, and then the placeholder.
    *values, placeholder = row
    entry = Entry(*values)
    subject = entry.subject
    if subject is not None:
        subject = Rendered(subject, "", None, placeholder).masked().subject
    return replace(entry, status=Status(entry.status), subject=subject)
