"""What the delivery log page reads: keyset pages, one message, and what happened to it.

The list reads no body. Masking is the reader's: content leaves here with its placeholder.
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
from flask_courier.storage import contents, tokens
from flask_courier.storage.conditions import IS_QUEUED
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Attempt, Content, Event, Message, Token


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


@dataclass(frozen=True)
class AttemptEntry:
    """One delivery attempt."""

    number: int
    worker: str
    transport: str
    host: str | None
    address: str | None
    tls_version: str | None
    tls_cipher: str | None
    phase: str
    outcome: str
    code: int | None
    enhanced_code: str | None
    #: A word of ``core.causes``; None in rows of older releases.
    cause: str | None
    reply: str
    started_at: datetime
    duration_ms: int


@dataclass(frozen=True)
class EventEntry:
    """Something that happened to a message beside its attempts."""

    at: datetime
    actor: str
    what: str


@dataclass(frozen=True)
class Details:
    """One message with all that is known of it."""

    entry: Entry
    attempts: tuple[AttemptEntry, ...]
    events: tuple[EventEntry, ...]
    content: Rendered | None
    #: Present while the token is open and can be derived again: the page does that for ``log:``.
    seed: tokens.SeedRow | None


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


def entries(
    session: Session,
    *,
    status: Status | None,
    recipient: str | None,
    before: uuid.UUID | None,
    limit: int,
    kind: str | None = None,
) -> list[Entry]:
    """Messages, newest first, older than ``before``.

    :param recipient: the whole address, or how it begins.
    """
    statement = _select_entries().order_by(Message.id.desc()).limit(limit)
    if status is not None:
        statement = statement.where(Message.status == status.value)
    if recipient:
        statement = statement.where(Message.recipient.startswith(recipient, autoescape=True))
    if kind:
        statement = statement.where(Message.kind == kind)
    if before is not None:
        statement = statement.where(Message.id < before)
    return [_entry(row) for row in run(session, statement)]


def details(session: Session, message_id: uuid.UUID) -> Details | None:
    """One message, or None if there is none with this id."""
    row = run(session, _select_entries().where(Message.id == message_id)).one_or_none()
    if row is None:
        return None
    attempts = run(
        session,
        sa.select(
            Attempt.number,
            Attempt.worker,
            Attempt.transport,
            Attempt.host,
            Attempt.address,
            Attempt.tls_version,
            Attempt.tls_cipher,
            Attempt.phase,
            Attempt.outcome,
            Attempt.code,
            Attempt.enhanced_code,
            Attempt.cause,
            Attempt.reply,
            Attempt.started_at,
            Attempt.duration_ms,
        )
        .where(Attempt.message_id == message_id)
        .order_by(Attempt.number),
    )
    return Details(
        entry=_entry(row),
        attempts=tuple(AttemptEntry(*attempt) for attempt in attempts),
        events=tuple(_events(session, message_id)),
        content=contents.load(session, [message_id]).get(message_id),
        seed=tokens.seed_of(session, message_id, only_open=True),
    )


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


def _select_entries() -> Any:
    # Any: the type of a SELECT of many columns differs between SQLAlchemy 2.0 and 2.1.
    return sa.select(*_ENTRY).select_from(
        sa.outerjoin(Message, Content, Content.message_id == Message.id)
    )


def _entry(row: Sequence[Any]) -> Entry:
    # The columns of _ENTRY are the fields of Entry, in their order, and then the placeholder.
    *values, placeholder = row
    entry = Entry(*values)
    subject = entry.subject
    if subject is not None:
        subject = Rendered(subject, "", None, placeholder).masked().subject
    return replace(entry, status=Status(entry.status), subject=subject)


def _events(session: Session, message_id: uuid.UUID) -> list[EventEntry]:
    """What was noted, and when the link was first fetched."""
    noted = run(
        session,
        sa.select(Event.at, Event.actor, Event.what).where(Event.message_id == message_id),
    )
    opened = run(
        session,
        sa.select(Token.opened_at).where(
            Token.message_id == message_id, Token.opened_at.is_not(None)
        ),
    )
    events = [EventEntry(*row) for row in noted]
    events += [EventEntry(row[0], "visitor", "link_fetched") for row in opened]
    return sorted(events, key=lambda event: event.at)
