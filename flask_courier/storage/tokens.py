"""Token rows: minted by a worker, looked up and claimed by digest."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.orm import Session, aliased

from flask_courier.core.replies import Outcome
from flask_courier.core.status import Status
from flask_courier.core.tokens import Ending, Key, Purpose, Seed
from flask_courier.storage.bulk import Bulk
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
    address_key: str
    #: Why it was consumed, or None.
    ended_as: Ending | None
    #: Unused and unexpired, by the database's clock.
    open: bool


#: A condition: unused and unexpired, by the database's clock.
OPEN = sa.and_(Token.consumed_at.is_(None), Token.expires_at > db_time())


def is_open_for(message_id: Any, *conditions: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """A condition: the message in column ``message_id`` has an open token."""
    return sa.exists().where(Token.message_id == message_id, OPEN, *conditions)


def has_fingerprint(fingerprints: Sequence[str]) -> sa.ColumnElement[bool]:
    """A condition: the token was minted for an account in the state of these fingerprints."""
    return Token.fingerprint.in_(fingerprints)


class NewToken(NamedTuple):
    """A token before it is stored."""

    key: Key
    seed: Seed
    message_id: uuid.UUID
    account_ref: str
    address_key: str
    code_digest: str | None
    fingerprint: str
    lifetime: timedelta
    #: False for a token that is handed over at once and never sent, and for one that travels beside
    #: another, which has the same seed.
    keep_seed: bool = True
    #: Where it has been derived from the seed already.
    token_id: bytes | None = None

    def __repr__(self) -> str:
        return f"NewToken({self.seed.purpose} of {self.message_id})"


def add(session: Session, tokens: Sequence[NewToken]) -> None:
    """Store tokens by their digests."""
    for lifetime in {token.lifetime for token in tokens}:
        rows = [_row(token) for token in tokens if token.lifetime == lifetime]
        _insert(lifetime).run(session, rows)


_NAMES = "digest purpose account_ref address_key code_digest message_id seed key_id fingerprint"
_COLUMNS = {name: getattr(Token, name) for name in _NAMES.split()}


# A lifetime or two for each application; the statement costs more to build than to run.
@lru_cache(16)
def _insert(lifetime: timedelta) -> Bulk:
    def build(row: Any) -> sa.Insert:
        values = [getattr(row, name) for name in _COLUMNS]
        times = (db_time(), db_time(lifetime))
        return sa.insert(Token).from_select(
            [*_COLUMNS, "issued_at", "expires_at"], sa.select(*values, *times)
        )

    return Bulk(_COLUMNS, build)


def _row(token: NewToken) -> dict[str, Any]:
    key, seed = token.key, token.seed
    return {
        "digest": key.digest(token.token_id or key.token_id(seed)),
        "purpose": seed.purpose.value,
        "account_ref": token.account_ref,
        "address_key": token.address_key,
        "code_digest": token.code_digest,
        "message_id": token.message_id,
        "seed": seed.entropy.hex() if token.keep_seed else None,
        "key_id": key.id,
        "fingerprint": token.fingerprint,
    }


def drop(session: Session, message_ids: Sequence[uuid.UUID]) -> None:
    """Forget the tokens of messages that are prepared again."""
    run(session, sa.delete(Token).where(Token.message_id.in_(message_ids)))


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
    """The open token whose code this is, issued within ``lifetime``; one SELECT.

    Of accepted mails of an account only the last one's code works; all links stay good. That is
    asked here, where few come, and not written down with every mail that goes out.
    """
    return _one(
        session,
        Token.purpose == purpose.value,
        Token.address_key.in_(address_keys),
        Token.code_digest.in_(code_digests),
        Token.issued_at > db_time(-lifetime),
        OPEN,
        ~_has_successor(),
    )


def _has_successor() -> sa.ColumnElement[bool]:
    """A condition: the token's mail was accepted, and a later one with a code after it.

    Mail that nobody has accepted yet may be the one that arrives: its code works. Later is what the
    database's clock says; should that be set back, the older code works, and every link still does.
    """
    later, accepted, its_own = aliased(Token), aliased(Message), aliased(Message)
    after = sa.or_(
        accepted.sent_at > its_own.sent_at,
        # Of two that were accepted together, the younger request is the last one.
        sa.and_(accepted.sent_at == its_own.sent_at, accepted.id > its_own.id),
    )
    return (
        sa.exists()
        .where(
            later.account_ref == Token.account_ref,
            later.purpose == Token.purpose,
            later.message_id != Token.message_id,
            later.code_digest.is_not(None),
            accepted.id == later.message_id,
            accepted.status == Status.SENT.value,
            its_own.id == Token.message_id,
            its_own.status == Status.SENT.value,
            after,
        )
        .correlate(Token)
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
            Token.address_key,
            Token.ended_as,
            sa.case((OPEN, 1), else_=0),
        )
        .where(*conditions)
        .limit(1),
    ).one_or_none()
    if row is None:
        return None
    digest, purpose, account_ref, message_id, key_id, fingerprint, expires_at, *rest = row
    address_key, ended_as, is_open = rest
    known = (digest, Purpose(purpose), account_ref, message_id, key_id, fingerprint, expires_at)
    ending = None if ended_as is None else Ending(ended_as)
    return TokenRow(*known, address_key, ending, bool(is_open))


def claim(session: Session, digest: str) -> bool:
    """Consume the token; True for exactly one caller, and only while it is open."""
    statement = sa.update(Token).where(Token.digest == digest, OPEN).values(_ended(Ending.USED))
    return run(session, statement).rowcount == 1


def end(
    session: Session,
    *,
    account_ref: str,
    purposes: Collection[Purpose],
    ending: Ending,
    after: uuid.UUID | None = None,
) -> None:
    """Consume every open token of the account for these purposes.

    :param after: only those of messages that were queued after this one.
    """
    conditions = [] if after is None else [Token.message_id > after]
    run(
        session,
        sa.update(Token)
        .where(
            Token.account_ref == account_ref,
            Token.purpose.in_([purpose.value for purpose in purposes]),
            Token.consumed_at.is_(None),
            *conditions,
        )
        .values(_ended(ending)),
    )


def messages_of_used(
    session: Session, *, account_ref: str, purpose: Purpose, since: datetime
) -> list[uuid.UUID]:
    """The messages whose tokens the account's owner has used for this purpose since then."""
    statement = sa.select(Token.message_id).where(
        Token.account_ref == account_ref,
        Token.purpose == purpose.value,
        Token.ended_as == Ending.USED.value,
        Token.consumed_at >= since,
    )
    return [row[0] for row in run(session, statement)]


def _ended(ending: Ending) -> dict[str, Any]:
    return {"consumed_at": db_time(), "ended_as": ending.value}


def mark_opened(session: Session, digest: str) -> None:
    """Note the first time the link was fetched, by a person or by a mail scanner."""
    run(
        session,
        sa.update(Token)
        .where(Token.digest == digest, Token.opened_at.is_(None))
        .values(opened_at=db_time()),
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
        .values(_ended(Ending.UNDELIVERED)),
    )
