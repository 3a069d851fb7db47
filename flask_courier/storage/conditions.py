"""Conditions that the partial indexes of the queue serve."""

from __future__ import annotations

from collections.abc import Collection

import sqlalchemy as sa

from flask_courier.core.messages import Claim
from flask_courier.storage.models import Message

# Literals and not parameters: a partial index serves only a query that names its condition.
IS_QUEUED = Message.status == sa.literal_column("'queued'")
IS_PROCESSING = Message.status == sa.literal_column("'processing'")


def held_of(claims: Collection[Claim]) -> tuple[sa.ColumnElement[bool], ...]:
    """The messages of ``claims`` whose leases have not changed hands."""
    return (
        Message.lease_token.in_(sorted({claim.lease_token for claim in claims})),
        Message.id.in_([claim.id for claim in claims]),
        IS_PROCESSING,
    )


def held(claim: Claim) -> tuple[sa.ColumnElement[bool], ...]:
    """The message of ``claim``, as long as its lease has not changed hands."""
    return (
        Message.id == claim.id,
        Message.lease_token == claim.lease_token,
        IS_PROCESSING,
    )
