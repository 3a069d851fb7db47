"""What the delivery log reads of one message: what it is, what happened to it, what belongs to it.

Five statements, each by an index, whatever the message has. Masking is the reader's: content leaves
here with its placeholder.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.accounts import search_key
from flask_courier.core.messages import Rendered
from flask_courier.core.status import Status
from flask_courier.core.tokens import Ending, Purpose, Seed
from flask_courier.storage.dialect import run
from flask_courier.storage.log import Entry, select_entries, to_entry
from flask_courier.storage.models import Attempt, Content, Event, Message, Token
from flask_courier.storage.seeds import SeedRow
from flask_courier.storage.tokens import OPEN

#: Attempts that are read at once: a page, or a screen.
ATTEMPTS = 50
_EVENTS = 1000
_RELATED = 5

#: Who did what nobody here did: whoever has the mail, and time or another mail.
VISITOR, SYSTEM = "visitor", "courier"

#: Links that go along in notices: that nobody uses them is as it should be.
_ASIDE = frozenset({Purpose.NOT_ME, Purpose.EMAIL_UNDO})
_ENDINGS = {Ending.REPLACED: "link_replaced", Ending.DISOWNED: "link_disowned"}


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
class TokenEntry:
    """What became of a token that travels in the message."""

    purpose: Purpose
    expires_at: datetime
    opened_at: datetime | None
    consumed_at: datetime | None
    ended_as: Ending | None
    #: Whether it is good now, by the database's clock.
    is_open: bool
    #: Present until the message is final: what it can be derived from again.
    seed: SeedRow | None


@dataclass(frozen=True)
class RelatedEntry:
    """Another message, and what it has to do with this one."""

    #: ``recipient`` (to the same address), ``original`` and ``resend`` (of the chain), or
    #: ``successor``: what took the place of a superseded one.
    tie: str
    id: uuid.UUID
    created_at: datetime
    kind: str
    status: Status
    reason: str | None


@dataclass(frozen=True)
class Details:
    """One message with all that is known of it."""

    entry: Entry
    #: Whether anybody on the account pages asked for it, rather than the application itself.
    asked_by_visitor: bool
    #: The newest that were asked for, in their order.
    attempts: tuple[AttemptEntry, ...]
    #: The newest of all.
    last: AttemptEntry | None
    events: tuple[EventEntry, ...]
    tokens: tuple[TokenEntry, ...]
    content: Rendered | None
    related: tuple[RelatedEntry, ...]

    @property
    def link(self) -> TokenEntry | None:
        """The link that the mail is about; None for mail without one, or with one in passing."""
        return next((token for token in self.tokens if token.purpose not in _ASIDE), None)

    @property
    def seed(self) -> SeedRow | None:
        """What the link can be derived from again, while it is good."""
        return next((one.seed for one in self.tokens if one.is_open and one.seed), None)

    @property
    def earlier_attempts(self) -> int:
        """How many there were before those."""
        return self.attempts[0].number - 1 if self.attempts else 0


_ATTEMPT = tuple(getattr(Attempt, name) for name in AttemptEntry.__dataclass_fields__)


def details(
    session: Session,
    message_id: uuid.UUID,
    *,
    before: int | None = None,
    limit: int | None = ATTEMPTS,
) -> Details | None:
    """One message, or None if there is none with this id.

    :param before: leave out the attempts with this number and later ones.
    :param limit: at most so many attempts, the newest; None for all.
    """
    statement = select_entries().add_columns(
        Content.subject.label("written"), Content.text, Content.html, Message.requester_key
    )
    row = run(session, statement.where(Message.id == message_id)).one_or_none()
    if row is None:
        return None
    *known, subject, text, html, requester_key = row
    entry, placeholder = to_entry(known), known[-1]
    attempts = _attempts(session, message_id, before, limit)
    tokens = _tokens(session, message_id)
    events = _events(session, message_id)
    events += [event for token in tokens for event in _happened(token)]
    return Details(
        entry=entry,
        asked_by_visitor=requester_key is not None,
        attempts=tuple(one for one in attempts if before is None or one.number < before),
        last=attempts[-1] if attempts else None,
        events=tuple(sorted(events, key=lambda event: event.at)),
        tokens=tokens,
        content=None if text is None else Rendered(subject, text, html, placeholder),
        related=_related(session, entry),
    )


def _attempts(
    session: Session, message_id: uuid.UUID, before: int | None, limit: int | None
) -> list[AttemptEntry]:
    """Those that are asked for, and the last of all, in their order."""
    newest_first = (
        sa.select(*_ATTEMPT).where(Attempt.message_id == message_id).order_by(Attempt.number.desc())
    )
    statement: Any = newest_first.limit(limit)
    if before is not None:
        older = newest_first.where(Attempt.number < before).limit(limit)
        # Wrapped: a part of a UNION has no order and no limit of its own in SQLite.
        parts = [sa.select(part.subquery()) for part in (older, newest_first.limit(1))]
        statement = sa.union(*parts)
    found = [AttemptEntry(*row) for row in run(session, statement)]
    return sorted(found, key=lambda attempt: attempt.number)


def _events(session: Session, message_id: uuid.UUID) -> list[EventEntry]:
    statement = (
        sa.select(Event.at, Event.actor, Event.what)
        .where(Event.message_id == message_id)
        .order_by(Event.id.desc())
        .limit(_EVENTS)
    )
    return [EventEntry(*row) for row in run(session, statement)]


def _tokens(session: Session, message_id: uuid.UUID) -> tuple[TokenEntry, ...]:
    statement = sa.select(
        Token.purpose,
        Token.expires_at,
        Token.opened_at,
        Token.consumed_at,
        Token.ended_as,
        OPEN.label("is_open"),
        Token.seed,
        Token.key_id,
    ).where(Token.message_id == message_id)
    found = [_token(message_id, row) for row in run(session, statement)]
    # A "this was not me" link goes along with another; where it is the only one, it is meant.
    return tuple(sorted(found, key=lambda token: token.purpose is Purpose.NOT_ME))


def _token(message_id: uuid.UUID, row: Any) -> TokenEntry:
    purpose, seed = Purpose(row.purpose), None
    if row.seed is not None:
        seed = SeedRow(Seed(purpose, str(message_id), bytes.fromhex(row.seed)), row.key_id)
    return TokenEntry(
        purpose=purpose,
        expires_at=row.expires_at,
        opened_at=row.opened_at,
        consumed_at=row.consumed_at,
        ended_as=None if row.ended_as is None else Ending(row.ended_as),
        is_open=bool(row.is_open),
        seed=seed,
    )


def _happened(token: TokenEntry) -> Iterator[EventEntry]:
    """What the row of a token tells of it; its use was noted by whoever saw to it."""
    aside = token.purpose is Purpose.NOT_ME
    if token.opened_at is not None:
        what = "not_me_fetched" if aside else "link_fetched"
        yield EventEntry(token.opened_at, VISITOR, what)
    ended = None if token.ended_as is None else _ENDINGS.get(token.ended_as)
    if token.consumed_at is not None and ended is not None and not aside:
        yield EventEntry(token.consumed_at, SYSTEM, ended)
    if token.consumed_at is None and not token.is_open and token.purpose not in _ASIDE:
        yield EventEntry(token.expires_at, SYSTEM, "link_expired")


def _related(session: Session, entry: Entry) -> tuple[RelatedEntry, ...]:
    to_them = Message.recipient_folded == search_key(entry.recipient)
    other = Message.id != entry.id
    parts = [
        _tied("recipient", to_them, other, order=Message.id.desc(), limit=_RELATED),
        _tied("resend", Message.resend_of == entry.id, order=Message.id.desc(), limit=_RELATED),
    ]
    if entry.resend_of is not None:
        parts.append(_tied("original", Message.id == entry.resend_of, order=Message.id, limit=1))
    if entry.reason == "superseded":
        newer = (to_them, Message.kind == entry.kind, Message.id > entry.id)
        parts.append(_tied("successor", *newer, order=Message.id, limit=1))
    found = run(session, sa.union_all(*parts))
    return tuple(
        RelatedEntry(tie, id_, created_at, kind, Status(status), reason)
        for tie, id_, created_at, kind, status, reason in found
    )


def _tied(tie: str, *conditions: Any, order: Any, limit: int) -> Any:
    found = (
        sa.select(
            sa.literal_column(f"'{tie}'", sa.String()).label("tie"),
            Message.id,
            Message.created_at,
            Message.kind,
            Message.status,
            Message.reason,
        )
        .where(*conditions)
        .order_by(order)
        .limit(limit)
        .subquery()
    )
    return sa.select(found)


def of_tie(related: Sequence[RelatedEntry], tie: str) -> list[RelatedEntry]:
    """Those of ``related`` that have this to do with the message, newest first."""
    return sorted((one for one in related if one.tie == tie), key=lambda one: one.id, reverse=True)
