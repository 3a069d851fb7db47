"""NOTIFY is part of the caller's transaction, and a subscription hears it at the outer commit."""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.limits import Limit
from flask_courier.storage.notify import CannotListen, Subscription, notify
from flask_courier.storage.outbox import enqueue_limited
from flask_courier.storage.uow import Database
from tests.private_postgres import private_postgres
from tests.queue_rows import message

on_postgresql = pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
on_others = pytest.mark.parametrize("database_name", ["sqlite", "mysql"], indirect=True)

MakeEngine = Callable[..., sa.Engine]


@dataclass
class Witness:
    """Hears what the driver alone hears, and counts it."""

    engine: sa.Engine
    driver: Any

    def count(self) -> int:
        """Notifications since the last count: PostgreSQL keeps the order of commits."""
        with self.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("NOTIFY flask_courier, 'enough'")
        for number, notification in enumerate(self.driver.notifies(timeout=20)):
            if notification.payload == "enough":
                return number
        raise AssertionError("not even the last notification was heard")


@pytest.fixture
def witness(engine: sa.Engine) -> Iterator[Witness]:
    """Listens since before the test began."""
    connection = engine.raw_connection()
    driver: Any = connection.driver_connection
    connection.detach()
    with closing(driver):
        driver.autocommit = True
        driver.execute("LISTEN flask_courier")
        yield Witness(engine, driver)


@pytest.fixture
def session(engine: sa.Engine) -> Iterator[Session]:
    """The session of a caller."""
    with Session(engine) as session:
        yield session


@pytest.fixture
def engines(database_url: str) -> Iterator[MakeEngine]:
    """Makes engines on a database of the test's own."""
    made: list[sa.Engine] = []

    def make(**options: Any) -> sa.Engine:
        made.append(sa.create_engine(database_url, **options))
        return made[-1]

    yield make
    for engine in made:
        engine.dispose()


@contextmanager
def statements(engine: sa.Engine) -> Iterator[list[str]]:
    """What is executed on ``engine`` meanwhile."""
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        said.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    yield said
    sa.event.remove(engine, "before_cursor_execute", note)


def arrives(subscription: Subscription, seconds: float = 20) -> bool:
    """Whether a notification comes in time."""
    with selectors.DefaultSelector() as selector:
        selector.register(subscription, selectors.EVENT_READ)
        return bool(selector.select(seconds)) and subscription.take()


def end(engine: sa.Engine, driver: Any) -> None:
    """Let the server hang up on a connection, and wait until it has."""
    with engine.connect() as connection:
        statement = sa.text("SELECT pg_terminate_backend(:pid, 20000)")
        assert connection.scalar(statement, {"pid": driver.info.backend_pid}) is True


@on_postgresql
def test_commit_notifies(session: Session, witness: Witness) -> None:
    """Whoever listens hears a commit, once however much it queued."""
    notify(session)
    notify(session)
    session.commit()
    assert 1 == witness.count()


@on_postgresql
def test_request_notifies(database: Database, witness: Witness) -> None:
    """So does a request that is counted, queued and announced in one statement."""
    limit = Limit(1, 60)
    replace(database, notifies=True).transact(
        lambda session: enqueue_limited(session, message(), key="a" * 64, within=(limit,))
    )
    assert 1 == witness.count()


@on_postgresql
def test_nothing_before_the_commit(session: Session, witness: Witness) -> None:
    """What is not committed is not announced."""
    notify(session)
    assert 0 == witness.count()


@on_postgresql
def test_rollback_is_silent(session: Session, witness: Witness) -> None:
    """Nobody hears of a transaction that is rolled back."""
    notify(session)
    session.rollback()
    assert 0 == witness.count()


@on_postgresql
@pytest.mark.parametrize("ending", [Session.commit, Session.rollback, Session.close])
def test_each_transaction_notifies(
    session: Session, witness: Witness, ending: Callable[[Session], None]
) -> None:
    """However the transaction before ended, this one notifies on its own."""
    notify(session)
    ending(session)
    witness.count()
    # The message is written before the worker is told.
    session.connection()
    notify(session)
    session.commit()
    assert 1 == witness.count()


@on_postgresql
def test_one_statement_a_transaction(session: Session, engine: sa.Engine) -> None:
    """The second message of a transaction costs no second round trip, in a savepoint or not."""
    with statements(engine) as said:
        notify(session)
        notify(session)
        with session.begin_nested():
            notify(session)
    assert 1 == sum("NOTIFY" in statement for statement in said)


@on_postgresql
def test_savepoint_waits_for_the_outer_commit(session: Session, witness: Witness) -> None:
    """The end of a savepoint announces nothing; the outer commit does."""
    with session.begin_nested():
        notify(session)
    early = witness.count()
    session.commit()
    assert (0, 1) == (early, witness.count())


