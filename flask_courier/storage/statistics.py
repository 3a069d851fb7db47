"""Figures of the queue for whoever runs it: what there is, what waits, what came of it lately.

Reads only. Counting goes over a whole index or table: for a person or a monitor that asks once a
minute, not for every request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from flask_courier.core.messages import Lane
from flask_courier.core.replies import Outcome
from flask_courier.core.status import Status
from flask_courier.storage import log, transports
from flask_courier.storage.conditions import IS_QUEUED
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Attempt, Message, Worker
from flask_courier.storage.transports import TransportRow
from flask_courier.storage.uow import Conflict, Database

#: Spans of time over which outcomes are counted.
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@dataclass(frozen=True)
class WorkerSeen:
    """A worker, and for how long it has been silent."""

    name: str
    kind: str
    seen_at: datetime
    silent: timedelta


@dataclass(frozen=True)
class Statistics:
    """The queue at one moment."""

    #: Every status, also those that no message has.
    messages: Mapping[Status, int]
    #: Queued messages by lane, due or not.
    waiting: Mapping[Lane, int]
    #: For how long the oldest due message has waited; zero if none is due.
    oldest_due: timedelta
    #: Attempts by what they came to.
    last_hour: Mapping[Outcome, int]
    last_day: Mapping[Outcome, int]
    transports: Sequence[TransportRow]
    workers: Sequence[WorkerSeen]


def read(session: Session) -> Statistics:
    """Everything there is to know, in one look."""
    return Statistics(
        messages=_by_status(session),
        waiting=_by_lane(session),
        oldest_due=log.oldest_due_age(session),
        last_hour=outcomes(session, within=HOUR),
        last_day=outcomes(session, within=DAY),
        transports=transports.all_rows(session),
        workers=all_workers(session),
    )


def due(session: Session, *, at_most: int = 100_000) -> int:
    """How many queued messages are due now, counted up to ``at_most``."""
    found = (
        sa.select(sa.literal(1))
        .where(
            IS_QUEUED,
            # Each lane is a range of the claim index.
            Message.lane.in_([int(lane) for lane in Lane]),
            Message.next_attempt_at <= db_time(),
        )
        .limit(at_most)
        .subquery()
    )
    count: int = run(session, sa.select(sa.func.count()).select_from(found)).scalar_one()
    return count


def due_now(database: Database) -> int | None:
    """The same in a transaction of its own; None while the database cannot be asked."""
    try:
        return database.transact(due)
    except (SQLAlchemyError, Conflict):
        return None


def outcomes(session: Session, *, within: timedelta) -> dict[Outcome, int]:
    """How many attempts of the last ``within`` came to what."""
    statement = (
        sa.select(Attempt.outcome, sa.func.count())
        .where(Attempt.started_at > db_time(-within))
        .group_by(Attempt.outcome)
    )
    counted: dict[str, int] = dict(row for row in run(session, statement))
    return {outcome: counted.get(outcome.value, 0) for outcome in Outcome}


def _by_status(session: Session) -> dict[Status, int]:
    statement = sa.select(Message.status, sa.func.count()).group_by(Message.status)
    counted: dict[str, int] = dict(row for row in run(session, statement))
    return {status: counted.get(status.value, 0) for status in Status}


def _by_lane(session: Session) -> dict[Lane, int]:
    statement = sa.select(Message.lane, sa.func.count()).where(IS_QUEUED).group_by(Message.lane)
    counted: dict[int, int] = dict(row for row in run(session, statement))
    return {lane: counted.get(int(lane), 0) for lane in Lane}


def all_workers(session: Session) -> list[WorkerSeen]:
    """Those that were seen lately, the last one first."""
    statement = sa.select(Worker.name, Worker.kind, Worker.seen_at, db_time()).order_by(
        Worker.seen_at.desc(), Worker.name
    )
    return [
        WorkerSeen(name, kind, seen_at, max(timedelta(0), now - seen_at))
        for name, kind, seen_at, now in run(session, statement)
    ]
