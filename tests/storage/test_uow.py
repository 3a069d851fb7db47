"""Units of work: all or nothing, and once more where two transactions met."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from threading import Barrier
from typing import Any

import pymysql.err
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError

from flask_courier.storage import limits
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.driver_errors import is_conflict
from flask_courier.storage.models import LimitCounter, Worker
from flask_courier.storage.uow import Conflict, Database, Session
from tests.databases import every_database
from tests.queue_rows import at_once, rows
from tests.site import Site


def add_worker(session: Session, name: str = "w") -> None:
    """Write a row."""
    run(session, sa.insert(Worker).values(name=name, kind="thread", seen_at=db_time()))


@every_database
def test_work_is_committed(database: Database) -> None:
    """What a unit of work wrote is there when it has ended, and its answer is handed on."""

    def work(session: Session) -> str:
        add_worker(session)
        return "answer"

    assert "answer" == database.transact(work)
    assert [("w",)] == rows(database, Worker.name)


@every_database
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_failed_work_leaves_nothing(database: Database, error: type[BaseException]) -> None:
    """An error, or the end of the process, takes everything back and is handed on."""

    def work(session: Session) -> None:
        add_worker(session)
        raise error

    with pytest.raises(error):
        database.transact(work)
    assert [] == rows(database, Worker.name)


@every_database
def test_other_database_errors_are_not_repeated(database: Database) -> None:
    """A row that is there twice is no conflict of two transactions: one run, and the error."""
    runs: list[int] = []

    def work(session: Session) -> None:
        runs.append(1)
        add_worker(session)
        add_worker(session)

    with pytest.raises(IntegrityError):
        database.transact(work)
    assert [1] == runs


@every_database
def test_error_shows_no_values(database: Database) -> None:
    """What a failed statement was to store stands in no error text, which ends up in logs."""
    database.transact(lambda session: add_worker(session, "hunter2"))
    with pytest.raises(IntegrityError) as caught:
        database.transact(lambda session: add_worker(session, "hunter2"))
    own_words = str(caught.value).replace(str(caught.value.orig), "")
    assert ("hunter2" in own_words, "INSERT INTO courier_worker" in own_words) == (False, True)


@pytest.mark.parametrize("database_name", ["postgresql", "mysql"], indirect=True)
def test_isolation_is_read_committed_where_it_matters(database: Database) -> None:
    """On MariaDB our transactions see what others committed meanwhile, as on PostgreSQL."""

    def work(session: Session) -> list[int]:
        counts = []
        for name in ("one", "two"):
            found = run(session, sa.select(sa.func.count()).select_from(Worker)).scalar_one()
            counts.append(found)
            database.transact(lambda other, n=name: add_worker(other, n))  # type: ignore[misc]
        return counts

    assert [0, 1] == database.transact(work)


class Meeting:
    """Two rows that two transactions want in opposite order, which no database can give both."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.runs = [0, 0]
        for key in ("a", "b"):
            database.transact(lambda session, k=key: limits.lock(session, [k]))  # type: ignore[misc]

    def take(self, number: int, meet: Callable[[], object]) -> Any:
        """Take both rows, one before and one after ``meet``, which happens in the first run."""
        first, second = ("a", "b") if number == 0 else ("b", "a")

        def work(session: Session) -> None:
            self.runs[number] += 1
            limits.lock(session, [first])
            if self.runs[number] == 1:
                meet()
            limits.lock(session, [second])

        return self.database.transact(work)


@pytest.mark.parametrize("database_name", ["postgresql", "mysql"], indirect=True)
def test_deadlock_starts_again(database: Database) -> None:
    """One of two transactions that deadlock starts again, and both end well."""
    meeting, both = Meeting(database), Barrier(2)
    at_once(2, lambda number: meeting.take(number, lambda: both.wait(30)))
    assert [1, 2] == sorted(meeting.runs)
    assert [("a", 3), ("b", 3)] == rows(database, LimitCounter.key, LimitCounter.count)


@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
@pytest.mark.parametrize(("losses", "ends_well"), [(1, True), (2, False)])
def test_serialisation_failure(database: Database, losses: int, *, ends_well: bool) -> None:
    """A lost serialisable transaction starts again once; the second loss is a Conflict."""
    database.transact(lambda session: limits.lock(session, ["a"]))
    runs: list[int] = []

    def work(session: Session) -> None:
        session.connection(execution_options={"isolation_level": "SERIALIZABLE"})
        run(session, sa.select(LimitCounter.count)).all()
        runs.append(1)
        if len(runs) <= losses:
            database.transact(lambda other: limits.lock(other, ["a"]))
        limits.lock(session, ["a"])

    if ends_well:
        database.transact(work)
    else:
        with pytest.raises(Conflict) as caught:
            database.transact(work)
        assert isinstance(caught.value.__cause__, DBAPIError)
    assert 2 == len(runs)


