"""Counters that hold across transactions, and the lock of an account."""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Event, Thread

import pytest
import sqlalchemy as sa

from flask_courier.core.limits import Limit
from flask_courier.storage import limits
from flask_courier.storage.dialect import db_time, dialect_name, run
from flask_courier.storage.models import LimitCounter
from flask_courier.storage.uow import Conflict, Database, Session
from tests.databases import every_database
from tests.queue_rows import at_once, rows

KEY = "0123456789abcdef" * 4
FIVE = Limit(5, 600)


def take(database: Database, limit: Limit = FIVE, key: str = KEY) -> bool:
    """Count one more, in a transaction of its own."""
    return database.transact(lambda session: limits.take(session, key, limit))


def age(database: Database, **units: float) -> None:
    """Let every window have begun so long ago."""
    moved = sa.update(LimitCounter).values(window=db_time(-timedelta(**units)))
    database.transact(lambda session: run(session, moved))


def counts(database: Database) -> list[int]:
    """What the counters stand at."""
    return [count for (count,) in rows(database, LimitCounter.count)]


@every_database
def test_limit_allows_its_count(database: Database) -> None:
    """As many as the limit says, and then no more."""
    assert [True] * 5 + [False] * 2 == [take(database) for _ in range(7)]
    assert [5] == counts(database)


@every_database
def test_window_begins_with_the_first_count(database: Database) -> None:
    """Later counts do not move the window: it ends where it began plus its length."""
    take(database)
    age(database, seconds=300)
    [(before,)] = rows(database, LimitCounter.window)
    take(database)
    assert [(before,)] == rows(database, LimitCounter.window)


@every_database
@pytest.mark.parametrize(("seconds", "restarted"), [(590, False), (600, True), (10_000, True)])
def test_window_restarts_after_its_length(
    database: Database, seconds: int, *, restarted: bool
) -> None:
    """A full counter refuses to the end of its window, and then counts from one."""
    for _ in range(5):
        take(database)
    age(database, seconds=seconds)
    assert restarted is take(database)
    assert [1 if restarted else 5] == counts(database)


@every_database
def test_restarted_window_is_a_whole_one(database: Database) -> None:
    """After a restart the limit holds again, from now on."""
    take(database)
    age(database, seconds=600)
    assert [True] * 5 + [False] == [take(database) for _ in range(6)]


@every_database
def test_rolled_back_count_is_not_counted(database: Database) -> None:
    """What was counted in a transaction that failed was not counted."""

    def work(session: Session) -> None:
        limits.take(session, KEY, FIVE)
        raise KeyError

    with pytest.raises(KeyError):
        database.transact(work)
    assert [] == counts(database)


@every_database
def test_keys_count_apart(database: Database) -> None:
    """One address's counter says nothing of another's."""
    once = Limit(1, 60)
    assert [True, True] == [take(database, once, key) for key in (KEY, KEY[::-1])]


@every_database
def test_windows_count_apart(database: Database) -> None:
    """Limits of the same key with different windows are counters of their own."""
    assert [True, True, False] == [take(database, Limit(1, s)) for s in (60, 600, 60)]


@every_database
def test_parallel_takes_never_exceed_the_limit(database: Database) -> None:
    """Sixteen requests at once get as many slots as there are, and not one more."""

    def work(_: int) -> bool:
        while True:
            try:
                return take(database)
            except Conflict:  # a request would be answered "busy"; here it asks again
                continue

    assert 5 == sum(at_once(16, work))
    assert [5] == counts(database)


@every_database
def test_lock_serialises(database: Database) -> None:
    """The second transaction goes on only when the first one has ended."""
    order: list[str] = []
    inside = Event()

    def second() -> None:
        inside.wait(30)
        with database.unit_of_work() as session:
            limits.lock(session, [KEY])
            order.append("second")

    thread = Thread(target=second)
    thread.start()
    with database.unit_of_work() as session:
        limits.lock(session, [KEY])
        inside.set()
        thread.join(0.2)
        order.append("first")
    thread.join(30)
    assert ["first", "second"] == order


@pytest.mark.parametrize("database_name", ["postgresql", "mysql"], indirect=True)
def test_locks_of_other_keys_do_not_wait(database: Database) -> None:
    """Where rows can be locked, two accounts do not wait for each other."""

    def lock_both(session: Session) -> None:
        limits.lock(session, [KEY])
        database.transact(lambda other: limits.lock(other, [KEY[::-1]]))

    database.transact(lock_both)
    assert [1, 1] == counts(database)


