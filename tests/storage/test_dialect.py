"""The database's clock and our types, the same on every database and in every time zone."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import StatementError

from flask_courier.storage import dialect
from flask_courier.storage.dialect import UUID, UtcDateTime, db_time, insert_if_absent, run
from flask_courier.storage.models import Message, Worker
from flask_courier.storage.uow import Database, Session
from tests.databases import every_database
from tests.queue_rows import change, enqueue, row, rows

pytestmark = every_database

MOMENT = datetime(2026, 9, 27, 12, 34, 56, 789012, tzinfo=timezone.utc)
SECOND = timedelta(seconds=1)
#: How a session's time zone is set, where it has one.
ZONES = {
    "postgresql": "SET TIME ZONE 'Asia/Kathmandu'",
    "mysql": "SET time_zone = '+05:45'",
}


def in_another_zone(session: Session) -> None:
    """Put the session into a time zone that is 5:45 hours from UTC."""
    statement = ZONES.get(session.connection().dialect.name)
    if statement is not None:
        session.execute(sa.text(statement))


def out_of_it(session: Session) -> None:
    """Put the session back into UTC before its connection serves somebody else."""
    spoken = session.connection().dialect
    if spoken.name in ZONES:
        is_mysql = dialect.is_mysql(spoken)
        session.execute(sa.text("SET time_zone = SYSTEM" if is_mysql else "SET TIME ZONE 'UTC'"))


def test_clock_is_utc_in_every_session(database: Database) -> None:
    """The database's time is this moment in UTC, whatever the session's time zone."""

    def work(session: Session) -> datetime:
        in_another_zone(session)
        try:
            return dialect.now(session)
        finally:
            out_of_it(session)

    moment = database.transact(work)
    assert timezone.utc == moment.tzinfo
    assert abs(moment - datetime.now(timezone.utc)) < timedelta(seconds=30)


def test_rows_are_utc_in_every_session(database: Database) -> None:
    """What is written and read in a session of another time zone is the same moment."""
    message_id = enqueue(database)

    def work(session: Session) -> list[datetime]:
        in_another_zone(session)
        try:
            written = sa.update(Message).values(sent_at=MOMENT, prepared_at=db_time())
            run(session, written)
            return list(run(session, sa.select(Message.sent_at, Message.prepared_at)).one())
        finally:
            out_of_it(session)

    inside = database.transact(work)
    outside = row(database, message_id)
    assert [MOMENT, inside[1]] == inside
    assert (MOMENT, inside[1]) == (outside.sent_at, outside.prepared_at)
    assert abs(inside[1] - datetime.now(timezone.utc)) < timedelta(seconds=30)


@pytest.mark.parametrize(
    "offset",
    [
        timedelta(0),
        timedelta(milliseconds=1),
        timedelta(milliseconds=-1),
        timedelta(seconds=59, milliseconds=999),
        timedelta(minutes=30),
        timedelta(minutes=-30),
        timedelta(days=90),
        timedelta(days=-36500),
    ],
    ids=str,
)
def test_offset_from_now(database: Database, offset: timedelta) -> None:
    """An offset, ahead or back, is added to the database's time."""
    statement = sa.select(db_time(), db_time(offset))
    base, moved = database.transact(lambda session: run(session, statement).one())
    # PostgreSQL's clock goes on between the two columns.
    assert timedelta(0) <= moved - base - offset < timedelta(seconds=2)


def test_offsets_compare_in_sql(database: Database) -> None:
    """A moment before now is less than now, and a moment after is greater."""
    statement = sa.select(
        sa.case((db_time(-SECOND) < db_time(), 1), else_=0),
        sa.case((db_time() < db_time(SECOND), 1), else_=0),
        sa.case((db_time(SECOND) < db_time(-SECOND), 1), else_=0),
    )
    assert (1, 1, 0) == tuple(database.transact(lambda session: run(session, statement).one()))


