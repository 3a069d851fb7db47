"""Leases on messages: taken, renewed, given back, and taken back from workers that are gone."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.ids import nonce
from flask_courier.core.messages import Claim, Lane
from flask_courier.core.status import Status, advance
from flask_courier.storage import transports
from flask_courier.storage.conditions import IS_PROCESSING, IS_QUEUED, claimed_as, held_of
from flask_courier.storage.dialect import db_time, dialect_name, microseconds, run
from flask_courier.storage.models import Message

#: The columns of a ``Claim``.
CLAIMED = (
    Message.id,
    Message.kind,
    Message.recipient,
    Message.account_ref,
    Message.locale,
    Message.context,
    Message.lane,
    Message.attempts,
    Message.claims,
    Message.created_at,
    Message.expires_at,
    Message.prepared_at,
    Message.lease_token,
    Message.message_id_header,
    db_time(),
)
# The table and not the class: SQLAlchemy 2.0 lets a class's RETURNING answer its own columns only.
_TABLE = cast("sa.Table", Message.__table__)
#: Of so many messages one is the oldest that waits for anything, whatever its lane.
_FAIR_SHARE = 4


def claim(
    session: Session,
    *,
    count: int,
    lease: timedelta,
    turn: int = 0,
    urgent: bool = False,
    transport: str | None = None,
    but_not: uuid.UUID | None = None,
) -> list[Claim]:
    """Take up to ``count`` due messages under a lease; account mail before everything else.

    One message in four comes from the back of the house, or a flood of requests would keep the
    application's own mail waiting for ever.

    :param turn: how many messages were claimed before, so that single claims have their share too.
    :param urgent: takes account mail only.
    :param transport: takes nothing while the breaker of this transport is open.
    :param but_not: a message to leave where it is.
    """
    share = min(count, (turn % _FAIR_SHARE + count) // _FAIR_SHARE)
    _need_not_last(session)
    # Not called what columns are called: an UPDATE takes those names for itself.
    values = {"b_lease": microseconds(lease), "b_transport": transport, "b_but_not": but_not}
    values = {name: value for name, value in values.items() if value is not None}

    def lane(lane: Lane, most: int) -> list[Claim]:
        return (
            _claim_lane(session, {**values, "b_lane": int(lane), "b_most": most})
            if most > 0
            else []
        )

    taken = [] if urgent else lane(Lane.NOTICE, share)
    exhausted = urgent or len(taken) < share
    taken += lane(Lane.ACCOUNT, count - len(taken))
    if not exhausted:
        taken += lane(Lane.NOTICE, count - len(taken))
    return sorted(taken, key=lambda one: (one.lane, one.id))


def _need_not_last(session: Session) -> None:
    """Do not wait for the disk: nothing leaves before a later commit, which takes this one along.

    Should the server crash in between, the messages are simply still queued.
    """
    if dialect_name(session) == "postgresql":
        run(session, sa.text("SET LOCAL synchronous_commit TO off"))


def _claim_lane(session: Session, values: dict[str, Any]) -> list[Claim]:
    lease_token = nonce()
    first, *second = _statements(dialect_name(session), frozenset(values))
    claimed = run(session, first, {**values, "b_token": lease_token})
    for statement in second:
        claimed = run(session, statement, {"b_token": lease_token})
    return [Claim(*row) for row in claimed]


# A statement costs more to build than to run.
@lru_cache(32)
def _statements(name: str, given: frozenset[str]) -> tuple[sa.Executable, ...]:
    """What claims, and what then tells the claims where an UPDATE cannot."""
    update = sa.update(Message if name in ("mysql", "mariadb") else _TABLE).values(
        {
            Message.status: advance(Status.QUEUED, Status.PROCESSING).value,
            Message.lease_token: sa.bindparam("b_token"),
            Message.lease_until: db_time(sa.bindparam("b_lease", type_=sa.BigInteger())),
            Message.claims: Message.claims + 1,
        }
    )
    due = _due(given)
    if name == "postgresql":
        # MATERIALIZED: as a plain subquery the planner may run it again and lock other rows.
        rows = due.with_for_update(skip_locked=True, of=Message).cte("due")
        rows = rows.prefix_with("MATERIALIZED")
        return (update.where(Message.id == rows.c.id).returning(*CLAIMED),)
    if name == "sqlite":
        return (update.where(Message.id.in_(due)).returning(*CLAIMED),)
    locked = due.with_for_update(skip_locked=True).subquery("due")
    claimed = sa.select(*CLAIMED).where(Message.lease_token == sa.bindparam("b_token"))
    return update.where(Message.id == locked.c.id), claimed


def _due(given: frozenset[str]) -> sa.Select[Any]:
    conditions: list[sa.ColumnElement[bool]] = []
    if "b_transport" in given:
        conditions.append(~transports.is_open(sa.bindparam("b_transport")))
    if "b_but_not" in given:
        conditions.append(Message.id != sa.bindparam("b_but_not", type_=Message.id.type))
    return (
        sa.select(Message.id)
        .where(
            IS_QUEUED,
            Message.lane == sa.bindparam("b_lane"),
            Message.next_attempt_at <= db_time(),
            Message.expires_at > db_time(),
            *conditions,
        )
        .order_by(Message.next_attempt_at, Message.id)
        .limit(sa.bindparam("b_most", type_=sa.Integer()))
    )


def reclaim_expired_leases(session: Session) -> int:
    """Bring back what a worker that is gone held; answer how many.

    Its lease token stays: until somebody else claims the message, a worker that was merely cut off
    may still write its result down.
    """
    statement = (
        sa.update(Message)
        .where(IS_PROCESSING, Message.lease_until < db_time())
        .values(
            status=advance(Status.PROCESSING, Status.QUEUED).value,
            reason="lease_expired",
            lease_until=None,
            next_attempt_at=db_time(),
        )
    )
    return run(session, statement).rowcount


def retake(session: Session, claims: Sequence[Claim], *, lease: timedelta) -> None:
    """Hold again what lost its lease and nobody else has claimed since."""
    statement = (
        sa.update(Message)
        .where(
            IS_QUEUED,
            Message.reason == "lease_expired",
            claimed_as(claims),
        )
        .values(
            status=advance(Status.QUEUED, Status.PROCESSING).value,
            lease_until=db_time(lease),
        )
    )
    run(session, statement)


def hold(session: Session, claims: Sequence[Claim], *, lease: timedelta) -> list[Claim]:
    """Renew leases, first thing in a transaction; answer which were not lost: write no others."""
    ours = held_of(claims)
    statement = sa.update(Message).where(ours).values(lease_until=db_time(lease))
    if run(session, statement).rowcount == len(claims):
        return [*claims]
    held = run(session, sa.select(Message.id, Message.lease_token).where(ours))
    keys = {(message_id, lease_token) for message_id, lease_token in held}
    return [claim for claim in claims if claim.key in keys]


def give_back(
    session: Session, claims: Collection[Claim], *, delay: timedelta | None = None
) -> None:
    """Put claims back as they were before: nothing was tried.

    :param delay: when they are due again; None for at once.
    """
    if not claims:
        return
    values: dict[str, Any] = {
        "status": advance(Status.PROCESSING, Status.QUEUED).value,
        "claims": Message.claims - 1,
        "lease_token": None,
        "lease_until": None,
    }
    if delay is not None:
        values["next_attempt_at"] = db_time(delay)
    run(session, sa.update(Message).where(held_of(claims)).values(values))