ACCOUNT = "a" * 64
ONE, TWO = KEY, KEY[::-1]


def counted(database: Database) -> list[int]:
    """What the counters stand at, the account's lock left out."""
    found = rows(database, LimitCounter.key, LimitCounter.count)
    return [count for key, count in found if key != ACCOUNT]


def take_batch(database: Database, *keys: str, limit: Limit = FIVE) -> list[bool]:
    """Count one more for each key, all in one transaction that holds the account."""

    def work(session: Session) -> list[bool]:
        limits.lock(session, [ACCOUNT])
        counters = limits.Counters(session, {(key, limit) for key in keys})
        taken = [counters.take(key, limit) for key in keys]
        counters.save()
        return taken

    return database.transact(work)


@every_database
def test_batch_allows_the_count_of_each_key(database: Database) -> None:
    """In one batch each key has its own room, as much as the limit says."""
    keys = [*[ONE] * 6, *[TWO] * 6]
    assert ([True] * 5 + [False]) * 2 == take_batch(database, *keys)
    assert [5, 5] == counted(database)


@every_database
def test_batch_goes_on_where_single_counts_ended(database: Database) -> None:
    """A batch and single counts share one counter."""
    for _ in range(3):
        take(database)
    assert [True, True, False] == take_batch(database, KEY, KEY, KEY)
    assert take(database) is False


@every_database
def test_batch_that_is_not_saved_counts_nothing(database: Database) -> None:
    """What was taken in memory alone is not counted."""
    once = Limit(1, 60)

    def work(session: Session) -> None:
        limits.lock(session, [ACCOUNT])
        assert limits.Counters(session, {(KEY, once)}).take(KEY, once)

    database.transact(work)
    assert take(database, once) is True


@every_database
@pytest.mark.parametrize(("seconds", "restarted"), [(590, False), (600, True)])
def test_window_of_a_batch_restarts_after_its_length(
    database: Database, seconds: int, *, restarted: bool
) -> None:
    """A full counter refuses a batch to the end of its window, and then counts from one."""
    take_batch(database, *[KEY] * 5)
    age(database, seconds=seconds)
    assert [restarted] == take_batch(database, KEY)
    assert [1 if restarted else 5] == counted(database)


@every_database
def test_window_of_a_batch_begins_with_the_first_count(database: Database) -> None:
    """Later batches do not move the window."""
    take_batch(database, KEY)
    age(database, seconds=300)
    before = begun(database)
    take_batch(database, KEY)
    assert before == begun(database)


def begun(database: Database) -> list[datetime]:
    """When the windows of the counters began."""
    found = rows(database, LimitCounter.key, LimitCounter.window)
    return [window for key, window in found if key != ACCOUNT]


@every_database
def test_batch_without_keys_touches_nothing(database: Database) -> None:
    """A batch that no limit applies to makes no counter."""
    assert [] == take_batch(database)
    assert [] == counted(database)


@every_database
def test_parallel_batches_never_exceed_a_limit(database: Database) -> None:
    """Eight batches at once, that want the same keys in any order, get what there is."""
    nine = Limit(9, 600)

    def work(number: int) -> list[bool]:
        keys = [ONE, TWO, ONE, TWO] if number % 2 else [TWO, ONE, TWO, ONE]
        while True:
            try:
                return take_batch(database, *keys, limit=nine)
            except Conflict:  # a worker that lost twice looks again
                continue

    taken = at_once(8, work)
    assert 2 * 9 == sum(sum(batch) for batch in taken)
    assert [9, 9] == counted(database)


@every_database
def test_locks_that_cross_never_deadlock(database: Database) -> None:
    """Transactions that lock the same accounts in opposite order all come to their end."""
    keys = [f"{number:064d}" for number in range(8)]

    def work(number: int) -> int:
        order = keys if number % 2 else keys[::-1]
        done = 0
        while done < 5:
            try:
                database.transact(lambda session: limits.lock(session, order))
            except Conflict:
                continue
            done += 1
        return done

    assert [5] * 4 == at_once(4, work)
    # SQLite has one lock for everything, which whoever writes first has.
    locks = database.transact(lambda s: 1 if dialect_name(s) == "sqlite" else len(keys))
    assert [20] * locks == counts(database)
