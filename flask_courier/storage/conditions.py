"""Which messages wait, and which are held: conditions that more than one module asks for."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from flask_courier.core.messages import Claim
from flask_courier.storage.models import Message

# Literals and not parameters: a partial index serves only a query that names its condition.
IS_QUEUED = Message.status == sa.literal_column("'queued'")
IS_PROCESSING = Message.status == sa.literal_column("'processing'")


def held_of(claims: Collection[Claim]) -> sa.ColumnElement[bool]:
    """The messages of ``claims`` whose leases have not changed hands."""
    return sa.and_(claimed_as(claims), Message.lease_until.is_not(None))


def claimed_as(claims: Collection[Claim]) -> sa.ColumnElement[bool]:
    """The messages of ``claims`` that nobody has claimed since, whether their leases last or not.

    A worker that was suspended may have two claims of one message in hand: each counts for its own
    lease alone.
    """
    by_lease: dict[str, list[uuid.UUID]] = {}
    for claim in claims:
        by_lease.setdefault(claim.lease_token, []).append(claim.id)
    return sa.or_(
        sa.false(),
        *(
            sa.and_(Message.id.in_(ids), _has_lease(token))
            for token, ids in sorted(by_lease.items())
        ),
    )


def is_held_as(row: Any) -> sa.ColumnElement[bool]:
    """The message ``row.id``, as long as it is held under ``row.lease_token``."""
    return sa.and_(
        Message.id == row.id, _has_lease(row.lease_token), Message.lease_until.is_not(None)
    )


# Here "=" is written as IS NOT DISTINCT FROM, and "status = 'processing'" as "lease_until IS NOT
# NULL", which is the same: no index serves them. PostgreSQL would prefer those of leased messages
# to the primary key, since they look short; until the vacuum comes, what was leased fills them.
def _has_lease(token: Any) -> sa.ColumnElement[bool]:
    return Message.lease_token.is_not_distinct_from(token)
