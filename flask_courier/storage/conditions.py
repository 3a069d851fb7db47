"""Conditions that the partial indexes of the queue serve."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

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


def is_held_as(row: Any) -> tuple[sa.ColumnElement[bool], ...]:
    """The message ``row.id``, as long as it is held under ``row.lease_token``.

    Written so that it is found by its id and by nothing else: an index of what is leased is full of
    what no longer is, and PostgreSQL takes it for short.
    """
    return (
        Message.id == row.id,
        Message.lease_token.is_not_distinct_from(row.lease_token),
        Message.lease_until.is_not(None),
    )