@on_postgresql
def test_rolled_back_savepoint_is_silent(session: Session, witness: Witness) -> None:
    """What a savepoint took back with it is not announced by the outer commit."""
    nested = session.begin_nested()
    notify(session)
    nested.rollback()
    session.commit()
    assert 0 == witness.count()


@on_postgresql
def test_notifies_again_after_a_rolled_back_savepoint(session: Session, witness: Witness) -> None:
    """The NOTIFY that a savepoint took back with it does not stand for a later message."""
    nested = session.begin_nested()
    notify(session)
    nested.rollback()
    notify(session)
    session.commit()
    assert 1 == witness.count()


@on_postgresql
def test_savepoint_spares_what_was_before(session: Session, witness: Witness) -> None:
    """A NOTIFY from before a savepoint survives the savepoint's end."""
    notify(session)
    nested = session.begin_nested()
    notify(session)
    nested.rollback()
    session.commit()
    assert 1 == witness.count()


@on_others
def test_other_databases_are_left_alone(session: Session) -> None:
    """Where there is no NOTIFY, not even a transaction begins."""
    notify(session)
    assert not session.in_transaction()


@pytest.mark.slow
def test_two_phase_commit_is_possible() -> None:
    """A session that prepares its commits gets no NOTIFY, with which it could not be prepared."""
    with private_postgres(settings="max_prepared_transactions = 1") as server:
        engine = sa.create_engine(server.url)
        with Session(engine, twophase=True) as session:
            session.execute(sa.text("CREATE TABLE kept ()"))
            notify(session)
            session.commit()
        assert ["kept"] == sa.inspect(engine).get_table_names()
        engine.dispose()


@on_postgresql
def test_subscription_hears_a_commit(session: Session, engine: sa.Engine) -> None:
    """A subscription becomes readable, and has a notification, once."""
    with closing(Subscription(engine)) as subscription:
        notify(session)
        session.commit()
        assert arrives(subscription)
        assert not subscription.take()


@on_postgresql
def test_subscription_without_a_commit(session: Session, engine: sa.Engine) -> None:
    """Nothing has come before the first commit."""
    with closing(Subscription(engine)) as subscription:
        notify(session)
        assert not subscription.take()


@on_postgresql
def test_announcement_comes_back(engine: sa.Engine) -> None:
    """A subscription hears what it announces over another connection."""
    with closing(Subscription(engine)) as subscription:
        subscription.announce()
        assert arrives(subscription)


@on_postgresql
def test_lost_connection_is_told(engine: sa.Engine) -> None:
    """A subscription that the server hung up on says so when it is read, and does not block."""
    with closing(Subscription(engine)) as subscription:
        end(engine, subscription._driver)

        def read() -> None:
            # The server's farewell may come before the end of the connection.
            for _ in range(3):
                arrives(subscription)

        with pytest.raises(psycopg.OperationalError):
            read()


@on_postgresql
def test_subscription_takes_nothing_from_the_pool(engines: MakeEngine) -> None:
    """A pool of one connection still has it for the application."""
    engine = engines(pool_size=1, max_overflow=0, pool_timeout=1)
    with closing(Subscription(engine)), engine.connect() as connection:
        assert 1 == connection.scalar(sa.select(1))


@on_postgresql
def test_subscription_is_not_one_of_the_pools_dead(engines: MakeEngine) -> None:
    """Connections that died at rest in the pool do not keep a subscription from coming about."""
    engine = engines()
    with engine.connect() as connection:
        driver = connection.connection.driver_connection
    end(engines(), driver)
    with closing(Subscription(engine)) as subscription:
        with engines().connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql("NOTIFY flask_courier")
        assert arrives(subscription)


@on_postgresql
def test_host_hook_leaves_a_transaction_open(engines: MakeEngine) -> None:
    """A hook of the host that reads as it connects does not make the subscription deaf."""
    engine = engines()
    sa.event.listen(engine, "connect", lambda driver, _record: driver.execute("SELECT 1"))
    with closing(Subscription(engine)) as subscription:
        subscription.announce()
        assert arrives(subscription)


@on_postgresql
def test_dead_peer_is_noticed_within_a_minute(engine: sa.Engine) -> None:
    """The kernel asks an idle peer for signs of life, and gives up in time."""
    with (
        closing(Subscription(engine)) as subscription,
        socket.fromfd(subscription.fileno(), socket.AF_INET, socket.SOCK_STREAM) as connection,
    ):

        def option(name: str) -> int:
            return connection.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))

        assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert 60 >= option("TCP_KEEPIDLE") + option("TCP_KEEPINTVL") * option("TCP_KEEPCNT")


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("sqlite://", "sqlite"),
        ("mysql+pymysql://nobody@127.0.0.1:1/none", "mysql"),
        ("postgresql+psycopg_async://nobody@127.0.0.1:1/none", "psycopg"),
    ],
)
def test_cannot_listen(url: str, named: str) -> None:
    """Other databases and drivers are refused by name, before anything connects."""
    with pytest.raises(CannotListen, match=named):
        Subscription(sa.create_engine(url))