@pytest.fixture
def impatient(site: Site, database_name: str) -> Iterator[Database]:
    """Storage on connections that wait for a lock for a moment only."""
    with site.app.app_context():
        url = site.db.engine.url
    arguments: dict[str, dict[str, Any]] = {
        "sqlite": {"timeout": 0.05},
        "mysql": {"init_command": "SET SESSION innodb_lock_wait_timeout = 1"},
    }
    engine = sa.create_engine(url, connect_args=arguments[database_name])
    yield Database(lambda: Session(engine), None, lambda: None)
    engine.dispose()


@pytest.mark.parametrize("database_name", ["sqlite", "mysql"], indirect=True)
def test_lock_that_is_never_free_is_a_conflict(database: Database, impatient: Database) -> None:
    """SQLITE_BUSY and ER_LOCK_WAIT_TIMEOUT are tried twice, then answered with a Conflict."""
    runs: list[int] = []

    def work(session: Session) -> None:
        runs.append(1)
        limits.lock(session, ["a"])

    def hold(session: Session) -> None:
        limits.lock(session, ["a"])
        with pytest.raises(Conflict):
            impatient.transact(work)

    database.transact(hold)
    assert [1, 1] == runs


@pytest.mark.parametrize("database_name", ["sqlite", "mysql"], indirect=True)
def test_lock_that_gets_free_is_waited_for_once_more(
    database: Database, impatient: Database
) -> None:
    """A transaction that found a lock taken ends well if the lock is free the second time."""
    runs: list[int] = []
    with ExitStack() as holder:
        limits.lock(holder.enter_context(database.unit_of_work()), ["a"])

        def work(session: Session) -> None:
            runs.append(1)
            if len(runs) == 2:
                holder.close()
            limits.lock(session, ["a"])

        impatient.transact(work)
    assert [1, 1] == runs
    assert [("a", 2)] == rows(database, LimitCounter.key, LimitCounter.count)


@pytest.mark.parametrize("database_name", ["sqlite", "mysql"], indirect=True)
def test_other_error_of_the_second_run_is_handed_on(
    database: Database, impatient: Database
) -> None:
    """What goes wrong after a conflict is told as what it is, and is no Conflict."""
    runs: list[int] = []
    with ExitStack() as holder:
        limits.lock(holder.enter_context(database.unit_of_work()), ["a"])

        def work(session: Session) -> None:
            runs.append(1)
            if len(runs) == 2:
                holder.close()
                add_worker(session)
                add_worker(session)
            limits.lock(session, ["a"])

        with pytest.raises(IntegrityError):
            impatient.transact(work)
    assert ([1, 1], []) == (runs, rows(database, Worker.name))


@pytest.mark.parametrize("database_name", ["mysql"], indirect=True)
def test_record_changed_since_last_read_is_a_conflict(
    database: Database, engine: sa.Engine
) -> None:
    """ER_CHECKREAD, which MariaDB answers under snapshot isolation, means to start again."""
    database.transact(lambda session: limits.lock(session, ["a"]))
    with Session(engine) as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        try:
            session.execute(sa.text("SET SESSION innodb_snapshot_isolation = ON"))
        except DBAPIError:
            pytest.skip("not for a server without innodb_snapshot_isolation")
        run(session, sa.select(LimitCounter.count)).all()
        database.transact(lambda other: limits.lock(other, ["a"]))
        with pytest.raises(DBAPIError) as caught:
            limits.lock(session, ["a"])
        session.rollback()
        session.execute(sa.text("SET SESSION innodb_snapshot_isolation = OFF"))
    assert (1020, True) == (caught.value.orig.args[0], is_conflict(caught.value))  # type: ignore[union-attr]


class DriverError(Exception):
    """An error as drivers raise it: some name the SQLSTATE, some the number, some neither."""

    def __init__(self, *args: Any, **attributes: str) -> None:
        super().__init__(*args)
        self.__dict__.update(attributes)


@pytest.mark.parametrize(
    ("original", "expected"),
    [
        (DriverError("deadlock", sqlstate="40P01"), True),
        (DriverError("serialization", pgcode="40001"), True),
        (DriverError("unique", sqlstate="23505"), False),
        (DriverError("gone", pgcode="57P01"), False),
        (pymysql.err.OperationalError(1213, "deadlock"), True),
        (pymysql.err.OperationalError(1205, "lock wait timeout"), True),
        (pymysql.err.OperationalError(1020, "record has changed"), True),
        (DriverError(1205, "lock wait timeout", sqlstate="HY000"), True),
        (DriverError(1020, "record has changed", sqlstate="HY000"), True),
        (pymysql.err.IntegrityError(1062, "duplicate"), False),
        (DriverError("database is locked"), True),
        (DriverError("database table is locked: courier_message"), False),
        (DriverError("disk I/O error"), False),
        (DriverError(), False),
    ],
    ids=lambda value: repr(value).replace("\n", " "),
)
def test_conflicts_are_known_by_any_drivers_words(original: Exception, *, expected: bool) -> None:
    """SQLSTATE, number or words: whichever the driver has tells a conflict from a fault."""
    error = DBAPIError("statement", {}, original)
    assert expected is is_conflict(error)
