"""The figures of the queue are those of its rows."""

from __future__ import annotations

from datetime import timedelta

import pytest
import sqlalchemy as sa

from flask_courier.core.messages import Lane
from flask_courier.core.replies import Outcome
from flask_courier.core.status import Status
from flask_courier.storage import attempts, dialect, statistics, transports, workers
from flask_courier.storage.models import Attempt, Worker
from flask_courier.storage.statistics import Statistics
from flask_courier.storage.uow import Database
from tests.databases import every_database
from tests.queue_rows import ago, change, enqueue, result

pytestmark = every_database


def read(database: Database) -> Statistics:
    """The figures now."""
    return database.transact(statistics.read)


def test_empty_queue(database: Database) -> None:
    """Without a row every figure is zero, and every status and outcome has its figure."""
    found = read(database)
    assert dict.fromkeys(Status, 0) == found.messages
    assert dict.fromkeys(Lane, 0) == found.waiting
    assert dict.fromkeys(Outcome, 0) == found.last_hour == found.last_day
    assert (timedelta(0), [], []) == (found.oldest_due, found.transports, found.workers)


def test_messages_by_status(database: Database) -> None:
    """Each status counts the messages that have it."""
    for count, status in enumerate(Status):
        for _ in range(count):
            change(database, enqueue(database), status=status.value)
    assert {status: count for count, status in enumerate(Status)} == read(database).messages


def test_waiting_by_lane(database: Database) -> None:
    """A lane counts what is queued in it, due or not, and nothing else."""
    enqueue(database)
    enqueue(database, lane=Lane.NOTICE)
    enqueue(database, lane=Lane.NOTICE, delay=timedelta(hours=1))
    change(database, enqueue(database), status="sent")
    assert {Lane.ACCOUNT: 1, Lane.NOTICE: 2} == read(database).waiting


def test_oldest_due(database: Database) -> None:
    """The age is that of the message that has been due for longest."""
    change(database, enqueue(database), next_attempt_at=ago(minutes=10))
    enqueue(database)
    age = read(database).oldest_due
    assert timedelta(minutes=10) <= age < timedelta(minutes=11)


def test_outcomes_of_a_span(database: Database) -> None:
    """An attempt counts in the hour and the day that it was made in."""
    for outcome, before in (
        (Outcome.ACCEPTED, ago(minutes=5)),
        (Outcome.ACCEPTED, ago(minutes=90)),
        (Outcome.REJECTED, ago(hours=25)),
    ):
        message_id = enqueue(database)
        one = [(message_id, result(outcome))]
        database.transact(lambda session, one=one: attempts.add(session, one, worker="w1"))  # type: ignore[misc]
        moved = sa.update(Attempt).where(Attempt.message_id == message_id)
        statement = moved.values(started_at=before)
        database.transact(lambda session, this=statement: dialect.run(session, this))  # type: ignore[misc]
    found = read(database)
    assert (1, 2) == (found.last_hour[Outcome.ACCEPTED], found.last_day[Outcome.ACCEPTED])
    assert (0, 0) == (found.last_hour[Outcome.REJECTED], found.last_day[Outcome.REJECTED])


def test_transports_are_told(database: Database) -> None:
    """Every transport's row is there, and what its breaker says."""
    database.transact(lambda session: transports.ok(session, "smtp://a:25", create=True))
    [found] = read(database).transports
    assert ("smtp://a:25", False) == (found.name, found.is_open)


def test_workers_are_told_with_their_silence(database: Database) -> None:
    """Workers come in the order they were last seen, with how long that is ago."""
    for name in ("old", "new"):
        database.transact(lambda session, name=name: workers.seen(session, name=name, kind="once"))  # type: ignore[misc]
    moved = sa.update(Worker).where(Worker.name == "old").values(seen_at=ago(minutes=3))
    database.transact(lambda session: dialect.run(session, moved))
    new, old = read(database).workers
    assert ("new", "old", "once") == (new.name, old.name, old.kind)
    assert timedelta(minutes=3) <= old.silent < timedelta(minutes=4)


def test_due_counts_what_a_worker_could_take(database: Database) -> None:
    """Due is what is queued and its time has come."""
    enqueue(database)
    enqueue(database, lane=Lane.NOTICE)
    enqueue(database, delay=timedelta(hours=1))
    change(database, enqueue(database), status="processing")
    assert 2 == database.transact(statistics.due) == statistics.due_now(database)


@pytest.mark.parametrize(("at_most", "counted"), [(2, 2), (3, 3), (4, 3)])
def test_due_is_counted_up_to_a_bound(database: Database, at_most: int, counted: int) -> None:
    """A long queue is not counted to its end."""
    for _ in range(3):
        enqueue(database)
    assert counted == database.transact(lambda session: statistics.due(session, at_most=at_most))