@pytest.mark.parametrize("microsecond", [0, 1, 999, 1000, 789012, 999999])
def test_microseconds_are_kept(database: Database, microsecond: int) -> None:
    """A time comes back as it was stored, to the microsecond, aware and in UTC."""
    moment, message_id = MOMENT.replace(microsecond=microsecond), enqueue(database)
    change(database, message_id, sent_at=moment)
    kept = row(database, message_id).sent_at
    assert (moment, timezone.utc) == (kept, kept.tzinfo)


def test_clock_has_a_fraction(database: Database, database_name: str) -> None:
    """The database's clock tells microseconds, on SQLite milliseconds."""
    step = 1000 if database_name == "sqlite" else 1
    moments = [database.transact(dialect.now).microsecond for _ in range(20)]
    assert {0} == {moment % step for moment in moments}
    assert any(moment % 1000 if step == 1 else moment for moment in moments)


def test_stored_and_computed_times_compare(database: Database) -> None:
    """A time that Python wrote compares with the clock of the database."""
    before, after = (enqueue(database) for _ in range(2))
    now = database.transact(dialect.now)
    change(database, before, next_attempt_at=now - SECOND)
    change(database, after, next_attempt_at=now + timedelta(hours=1))
    statement = sa.select(Message.id).where(Message.next_attempt_at <= db_time())
    assert [(before,)] == database.transact(lambda session: list(run(session, statement)))


def test_times_of_another_zone_are_stored_as_utc(database: Database) -> None:
    """An aware time of any zone is the moment it is."""
    message_id = enqueue(database)
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=-9, minutes=-30)))
    change(database, message_id, sent_at=elsewhere)
    assert MOMENT == row(database, message_id).sent_at


def test_naive_time_is_refused(database: Database) -> None:
    """A time without a zone is an error: nobody knows which moment it is."""
    message_id = enqueue(database)
    with pytest.raises(StatementError) as caught:
        change(database, message_id, sent_at=MOMENT.replace(tzinfo=None))
    expected = "a naive datetime has no place in the queue; pass an aware one"
    assert expected == str(caught.value.orig)


def test_null_stays_null(database: Database) -> None:
    """No time is stored as no time."""
    message_id = enqueue(database)
    change(database, message_id, sent_at=None)
    assert row(database, message_id).sent_at is None


def test_ids_sort_as_they_are(database: Database) -> None:
    """The database orders ids as Python does."""
    numbers = [1, 2**64, 2**127, 0xA << 120, 0x9 << 120]
    for number in numbers:
        change(database, enqueue(database), id=uuid.UUID(int=number))
    statement = sa.select(Message.id).order_by(Message.id)
    found = database.transact(lambda session: [value[0] for value in run(session, statement)])
    assert sorted(uuid.UUID(int=number) for number in numbers) == found


def test_row_that_is_there_stays(database: Database) -> None:
    """``insert_if_absent`` inserts once and never changes what is there."""
    for kind in ("thread", "external"):
        values = {"name": "w", "kind": kind, "seen_at": MOMENT}
        database.transact(lambda s, v=values: insert_if_absent(s, Worker, v))  # type: ignore[misc]
    assert [("w", "thread", MOMENT)] == rows(database, Worker.name, Worker.kind, Worker.seen_at)


def test_mysql_is_known(engine: sa.Engine, database_name: str) -> None:
    """``is_mysql`` tells MySQL and MariaDB from the others."""
    assert (database_name == "mysql") is dialect.is_mysql(engine.dialect)


def test_types_compile_natively(database: Database, database_name: str) -> None:
    """Columns have the type that keeps microseconds, and a UUID where that is a type."""
    native = {
        "sqlite": ("DATETIME", "CHAR(32)"),
        "postgresql": ("TIMESTAMP WITH TIME ZONE", "UUID"),
        "mysql": ("DATETIME(6)", "CHAR(32)"),
    }

    def work(session: Session) -> tuple[str, str]:
        spoken = session.connection().dialect
        return UtcDateTime().compile(spoken), UUID.compile(spoken)

    assert native[database_name] == database.transact(work)
