"""What all workers know of a transport: its breaker, and who probes."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_courier.core.replies import TRANSPORT_OUTCOMES, Outcome
from flask_courier.storage import transports
from flask_courier.storage.dialect import db_time, now, run
from flask_courier.storage.models import Message, Transport
from flask_courier.storage.transports import TransportRow
from flask_courier.storage.uow import Conflict, Database, Session
from tests.databases import every_database
from tests.queue_rows import at_once, enqueue, row

NAME = "smtp://mail.example:587"
OTHER = "smtps://mail.example:465"
MESSAGE = uuid.UUID(int=1)
STRAGGLER = uuid.UUID(int=2)
LEASE = timedelta(seconds=60)
DAY = timedelta(days=1)


def minutes(faults: int) -> timedelta:
    """As many minutes as faults."""
    return timedelta(minutes=faults)


def fault(database: Database, name: str = NAME, **changes: Any) -> int:
    """Note a fault in a transaction of its own; as many minutes to the next probe as faults."""
    values: dict[str, Any] = {
        "outcome": Outcome.TRANSPORT_FAULT,
        "cause": "refused",
        "reason": "nobody listens",
        "error": "[Errno 111] Connection refused",
        "message_id": MESSAGE,
        "wait": minutes,
    }
    return database.transact(lambda session: transports.fault(session, name, **(values | changes)))


def ok(database: Database, name: str = NAME, *, create: bool = False) -> None:
    """Note that a message got through."""
    database.transact(lambda session: transports.ok(session, name, create=create))


def win(database: Database, name: str = NAME) -> bool:
    """Ask for the probe."""
    return database.transact(lambda session: transports.win_probe(session, name, lease=LEASE))


def seconds(database: Database, name: str = NAME) -> float | None:
    """Seconds until the next probe."""
    return database.transact(lambda session: transports.seconds_until_probe(session, name))


def found(database: Database, name: str = NAME) -> TransportRow:
    """What is known of the transport, which has a row."""
    known = database.transact(lambda session: transports.read(session, name))
    assert known is not None
    return known


def names(database: Database) -> list[str]:
    """The transports that have a row."""
    return [known.name for known in database.transact(transports.all_rows)]


def change(database: Database, name: str = NAME, **values: Any) -> None:
    """Change the transport's row, for instance its times."""
    statement = sa.update(Transport).where(Transport.name == name).values(**values)
    database.transact(lambda session: run(session, statement))


def due(database: Database) -> None:
    """Let the time of the next probe have come."""
    change(database, next_probe_at=db_time(timedelta(seconds=-1)))


@every_database
def test_first_fault_opens_the_breaker(database: Database) -> None:
    """The row says what broke, what it said, with which message, and when to look again."""
    before = database.transact(now)
    assert 1 == fault(database)
    known = found(database)
    after = database.transact(now)
    assert (
        TransportRow(
            name=NAME,
            breaker="open",
            cause="refused",
            reason="nobody listens",
            faults=1,
            opened_at=known.opened_at,
            next_probe_at=known.next_probe_at,
            last_message_id=MESSAGE,
            last_ok_at=None,
            last_error="[Errno 111] Connection refused",
        )
        == known
    )
    assert known.opened_at is not None
    assert before <= known.opened_at <= after
    assert known.next_probe_at is not None
    minute = timedelta(minutes=1)
    assert before + minute <= known.next_probe_at <= after + minute
    assert known.is_open


@every_database
def test_fault_of_a_probe_moves_the_next_one_on(database: Database) -> None:
    """It counts, the latest words stand, and the time the breaker opened stays."""
    fault(database)
    opened_at = found(database).opened_at
    assert 2 == fault(database, reason="gone", message_id=STRAGGLER, probing=True)
    known = found(database)
    assert (2, "refused", "gone", STRAGGLER, opened_at) == (
        known.faults,
        known.cause,
        known.reason,
        known.last_message_id,
        known.opened_at,
    )
    left = seconds(database)
    assert left is not None
    assert 100 < left <= 120


@every_database
def test_fault_of_another_cause_begins_a_schedule_of_its_own(database: Database) -> None:
    """A wrong password after a long outage is not waited for as long as the outage was."""
    fault(database)
    fault(database, probing=True)
    assert 1 == fault(database, cause="login", reason="wrong password", probing=True)
    known = found(database)
    assert (1, "login", "wrong password") == (known.faults, known.cause, known.reason)


@every_database
def test_fault_of_a_straggler_leaves_only_its_error(database: Database) -> None:
    """Whoever was on the wire when the breaker opened does not put off the next probe."""
    fault(database)
    before = found(database)
    assert 1 == fault(database, cause="timed_out", error="no answer", message_id=STRAGGLER)
    expected = {**vars(before), "last_error": "no answer"}
    assert expected == vars(found(database))


