"""Whether mail flows, for pages: bounded reads, which cost the same however much the log holds.

Every count has a cap, and every look an index. ``storage.statistics`` counts the whole of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from functools import cache
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.ids import first_id
from flask_courier.core.messages import Lane
from flask_courier.core.replies import Outcome
from flask_courier.core.search_states import LATE, NEWS
from flask_courier.core.status import Status
from flask_courier.storage.conditions import IS_PROCESSING, IS_QUEUED
from flask_courier.storage.dialect import UUID, UtcDateTime, db_time, run
from flask_courier.storage.models import Attempt, Message, Transport, Worker
from flask_courier.storage.transports import TransportRow

#: Messages of one status are counted up to here.
STATUS_CAP = 1_000
#: As many attempts of each hour are looked at.
HOUR_CAP = 100
HOURS = 24

_HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Flow:
    """What tells whether mail flows at all."""

    #: The database's time.
    now: datetime
    #: For how long the oldest due message has waited; zero if none is due.
    oldest_due: timedelta
    #: For how long no worker has been seen; None if none is known.
    silence: timedelta | None
    #: What is known of the transport that is in use; None if nothing is yet.
    transport: TransportRow | None


@dataclass(frozen=True)
class Count:
    """How many there are, counted up to a cap."""

    number: int
    #: Whether there are more.
    capped: bool


@dataclass(frozen=True)
class Hour:
    """What the attempts of the mail that was asked for in one hour came to."""

    begin: datetime
    #: Those that were looked at.
    outcomes: Mapping[Outcome, int]
    #: How many each of them stands for: 1.0 if all were looked at.
    weight: float

    @property
    def is_sample(self) -> bool:
        """Whether there were more than were looked at."""
        return self.weight != 1.0


def flow(session: Session, transport: str) -> Flow:
    """Whether mail flows; one statement, so that every page can ask.

    :param transport: the name of the one in use.
    """
    lanes = len(Lane)
    found: Sequence[Any] = run(session, _flow(), {"transport": transport}).one()
    now, last_seen = found[0], found[1]
    due = [moment for moment in found[2 : 2 + lanes] if moment is not None]
    known = found[2 + lanes :]
    return Flow(
        now=now,
        oldest_due=max(timedelta(0), now - min(due)) if due else timedelta(0),
        silence=None if last_seen is None else max(timedelta(0), now - last_seen),
        transport=None if known[0] is None else TransportRow(*known),
    )


@cache
def _flow() -> sa.Executable:
    row = cast("sa.Table", Transport.__table__)
    columns = [row.c[column.name] for column in fields(TransportRow)]
    one: sa.ColumnClause[int] = sa.literal_column("1", sa.Integer())
    anchor = sa.select(one).subquery("anchor")
    seen = sa.select(sa.func.max(Worker.seen_at)).scalar_subquery()
    lanes = [_earliest(lane) for lane in Lane]
    return sa.select(db_time(), seen, *lanes, *columns).select_from(
        sa.outerjoin(anchor, row, row.c.name == sa.bindparam("transport"))
    )


def _earliest(lane: Lane) -> sa.ScalarSelect[Any]:
    """When the lane's first message is due: the first of its entries in the claim index."""
    return (
        sa.select(Message.next_attempt_at)
        .where(IS_QUEUED, Message.lane == sa.literal_column(str(int(lane))))
        .order_by(Message.next_attempt_at)
        .limit(1)
        .scalar_subquery()
    )


def by_status(session: Session) -> dict[Status, Count]:
    """How many messages have which status, every status counted up to ``STATUS_CAP``."""
    found: Sequence[int] = run(session, _counts()).one()
    return {
        status: Count(min(number, STATUS_CAP), number > STATUS_CAP)
        for status, number in zip(Status, found, strict=True)
    }


def attention(session: Session, now: datetime) -> Count:
    """How many messages somebody should look at: ``status:attention`` in a search."""
    moments = {"late": now - LATE, "news": first_id(now - NEWS)}
    number = sum(run(session, _attention(), moments).one())
    return Count(min(number, STATUS_CAP), number > STATUS_CAP)


