"""Seeds: what the tokens of a message can be derived from again, until it is final."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.tokens import Purpose, Seed
from flask_courier.storage.bulk import Bulk
from flask_courier.storage.dialect import db_time, is_mysql, run
from flask_courier.storage.models import Token


@dataclass(frozen=True)
class SeedRow:
    """What a token can be derived from again, while its message is not final."""

    seed: Seed
    key_id: str


def find_all(session: Session, message_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, SeedRow]:
    """The seeds of the tokens that travel in these messages; wiped ones are left out."""
    statement = sa.select(Token.message_id, Token.purpose, Token.seed, Token.key_id).where(
        Token.message_id.in_(message_ids),
        Token.seed.is_not(None),
    )
    found: dict[uuid.UUID, SeedRow] = {}
    for message_id, name, entropy, key_id in run(session, statement):
        # A "this was not me" link goes along with another; where it is the only one, it is meant.
        if message_id in found and name == Purpose.NOT_ME.value:
            continue
        seed = Seed(Purpose(name), str(message_id), bytes.fromhex(entropy))
        found[message_id] = SeedRow(seed, key_id)
    return found


def renew(
    session: Session, message_ids: Sequence[uuid.UUID], *, purpose: Purpose, lifetime: timedelta
) -> None:
    """Start the lives of these tokens anew: they count from the attempt, not the request."""
    run(
        session,
        sa.update(Token)
        .where(
            Token.message_id.in_(message_ids),
            Token.purpose == purpose.value,
            Token.consumed_at.is_(None),
        )
        .values(issued_at=db_time(), expires_at=db_time(lifetime)),
    )


_WIPE = (
    sa.update(Token)
    .where(
        Token.message_id.in_(sa.bindparam("ids", expanding=True, type_=Token.message_id.type)),
        Token.seed.is_not(None),
    )
    .values(seed=None)
)


#: The same, a row at a time: as fast as each database takes them, and compiled once.
_WIPE_EACH = Bulk(
    {"message_id": Token.message_id},
    lambda row: (
        sa.update(Token)
        .where(Token.message_id == row.message_id, Token.seed.is_not(None))
        .values(seed=None)
    ),
    found_by="message_id",
)


def wipe(session: Session, message_ids: Sequence[uuid.UUID] | sa.Select[Any]) -> None:
    """Make the tokens of these messages underivable: they are in a mail, or will never be."""
    if isinstance(message_ids, sa.Select):
        marked = sa.update(Token).where(Token.message_id.in_(message_ids), Token.seed.is_not(None))
        run(session, marked.values(seed=None))
    elif is_mysql(session.get_bind().dialect):
        run(session, _WIPE, {"ids": list(message_ids)})
    else:
        _WIPE_EACH.run(session, [{"message_id": message_id} for message_id in message_ids])