@every_database
def test_fault_of_a_probe_opens_a_breaker_that_was_closed_meanwhile(database: Database) -> None:
    """It is then the first fault in a row, of a breaker that opened now."""
    fault(database)
    change(database, opened_at=db_time(-DAY))
    ok(database)
    assert 1 == fault(database, probing=True)
    opened_at = found(database).opened_at
    assert opened_at is not None
    assert database.transact(now) - opened_at < timedelta(minutes=10)


@every_database
def test_long_words_are_cut_to_what_the_columns_hold(database: Database) -> None:
    """No server's text and no cause can make a fault go unnoted."""
    fault(database, cause="c" * 300, reason="é" * 300, error="\0" + "é" * 900)
    known = found(database)
    assert ("c" * 48, "é" * 255, "\ufffd" + "é" * 511) == (
        known.cause,
        known.reason,
        known.last_error,
    )


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - TRANSPORT_OUTCOMES))
def test_outcome_of_a_message_opens_no_breaker(database: Database, outcome: Outcome) -> None:
    """What says nothing of the transport is refused and leaves nothing behind."""
    with pytest.raises(ValueError, match="says nothing of the transport"):
        fault(database, outcome=outcome)
    assert [] == names(database)


@every_database
def test_condition_says_which_breakers_are_open(database: Database) -> None:
    """Inside another statement: open is open, closed and unknown are not."""
    fault(database)
    ok(database, OTHER, create=True)

    def changed(name: str) -> int:
        statement = sa.update(Message).where(transports.is_open(name)).values(reason=name)
        return database.transact(lambda session: run(session, statement).rowcount)

    message_id = enqueue(database)
    assert [0, 0, 1] == [changed(name) for name in ("smtp://x' OR '1'='1", OTHER, NAME)]
    assert NAME == row(database, message_id).reason


@every_database
def test_probe_is_won_when_it_is_due_and_once(database: Database) -> None:
    """Not before its time, then once, and again when the winner's lease is over."""
    fault(database)
    early = win(database)
    due(database)
    now_and_again = [win(database), win(database)]
    left = seconds(database)
    assert [False, True, False] == [early, *now_and_again]
    assert left is not None
    assert 50 < left <= 60
    due(database)
    assert win(database)


@every_database
def test_nobody_probes_a_closed_breaker(database: Database) -> None:
    """Neither an unknown transport nor one that works, whatever an old row says."""
    unknown = win(database)
    ok(database, create=True)
    due(database)
    assert [False, False] == [unknown, win(database)]


@every_database
@pytest.mark.slow
def test_one_of_many_wins_the_probe(database: Database) -> None:
    """Eight workers ask at once, ten times: each time one of them probes."""
    fault(database)

    def work(_: int) -> bool:
        while True:
            try:
                return win(database)
            except Conflict:  # nobody won by that; ask again
                continue

    wins: list[int] = []
    for _ in range(10):
        due(database)
        wins.append(sum(at_once(8, work)))
    assert [1] * 10 == wins


@every_database
def test_hurry_lets_a_probe_go_at_once(database: Database) -> None:
    """A person need not wait for the schedule; one asks, one probes."""
    fault(database)

    def hurry_and_win() -> bool:
        def work(session: Session) -> bool:
            transports.hurry(session, NAME)
            return transports.win_probe(session, NAME, lease=LEASE)

        return database.transact(work)

    assert [True, False] == [hurry_and_win(), win(database)]


@every_database
def test_hurry_leaves_a_closed_breaker_alone(database: Database) -> None:
    """There is nothing to probe, and no time for it appears."""
    ok(database, create=True)
    database.transact(lambda session: transports.hurry(session, NAME))
    assert found(database).next_probe_at is None


@every_database
def test_last_faulty_is_the_message_of_the_last_fault(database: Database) -> None:
    """Known while the breaker is open; a fault without a message has none."""

    def last() -> uuid.UUID | None:
        return database.transact(lambda session: transports.last_faulty(session, NAME))

    unknown = last()
    fault(database)
    opened = last()
    fault(database, message_id=None, probing=True)
    without = last()
    fault(database, probing=True)
    ok(database)
    assert [None, MESSAGE, None, None] == [unknown, opened, without, last()]


