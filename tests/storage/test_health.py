"""Whether mail flows is told from the rows, and costs the same however many there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_courier.core.ids import new_id
from flask_courier.core.messages import Lane
from flask_courier.core.replies import Outcome
from flask_courier.core.status import Status
from flask_courier.storage import attempts, dialect, health, transports, workers
from flask_courier.storage.health import HOUR_CAP, STATUS_CAP, Count, Flow, Hour
from flask_courier.storage.models import Message, Worker
from flask_courier.storage.uow import Database, Session
from tests.databases import every_database
from tests.observation import statements
from tests.queue_rows import ago, change, enqueue, result, row
from tests.site import Site

pytestmark = every_database

TRANSPORT = "smtp://a:25"
#: In the middle of an hour.
NOON = datetime.fromisoformat("2030-01-31T12:30:00+00:00")
LAST = 23


def flow(database: Database) -> Flow:
    """Whether mail flows now."""
    return database.transact(lambda session: health.flow(session, TRANSPORT))


def day(database: Database) -> Sequence[Hour]:
    """The hours of the day that ends at ``NOON``."""
    return database.transact(lambda session: health.last_day(session, NOON))


def numbers(hours: Sequence[Hour]) -> dict[int, dict[Outcome, int]]:
    """What is not zero, by the place of the hour."""
    found = {
        place: {outcome: number for outcome, number in hour.outcomes.items() if number}
        for place, hour in enumerate(hours)
    }
    return {place: counted for place, counted in found.items() if counted}


def add_attempts(
    database: Database, asked_at: Sequence[datetime], outcome: Outcome = Outcome.ACCEPTED
) -> None:
    """Store an attempt at once for a message that was asked for at each of these times."""
    tried = [(new_id(at), result(outcome, started_at=at)) for at in asked_at]
    database.transact(lambda session: attempts.add(session, tried, worker="w1"))


# The flow


def test_nothing_is_known_at_first(database: Database) -> None:
    """Without a row nothing is due, no worker was seen and no transport is known."""
    found = flow(database)
    assert (timedelta(0), None, None) == (found.oldest_due, found.silence, found.transport)


def test_now_is_the_databases(database: Database) -> None:
    """The time is the database's own."""
    before = database.transact(dialect.now)
    assert before <= flow(database).now <= database.transact(dialect.now)


@pytest.mark.parametrize("lane", Lane)
def test_oldest_due_of_any_lane(database: Database, lane: Lane) -> None:
    """The message that has been due for longest counts, whichever lane it waits in."""
    for other in Lane:
        enqueue(database, lane=other)
    change(database, enqueue(database, lane=lane), next_attempt_at=ago(minutes=7))
    assert timedelta(minutes=7) <= flow(database).oldest_due < timedelta(minutes=8)


def test_what_is_not_due_has_not_waited(database: Database) -> None:
    """Messages for later, and those that are done, do not wait."""
    enqueue(database, delay=timedelta(hours=1))
    change(database, enqueue(database), status="sent", next_attempt_at=ago(minutes=7))
    assert timedelta(0) == flow(database).oldest_due


def test_silence_of_the_last_worker(database: Database) -> None:
    """The worker that was seen last says for how long there has been silence."""
    for name, minutes in (("a", 9), ("b", 3)):
        database.transact(lambda session, name=name: workers.seen(session, name=name, kind="x"))  # type: ignore[misc]
        moved = sa.update(Worker).where(Worker.name == name).values(seen_at=ago(minutes=minutes))
        database.transact(lambda session, moved=moved: dialect.run(session, moved))  # type: ignore[misc]
    silence = flow(database).silence
    assert silence is not None
    assert timedelta(minutes=3) <= silence < timedelta(minutes=4)


def test_transport_in_use(database: Database) -> None:
    """Of the transports the one in use is told, as it is told alone."""

    def work(session: Session) -> None:
        for name in (TRANSPORT, "smtp://b:25"):
            transports.ok(session, name, create=True)

    database.transact(work)
    alone = database.transact(lambda session: transports.read(session, TRANSPORT))
    assert alone == flow(database).transport


# Counts


def test_messages_by_status(database: Database) -> None:
    """Each status counts the messages that have it."""
    for number, status in enumerate(Status):
        for _ in range(number):
            change(database, enqueue(database), status=status.value)
    counted = database.transact(health.by_status)
    assert {s: Count(n, capped=False) for n, s in enumerate(Status)} == counted


