"""Token rows: minted by a worker, looked up and claimed by digest."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.replies import Outcome
from flask_courier.core.status import Status
from flask_courier.core.tokens import Key, Purpose, Seed
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Attempt, Message, Token


@dataclass(frozen=True)
class TokenRow:
    """What the database knows of a token."""

    digest: str
    purpose: Purpose
    account_ref: str
    message_id: uuid.UUID
    key_id: str
    fingerprint: str
    expires_at: datetime
    #: Unused and unexpired, by the database's clock.
    open: bool


@dataclass(frozen=True)
class SeedRow:
    """What a token can be derived from again, while its message is not final."""

    seed: Seed
    key_id: str


_OPEN = sa.and_(Token.consumed_at.is_(None), Token.expires_at > db_time())


def is_open_for(message_id: Any, *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """A condition: the message in column ``message_id`` has an open token."""
    return sa.exists().where(Token.message_id == message_id, _OPEN, *conditions)


def has_fingerprint(fingerprints: Sequence[str]) -> sa.ColumnElement[bool]:
    """A condition: the token was minted for an account in the state of these fingerprints."""
    return Token.fingerprint.in_(fingerprints)


def add(
    session: Session,
    *,
    key: Key,
    seed: Seed,
    message_id: uuid.UUID,
    account_ref: str,
    address_key: str,
    code_digest: str | None,
    fingerprint: str,
    lifetime: timedelta,
    keep_seed: bool = True,
) -> None:
    """Store a token by its digest.

    :param keep_seed: False for a token that is handed over at once and never sent.
    """
    run(
        session,
        sa.insert(Token).values(
            digest=key.digest(key.token_id(seed)),
            purpose=seed.purpose.value,
            account_ref=account_ref,
            address_key=address_key,
            code_digest=code_digest,
            message_id=message_id,
            seed=seed.entropy.hex() if keep_seed else None,
            key_id=key.id,
            fingerprint=fingerprint,
            issued_at=db_time(),
            expires_at=db_time(lifetime),
        ),
    )


def seed_of(session: Session, message_id: uuid.UUID, *, only_open: bool = False) -> SeedRow | None:
    """The seed of the token that travels in the message, or None once it was wiped.

    :param only_open: None also for a token that is used up or has run out.
    """
    row = run(
        session,
        sa.select(Token.purpose, Token.seed, Token.key_id).where(
            Token.message_id == message_id,
            Token.seed.is_not(None),
            *([_OPEN] if only_open else []),
        ),
    ).one_or_none()
    if row is None:
        return None
    purpose, seed, key_id = row
    return SeedRow(Seed(Purpose(purpose), str(message_id), bytes.fromhex(seed)), key_id)


def renew(session: Session, message_id: uuid.UUID, lifetime: timedelta) -> None:
    """Start the life of the message's token anew: it counts from the attempt, not the request."""
    run(
        session,
        sa.update(Token)
        .where(Token.message_id == message_id, Token.consumed_at.is_(None))
        .values(issued_at=db_time(), expires_at=db_time(lifetime)),
    )


def drop(session: Session, message_id: uuid.UUID) -> None:
    """Forget the tokens of a message that is prepared again."""
    run(session, sa.delete(Token).where(Token.message_id == message_id))


def find(session: Session, purpose: Purpose, digests: Sequence[str]) -> TokenRow | None:
    """The token of this purpose with one of these digests, open or not; reads only."""
    return _one(session, Token.purpose == purpose.value, Token.digest.in_(digests))


def find_by_code(
    session: Session,
    purpose: Purpose,
    *,
    address_keys: Sequence[str],
    code_digests: Sequence[str],
    lifetime: timedelta,
) -> TokenRow | None:
    """The open token whose code this is, issued within ``lifetime``; one SELECT."""
    return _one(
        session,
        Token.purpose == purpose.value,
        Token.address_key.in_(address_keys),
        Token.code_digest.in_(code_digests),
        Token.issued_at > db_time(-lifetime),
        _OPEN,
    )


def _one(session: Session, *conditions: sa.ColumnElement[bool]) -> TokenRow | None:
    row = run(
        session,
        sa.select(
            Token.digest,
            Token.purpose,
            Token.account_ref,
            Token.message_id,
            Token.key_id,
            Token.fingerprint,
            Token.expires_at,
            sa.case((_OPEN, 1), else_=0),
        )
        .where(*conditions)
        .limit(1),
    ).one_or_none()
    if row is None:
        return None
    digest, purpose, account_ref, message_id, key_id, fingerprint, expires_at, is_open = row
    return TokenRow(
        digest,
        Purpose(purpose),
        account_ref,
        message_id,
        key_id,
        fingerprint,
        expires_at,
        bool(is_open),
    )


def claim(session: Session, digest: str) -> bool:
    """Consume the token; True for exactly one caller, and only while it is open."""
    statement = sa.update(Token).where(Token.digest == digest, _OPEN).values(consumed_at=db_time())
    return run(session, statement).rowcount == 1


def consume_others(session: Session, *, account_ref: str, purpose: Purpose) -> None:
    """Consume every other open token of the account for this purpose."""
    run(
        session,
        sa.update(Token)
        .where(
            Token.account_ref == account_ref,
            Token.purpose == purpose.value,
            Token.consumed_at.is_(None),
        )
        .values(consumed_at=db_time()),
    )


def mark_opened(session: Session, digest: str) -> None:
    """Note the first time the link was fetched, by a person or by a mail scanner."""
    run(
        session,
        sa.update(Token)
        .where(Token.digest == digest, Token.opened_at.is_(None))
        .values(opened_at=db_time()),
    )


def retire_other_codes(session: Session, message_id: uuid.UUID) -> None:
    """Let only the code of this mail work, the last one accepted; all links stay good."""
    newest = run(
        session,
        sa.select(Token.purpose, Token.account_ref).where(
            Token.message_id == message_id, Token.code_digest.is_not(None)
        ),
    ).one_or_none()
    if newest is None:
        return
    purpose, account_ref = newest
    accepted = sa.select(Message.id).where(
        Message.account_ref == account_ref, Message.status == Status.SENT.value
    )
    run(
        session,
        sa.update(Token)
        .where(
            Token.account_ref == account_ref,
            Token.purpose == purpose,
            Token.message_id != message_id,
            Token.message_id.in_(accepted),
            Token.code_digest.is_not(None),
        )
        .values(code_digest=None),
    )


def close_undelivered(session: Session, message_ids: Sequence[uuid.UUID] | sa.Select[Any]) -> None:
    """Consume the tokens of mail that nobody got, so that no trace of it is worth anything.

    Mail with an attempt whose outcome is unknown may have arrived: its tokens stay.
    """
    arrived = sa.select(Attempt.message_id).where(Attempt.outcome == Outcome.UNKNOWN.value)
    run(
        session,
        sa.update(Token)
        .where(
            Token.message_id.in_(message_ids),
            Token.message_id.not_in(arrived.where(Attempt.message_id == Token.message_id)),
            Token.consumed_at.is_(None),
        )
        .values(consumed_at=db_time()),
    )


def wipe_seeds(session: Session, message_ids: Sequence[uuid.UUID] | sa.Select[Any]) -> None:
    """Make the tokens of these messages underivable: they are in a mail, or will never be."""
    run(
        session,
        sa.update(Token)
        .where(Token.message_id.in_(message_ids), Token.seed.is_not(None))
        .values(seed=None),
    )