@every_database
def test_ok_closes_the_breaker(database: Database) -> None:
    """Nothing of the fault stays but when it was and what it said."""
    fault(database)
    before = found(database)
    ok(database)
    known = found(database)
    assert known.last_ok_at is not None
    assert (
        TransportRow(
            name=NAME,
            breaker="closed",
            cause=None,
            reason=None,
            faults=0,
            opened_at=before.opened_at,
            next_probe_at=None,
            last_message_id=None,
            last_ok_at=known.last_ok_at,
            last_error=before.last_error,
        )
        == known
    )
    assert not known.is_open
    assert seconds(database) is None


@every_database
@pytest.mark.parametrize(("age", "noted"), [(5, False), (15, True)])
def test_ok_is_noted_every_ten_seconds(database: Database, age: int, *, noted: bool) -> None:
    """A fresh row is not written again, an older one is."""
    ok(database, create=True)
    change(database, last_ok_at=db_time(timedelta(seconds=-age)))
    before = found(database).last_ok_at
    ok(database, create=True)
    assert noted is (before != found(database).last_ok_at)


@every_database
def test_ok_closes_a_breaker_that_opened_a_moment_after_the_last_one(database: Database) -> None:
    """Ten seconds of saving writes never keep a breaker open."""
    ok(database, create=True)
    fault(database)
    ok(database)
    assert "closed" == found(database).breaker


@every_database
def test_ok_makes_a_row_only_when_asked(database: Database) -> None:
    """A transport that was never used through the queue need not have one."""
    ok(database)
    without = names(database)
    ok(database, create=True)
    assert ([], [NAME]) == (without, names(database))


@every_database
def test_probe_that_is_overdue_is_due_now(database: Database) -> None:
    """Seconds until a probe are never negative."""
    fault(database)
    due(database)
    assert 0.0 == seconds(database)


@every_database
def test_transports_are_apart_and_listed_by_name(database: Database) -> None:
    """One transport's fault says nothing of another, and pages list them all."""
    fault(database, OTHER)
    ok(database, create=True)
    known = database.transact(transports.all_rows)
    assert [(NAME, False), (OTHER, True)] == [(each.name, each.is_open) for each in known]


@every_database
def test_unknown_transport_has_no_row(database: Database) -> None:
    """What nobody has used is not known, and its breaker is closed."""
    assert database.transact(lambda session: transports.read(session, NAME)) is None
    assert seconds(database) is None


@every_database
@pytest.mark.parametrize(
    ("column", "kept"), [("last_ok_at", True), ("opened_at", True), ("next_probe_at", True)]
)
def test_transport_in_use_is_not_forgotten(database: Database, column: str, *, kept: bool) -> None:
    """One time that is young enough keeps the row: an outage may be longer than a row is kept."""
    fault(database)
    old: dict[str, Any] = dict.fromkeys(
        ("last_ok_at", "opened_at", "next_probe_at"), db_time(-2 * DAY)
    )
    change(database, NAME, **(old | {column: db_time(-DAY / 2)}))
    database.transact(lambda session: transports.forget(session, DAY))
    assert kept is (names(database) == [NAME])


@every_database
def test_transport_that_nobody_uses_is_forgotten(database: Database) -> None:
    """Whether it worked when its URI was changed or not."""
    fault(database)
    change(database, opened_at=db_time(-2 * DAY), next_probe_at=db_time(-2 * DAY))
    ok(database, OTHER, create=True)
    change(database, OTHER, last_ok_at=db_time(-2 * DAY))
    database.transact(lambda session: transports.forget(session, DAY))
    assert [] == names(database)


@every_database
def test_no_fault_of_probes_is_lost(database: Database) -> None:
    """Eight that end at once all count, and each is told another number."""

    def work(number: int) -> int:
        while True:
            try:
                return fault(database, probing=True, message_id=uuid.UUID(int=number + 1))
            except Conflict:  # nothing was written; a worker would note it again
                continue

    assert list(range(1, 9)) == sorted(at_once(8, work))
    left = seconds(database)
    assert (8, True) == (found(database).faults, left is not None and left > 7 * 60)


@every_database
def test_faults_that_meet_an_acceptance_leave_a_whole_row(database: Database) -> None:
    """Whichever came last, the row is that of an open breaker or of a closed one, never of both."""

    def work(number: int) -> None:
        while True:
            try:
                return ok(database) if number % 2 else void(fault(database, probing=True))
            except Conflict:
                continue

    for _ in range(5):
        at_once(6, work)
        known = found(database)
        told = (known.cause, known.next_probe_at, known.last_message_id)
        assert known.is_open is (known.faults > 0)
        assert all((each is not None) is known.is_open for each in told)
        assert (seconds(database) is not None) is known.is_open
    fault(database, probing=True)
    ok(database)
    assert not found(database).is_open


def void(_: object) -> None:
    """Answer nothing."""
