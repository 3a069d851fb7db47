"""A worker beside transactions of the application's that lock accounts for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import NoReturn

import pytest
import sqlalchemy as sa

from flask_courier.delivery import intake as intake_module
from flask_courier.delivery.intake import Intake
from flask_courier.delivery.ledger import Ledger
from flask_courier.storage import dialect
from flask_courier.storage.uow import Session
from tests.delivery.ledgers import make_ledger
from tests.delivery.mails import in_thread, make_due, queue_own, queue_recovery, states
from tests.site import Site

# On SQLite, whoever writes anything has the whole database, and waits as its driver says.
pytestmark = pytest.mark.parametrize("database_name", ["postgresql", "mysql"], indirect=True)


Lock = Callable[[Site], AbstractContextManager[None]]


@pytest.fixture
def ledger(site: Site) -> Ledger:
    """A worker's side of the tables."""
    return make_ledger(site)


@pytest.fixture
def intake(ledger: Ledger) -> Intake:
    """Its claiming side."""
    return Intake(ledger)


@contextmanager
def accounts_locked(site: Site) -> Iterator[None]:
    """Hold the rows of all accounts, as somebody's open console does."""
    with site.app.app_context():
        engine = site.db.engine
    with engine.connect() as connection:
        connection.execute(sa.select(site.user.id).with_for_update()).all()
        yield
        connection.rollback()


@contextmanager
def table_locked(site: Site) -> Iterator[None]:
    """Hold the table of accounts, as a migration of the application's does."""
    with site.app.app_context():
        engine = site.db.engine
    name = engine.dialect.identifier_preparer.quote("user")
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.exec_driver_sql(f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE")
        else:
            connection.exec_driver_sql(f"LOCK TABLES {name} WRITE")
        yield
        if engine.dialect.name != "postgresql":
            connection.exec_driver_sql("UNLOCK TABLES")
        connection.rollback()


@pytest.mark.parametrize("lock", [accounts_locked, table_locked])
def test_locked_account_holds_up_nobody_else(site: Site, intake: Intake, lock: Lock) -> None:
    """Mail to an account that somebody has locked is put off; the rest of its batch goes out."""
    site.add_user()
    queue_recovery(site)
    make_due(site)
    queue_own(site, "bob@example.com")
    taken: list[str] = []

    def take() -> None:
        taken.extend(one.recipient for one in intake.take(10, 0, alone=True).parcels)

    with lock(site), in_thread(take):
        pass
    assert ["bob@example.com"] == taken
    assert [("queued", "failed", 0), ("processing", None, 1)] == [
        (one["status"], one["reason"], one["claims"]) for one in site.rows("courier_message")
    ]


def test_locked_accounts_are_not_tried_one_by_one(
    site: Site, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the time of a batch is over, the rest of it is put off together."""
    monkeypatch.setattr(intake_module, "_PATIENCE", 0.0)
    for number in range(3):
        site.add_user(f"user{number}@example.com")
        queue_recovery(site, f"user{number}@example.com")
    make_due(site)
    with accounts_locked(site), in_thread(lambda: intake.take(10, 0, alone=True)):
        pass
    assert [("queued", "failed")] * 3 == states(site)


def patience(connection: sa.Connection) -> list[str]:
    """How long statements of the connection wait for locks."""
    on_postgresql = connection.dialect.name == "postgresql"
    variables = "@@innodb_lock_wait_timeout, @@lock_wait_timeout"
    show = "SHOW lock_timeout" if on_postgresql else f"SELECT {variables}"
    return [str(value) for value in connection.exec_driver_sql(show).one()]


def fail(_: Session) -> NoReturn:
    """End as nobody foresaw."""
    raise LookupError


@pytest.mark.parametrize("end", [fail, Session.commit, Session.rollback])
def test_patience_of_a_connection_is_left_as_it_was(
    site: Site, ledger: Ledger, end: Callable[[Session], None]
) -> None:
    """Who uses the connection next waits for locks as long as ever, whatever became of the work."""
    found: list[list[str]] = []

    def work(session: Session) -> None:
        found.append(patience(session.connection()))
        with dialect.impatient(session):
            found.append(patience(session.connection()))
            end(session)

    with suppress(LookupError):
        ledger.database.transact(work)
    ledger.database.transact(lambda session: found.append(patience(session.connection())))
    usual, within, later = found
    assert (usual, {"1"}) == (later, {value[:1] for value in within})