@cache
def _counts() -> sa.Executable:
    return sa.select(*(_capped(Message.status == status.value) for status in Status))


@cache
def _attention() -> sa.Executable:
    late = sa.bindparam("late", type_=UtcDateTime())
    news = sa.bindparam("news", type_=UUID)
    lanes = [Message.lane == sa.literal_column(str(int(lane))) for lane in Lane]
    return sa.select(
        *(_capped(IS_QUEUED, lane, Message.next_attempt_at < late) for lane in lanes),
        _capped(IS_PROCESSING, Message.lease_until < late),
        *(
            _capped(Message.status == status.value, Message.id >= news)
            for status in (Status.ABANDONED, Status.HELD)
        ),
    )


def _capped(*conditions: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    some = sa.select(Message.id).where(*conditions).limit(STATUS_CAP + 1).subquery()
    return sa.select(sa.func.count()).select_from(some).scalar_subquery()


def last_day(session: Session, now: datetime) -> list[Hour]:
    """What attempts came to, by the hour in which their mail was asked for; oldest first, in UTC.

    The last hour is not over. Of each hour only the ``HOUR_CAP`` last attempts are looked at, which
    say how many there were by how close they are to each other: an index on when an attempt was
    made would cost every delivery, and counting a busy day would cost this page seconds.

    :param now: the database's time.
    """
    last = now.replace(minute=0, second=0, microsecond=0)
    begins = [last - _HOUR * back for back in reversed(range(HOURS))]
    edges = [*begins, last + _HOUR]
    ids = {_edge(place): first_id(edge) for place, edge in enumerate(edges)}
    outcomes = [dict.fromkeys(Outcome, 0) for _ in begins]
    earliest = [now] * HOURS
    found: Sequence[tuple[int, str, int, datetime]] = run(session, _samples(), ids).all()
    for place, outcome, number, first in found:
        outcomes[place][Outcome(outcome)] = number
        earliest[place] = min(earliest[place], first)
    return [
        Hour(begin, counted, _weight(sum(counted.values()), begin, first, min(now, begin + _HOUR)))
        for begin, counted, first in zip(begins, outcomes, earliest, strict=True)
    ]


@cache
def _samples() -> sa.Executable:
    """Counts the samples of all hours; made once, for that costs more than to run it."""
    found = sa.union_all(*(_sample(place) for place in range(HOURS))).subquery()
    begun = cast("sa.ColumnElement[datetime]", found.c.started_at)
    return sa.select(found.c.place, found.c.outcome, sa.func.count(), sa.func.min(begun)).group_by(
        found.c.place, found.c.outcome
    )


def _sample(place: int) -> Any:
    """The last attempts of the messages of one hour: a range of the primary key, from its end."""
    some = (
        sa.select(
            sa.literal_column(str(place), sa.Integer()).label("place"),
            Attempt.outcome,
            Attempt.started_at,
        )
        .where(
            Attempt.message_id >= sa.bindparam(_edge(place), type_=UUID),
            Attempt.message_id < sa.bindparam(_edge(place + 1), type_=UUID),
        )
        .order_by(Attempt.message_id.desc(), Attempt.number.desc())
        .limit(sa.literal_column(str(HOUR_CAP), sa.Integer()))
        .subquery()
    )
    return sa.select(some)


def _edge(place: int) -> str:
    """What the first id of an hour is called among the parameters."""
    return f"edge_{place}"


def _weight(number: int, begin: datetime, first: datetime, end: datetime) -> float:
    """How many attempts each of ``number`` stands for, which reach from ``first`` to ``end``."""
    if number < HOUR_CAP:
        return 1.0
    spanned = (end - first).total_seconds()
    # A burst within one second, or retries after the hour: nothing can be said of the others.
    return max(1.0, (end - begin).total_seconds() / spanned) if spanned >= 1 else 1.0
