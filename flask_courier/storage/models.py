"""The tables.

They live on a base of our own, so that they are the same classes whatever base the application gave
its ``SQLAlchemy()``; :func:`attach` puts plain-typed copies on the application's metadata, which is
what ``create_all`` and migrations see. Every index and constraint is named: the host's naming
convention is not ours.
"""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_courier.core.errors import ConfigError
from flask_courier.storage.dialect import UUID, FoldedAddress, LongText, UtcDateTime

_QUEUED = sa.text("status = 'queued'")
_PROCESSING = sa.text("status = 'processing'")
_LEASED = sa.text("lease_token IS NOT NULL")
_PREPARED = sa.text("message_id_header IS NOT NULL")
_RESENT = sa.text("resend_of IS NOT NULL")
#: Compared to the byte, as everywhere else: the server's default takes ``a1``, ``A1`` and ``á1``
#: for the same account.
_MYSQL = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


class CourierBase(DeclarativeBase):
    """The base of our tables alone."""


class Message(CourierBase):
    """One mail to one recipient: the narrow, hot row that workers claim and the page lists."""

    __tablename__ = "courier_message"
    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name="pk_courier_message"),
        sa.UniqueConstraint("kind", "idempotency_key", name="uq_courier_message_idempotency"),
        sa.Index(
            "ix_courier_message_due",
            "status",
            "lane",
            "next_attempt_at",
            "id",
            postgresql_where=_QUEUED,
            sqlite_where=_QUEUED,
        ),
        sa.Index(
            "ix_courier_message_lease",
            "status",
            "lease_until",
            postgresql_where=_PROCESSING,
            sqlite_where=_PROCESSING,
        ),
        sa.Index(
            "ix_courier_message_token",
            "lease_token",
            postgresql_where=_LEASED,
            sqlite_where=_LEASED,
        ),
        sa.Index("ix_courier_message_status", "status", "id"),
        sa.Index("ix_courier_message_recipient", "recipient_folded", "id"),
        sa.Index(
            "ix_courier_message_header",
            "message_id_header",
            postgresql_where=_PREPARED,
            sqlite_where=_PREPARED,
        ),
        sa.Index("ix_courier_message_account", "account_ref", "kind", "id"),
        sa.Index(
            "ix_courier_message_resend",
            "resend_of",
            "id",
            postgresql_where=_RESENT,
            sqlite_where=_RESENT,
        ),
        _MYSQL,
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime())
    kind: Mapped[str] = mapped_column(sa.String(64))
    status: Mapped[str] = mapped_column(sa.String(16))
    reason: Mapped[str | None] = mapped_column(sa.String(64))
    recipient: Mapped[str] = mapped_column(sa.String(320))
    #: As ``core.accounts.search_key`` writes it.
    recipient_folded: Mapped[str] = mapped_column(FoldedAddress)
    account_ref: Mapped[str | None] = mapped_column(sa.String(255))
    locale: Mapped[str | None] = mapped_column(sa.String(35))
    context: Mapped[dict[str, Any]] = mapped_column(sa.JSON())
    requester_key: Mapped[str | None] = mapped_column(sa.String(64))
    lane: Mapped[int] = mapped_column(sa.SmallInteger())
    attempts: Mapped[int] = mapped_column(sa.Integer())
    claims: Mapped[int] = mapped_column(sa.Integer())
    next_attempt_at: Mapped[datetime] = mapped_column(UtcDateTime())
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime())
    #: The last claim's, also once its lease has run out; while a sweep ends messages, its mark.
    lease_token: Mapped[str | None] = mapped_column(sa.String(32))
    #: Set exactly while the message is processing.
    lease_until: Mapped[datetime | None] = mapped_column(UtcDateTime())
    prepared_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    message_id_header: Mapped[str | None] = mapped_column(sa.String(255))
    last_code: Mapped[int | None] = mapped_column(sa.Integer())
    last_error: Mapped[str | None] = mapped_column(sa.String(512))
    transport: Mapped[str | None] = mapped_column(sa.String(255))
    idempotency_key: Mapped[str | None] = mapped_column(sa.String(128))
    resend_of: Mapped[uuid.UUID | None] = mapped_column(UUID)


class Content(CourierBase):
    """A mail as it was sent, with a placeholder where the token and the code went."""

    __tablename__ = "courier_content"
    __table_args__ = (sa.PrimaryKeyConstraint("message_id", name="pk_courier_content"), _MYSQL)

    message_id: Mapped[uuid.UUID] = mapped_column(UUID)
    subject: Mapped[str] = mapped_column(sa.String(998))
    text: Mapped[str] = mapped_column(LongText)
    html: Mapped[str | None] = mapped_column(LongText)
    placeholder: Mapped[str | None] = mapped_column(sa.String(32))


class Attempt(CourierBase):
    """One try to deliver a message, written when it ended."""

    __tablename__ = "courier_attempt"
    __table_args__ = (
        sa.PrimaryKeyConstraint("message_id", "number", name="pk_courier_attempt"),
        _MYSQL,
    )

    message_id: Mapped[uuid.UUID] = mapped_column(UUID)
    number: Mapped[int] = mapped_column(sa.Integer(), autoincrement=False)
    worker: Mapped[str] = mapped_column(sa.String(255))
    transport: Mapped[str] = mapped_column(sa.String(255))
    host: Mapped[str | None] = mapped_column(sa.String(255))
    address: Mapped[str | None] = mapped_column(sa.String(64))
    tls_version: Mapped[str | None] = mapped_column(sa.String(16))
    tls_cipher: Mapped[str | None] = mapped_column(sa.String(64))
    phase: Mapped[str] = mapped_column(sa.String(16))
    outcome: Mapped[str] = mapped_column(sa.String(16))
    code: Mapped[int | None] = mapped_column(sa.Integer())
    enhanced_code: Mapped[str | None] = mapped_column(sa.String(16))
    cause: Mapped[str | None] = mapped_column(sa.String(48))
    reply: Mapped[str] = mapped_column(sa.Text())
    started_at: Mapped[datetime] = mapped_column(UtcDateTime())
    duration_ms: Mapped[int] = mapped_column(sa.Integer())