@pytest.mark.parametrize(("more", "capped"), [(0, False), (1, True)])
def test_counts_end_at_their_cap(database: Database, more: int, *, capped: bool) -> None:
    """A status that many messages have is counted up to the cap, and says that there are more."""
    values = dict(row(database, enqueue(database))._mapping) | {"status": "sent"}
    copies = [values | {"id": new_id(NOON)} for _ in range(STATUS_CAP + more)]
    insert = sa.insert(Message)
    database.transact(lambda session: dialect.run(session, insert, copies))
    counted = database.transact(health.by_status)
    assert Count(STATUS_CAP, capped=capped) == counted[Status.SENT]


# The day


def test_day_has_its_hours(database: Database) -> None:
    """There are 24 hours, the last one not over, each with every outcome."""
    hours = day(database)
    begins = [hour.begin for hour in hours]
    last = NOON.replace(minute=0)
    assert [last - timedelta(hours=back) for back in reversed(range(24))] == begins
    assert [dict.fromkeys(Outcome, 0)] * 24 == [dict(hour.outcomes) for hour in hours]


def test_attempts_count_in_the_hour_of_their_message(database: Database) -> None:
    """An attempt counts by its outcome, in the hour in which its message was asked for."""
    add_attempts(database, [NOON, NOON - timedelta(minutes=20)])
    add_attempts(database, [NOON - timedelta(minutes=31)], Outcome.REJECTED)
    add_attempts(database, [NOON - timedelta(hours=23, minutes=29)], Outcome.DEFERRED)
    assert {
        LAST: {Outcome.ACCEPTED: 2},
        LAST - 1: {Outcome.REJECTED: 1},
        0: {Outcome.DEFERRED: 1},
    } == numbers(day(database))


def test_attempts_before_the_day(database: Database) -> None:
    """What is older than the first hour is left out."""
    add_attempts(database, [NOON - timedelta(hours=23, minutes=31)])
    assert {} == numbers(day(database))


def test_every_attempt_of_a_message_counts(database: Database) -> None:
    """A message that was put off and then accepted has two attempts."""
    message_id = new_id(NOON)
    for outcome in (Outcome.DEFERRED, Outcome.ACCEPTED):
        tried = [(message_id, result(outcome, started_at=NOON))]
        database.transact(lambda session, tried=tried: attempts.add(session, tried, worker="w1"))  # type: ignore[misc]
    assert {LAST: {Outcome.DEFERRED: 1, Outcome.ACCEPTED: 1}} == numbers(day(database))


def test_hour_below_the_cap_is_no_sample(database: Database) -> None:
    """As long as all attempts were looked at, each stands for itself."""
    add_attempts(database, [NOON - timedelta(seconds=place) for place in range(HOUR_CAP - 1)])
    hour = day(database)[LAST]
    assert (1.0, False) == (hour.weight, hour.is_sample)


def test_busy_hour_is_a_sample(database: Database) -> None:
    """Of a busy hour the last attempts stand for all: three hundred over half an hour."""
    add_attempts(database, [NOON - timedelta(seconds=6 * place) for place in range(300)])
    hour = day(database)[LAST]
    assert (HOUR_CAP, True) == (hour.outcomes[Outcome.ACCEPTED], hour.is_sample)
    assert 300 == pytest.approx(hour.weight * HOUR_CAP, rel=0.02)


def test_burst_says_nothing_of_the_hour(database: Database) -> None:
    """Where the attempts that were looked at began at once, they stand for themselves alone."""
    add_attempts(database, [NOON] * (HOUR_CAP + 50))
    assert 1.0 == day(database)[LAST].weight


READS: dict[str, Callable[[Session], Any]] = {
    "flow": lambda session: health.flow(session, TRANSPORT),
    "by_status": health.by_status,
    "last_day": lambda session: health.last_day(session, NOON),
}


@pytest.mark.parametrize("name", READS)
def test_one_statement(database: Database, site: Site, name: str) -> None:
    """Each look is one statement."""
    read = READS[name]
    with statements(site) as seen:
        database.transact(read)
    assert 1 == len([text for text in seen if text.startswith("SELECT")])