class Token(CourierBase):
    """What can be known of a token without knowing the token."""

    __tablename__ = "courier_token"
    __table_args__ = (
        sa.PrimaryKeyConstraint("digest", name="pk_courier_token"),
        sa.Index("ix_courier_token_code", "purpose", "address_key", "code_digest"),
        sa.Index("ix_courier_token_account", "account_ref", "purpose"),
        sa.Index("ix_courier_token_message", "message_id"),
        _MYSQL,
    )

    digest: Mapped[str] = mapped_column(sa.String(64))
    purpose: Mapped[str] = mapped_column(sa.String(32))
    account_ref: Mapped[str] = mapped_column(sa.String(255))
    address_key: Mapped[str] = mapped_column(sa.String(64))
    code_digest: Mapped[str | None] = mapped_column(sa.String(64))
    message_id: Mapped[uuid.UUID] = mapped_column(UUID)
    #: 32 hexadecimal digits, or NULL once the message is final.
    seed: Mapped[str | None] = mapped_column(sa.String(32))
    key_id: Mapped[str] = mapped_column(sa.String(16))
    fingerprint: Mapped[str] = mapped_column(sa.String(64))
    issued_at: Mapped[datetime] = mapped_column(UtcDateTime())
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime())
    opened_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    consumed_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    #: Why it was consumed, as in ``core.tokens.Ending``.
    ended_as: Mapped[str | None] = mapped_column(sa.String(16))


class LimitCounter(CourierBase):
    """How often something happened since its window began; also the lock of an account."""

    __tablename__ = "courier_limit"
    __table_args__ = (
        sa.PrimaryKeyConstraint("key", name="pk_courier_limit"),
        sa.Index("ix_courier_limit_window", "window"),
        _MYSQL,
    )

    key: Mapped[str] = mapped_column(sa.String(64))
    window: Mapped[datetime] = mapped_column(UtcDateTime())
    count: Mapped[int] = mapped_column(sa.Integer())


class Transport(CourierBase):
    """What is known of a transport across workers."""

    __tablename__ = "courier_transport"
    __table_args__ = (sa.PrimaryKeyConstraint("name", name="pk_courier_transport"), _MYSQL)

    name: Mapped[str] = mapped_column(sa.String(255))
    #: ``closed``, or ``open``: then nobody sends but one probe at a time.
    breaker: Mapped[str] = mapped_column(sa.String(16))
    #: The cause of the fault that opened it, as in ``courier_attempt``.
    cause: Mapped[str | None] = mapped_column(sa.String(48))
    #: The same in plain words.
    reason: Mapped[str | None] = mapped_column(sa.String(255))
    #: Faults in a row since the last message that went through.
    faults: Mapped[int] = mapped_column(sa.Integer())
    opened_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    #: Whoever moves this forward is the one who probes.
    next_probe_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    #: The message that met the last fault: another one probes, if another one is due.
    last_message_id: Mapped[uuid.UUID | None] = mapped_column(UUID)
    last_ok_at: Mapped[datetime | None] = mapped_column(UtcDateTime())
    last_error: Mapped[str | None] = mapped_column(sa.String(512))


class Worker(CourierBase):
    """A process that delivers, and when it was last seen to."""

    __tablename__ = "courier_worker"
    __table_args__ = (sa.PrimaryKeyConstraint("name", name="pk_courier_worker"), _MYSQL)

    name: Mapped[str] = mapped_column(sa.String(255))
    kind: Mapped[str] = mapped_column(sa.String(16))
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime())


class Event(CourierBase):
    """Something that happened to a message beside its delivery attempts."""

    __tablename__ = "courier_event"
    __table_args__ = (
        sa.PrimaryKeyConstraint("id", name="pk_courier_event"),
        sa.Index("ix_courier_event_message", "message_id", "id"),
        _MYSQL,
    )

    id: Mapped[uuid.UUID] = mapped_column(UUID)
    message_id: Mapped[uuid.UUID] = mapped_column(UUID)
    at: Mapped[datetime] = mapped_column(UtcDateTime())
    actor: Mapped[str] = mapped_column(sa.String(255))
    what: Mapped[str] = mapped_column(sa.String(64))


def attach(metadata: sa.MetaData) -> None:
    """Put copies of our tables on the application's ``metadata``; a second call changes nothing.

    Types are stripped to what SQLAlchemy itself knows: a migration that alembic writes must not
    have to import us.

    :raises ConfigError: if the application has a table of one of our names with other columns.
    """
    for table in CourierBase.metadata.sorted_tables:
        key = f"{metadata.schema}.{table.name}" if metadata.schema else table.name
        present = metadata.tables.get(key)
        if present is not None:
            _refuse_foreign(table, present)
            continue
        copy = table.to_metadata(
            metadata, schema=metadata.schema or sa.schema.SchemaConst.RETAIN_SCHEMA
        )
        for column in copy.columns:
            if isinstance(column.type, sa.TypeDecorator):
                column.type = column.type.impl_instance


def _refuse_foreign(ours: sa.Table, present: sa.Table) -> None:
    if set(ours.columns.keys()) != set(present.columns.keys()):
        raise ConfigError(
            [f"a table {present.key!r} that is not flask_courier's is on your metadata; rename it"]
        )
