"""A database that crashes, stays away and comes back; a LISTEN connection that is cut."""

from __future__ import annotations

import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from flask_courier.testing import HOLD, FaultServer
from tests.databases import administration
from tests.faults.workers import (
    Crew,
    breathe,
    duplicates,
    queue,
    settle,
    site_of,
    statuses,
)
from tests.private_postgres import PrivatePostgres, private_postgres
from tests.site import Site, make_site

#: Seconds that the database is away, and seconds of a lease that nobody loses meanwhile.
AWAY, LEASE = 30.0, 60.0
MESSAGES, SESSIONS = 100, 8
#: What libpq does not ask for first: each attempt to connect is one connection.
PLAIN = "sslmode=disable&gssencmode=disable"
#: The databases of a worker that has results to record and of one that has nothing to do.
BUSY, IDLE = "postgres", "idle"


class Absence:
    """Listens where a database did, hangs up on whoever comes, and counts them by database."""

    def __init__(self, port: int) -> None:
        self.calls: Counter[str] = Counter()
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind(("127.0.0.1", port))
        self._listener.listen()
        self._thread = threading.Thread(target=self._count, daemon=True)
        self._thread.start()

    def _count(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:
                return
            with caller:
                caller.settimeout(5)
                # The first that a client says is who it is and which database it wants.
                named = re.search(rb"\0database\0(\w+)\0", caller.recv(1024))
                self.calls[named[1].decode() if named else ""] += 1

    def close(self) -> None:
        """Make room for the database."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()


@contextmanager
def absence(port: int) -> Iterator[Absence]:
    """Nothing but a counter listens at the port."""
    made = Absence(port)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def site_at(url: str) -> Iterator[Site]:
    """A site whose connections are closed at the end."""
    site = make_site(url)
    try:
        yield site
    finally:
        with site.app.app_context():
            site.db.engine.dispose()


@pytest.fixture
def postgres() -> Iterator[PrivatePostgres]:
    """A server with two databases."""
    with private_postgres() as server:
        engine = sa.create_engine(server.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(f"CREATE DATABASE {IDLE}")
        yield server


@pytest.mark.slow
def test_a_crash_costs_no_result(
    postgres: PrivatePostgres, crews: Callable[..., Crew], sink: FaultServer
) -> None:
    """A database that crashes in mid-send and stays away costs nothing, and is not pestered."""
    url = f"{postgres.url}?{PLAIN}"
    idle_url = sa.make_url(url).set(database=IDLE).render_as_string(hide_password=False)
    with site_at(url) as site, site_at(idle_url):
        queue(site, MESSAGES)
    held = sink.on("DOT", HOLD, times=SESSIONS)
    crews(url, **sink.config).hire(lease=LEASE)
    crews(idle_url, **sink.config).hire(lease=LEASE)
    held.wait_for(SESSIONS, 30.0)
    postgres.stop("immediate")
    with absence(postgres.port) as counter:
        held.release()
        sink.wait_for(SESSIONS)
        breathe(AWAY)
        assert {BUSY, IDLE} == set(counter.calls), "each worker has asked again"
        assert max(counter.calls.values()) < AWAY, counter.calls
    assert SESSIONS == len(sink.messages), "no session went on without its result"
    postgres.start()
    sink.wait_for(MESSAGES, 60.0)
    with site_at(url) as site:
        assert settle(lambda: {"sent": MESSAGES} == statuses(site))
        assert 0 == duplicates([message.recipients[0] for message in sink.messages])
        causes = Counter(row["cause"] for row in site.rows("courier_attempt"))
        # What had been announced meanwhile is left before its dot, and uses up no attempt.
        assert {"accepted": MESSAGES, "lease_lost": SESSIONS} == causes
        assert {1} == {row["attempts"] for row in site.rows("courier_message")}


def listeners(url: str) -> set[int]:
    """The server's processes that serve a LISTEN for this database."""
    statement = sa.text(
        "SELECT pid FROM pg_stat_activity WHERE datname = :name AND query LIKE 'LISTEN%'"
    )
    with administration("postgresql") as connection:
        return set(connection.execute(statement, {"name": sa.make_url(url).database}).scalars())


def send(site: Site, to: str) -> None:
    """Queue a mail as an application does, which tells the workers."""
    with site.app.app_context():
        site.courier.send("fault/plain", to=to, context={"name": "Ada"})
        site.db.session.commit()


@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
def test_a_cut_listener_comes_back(
    site: Site, crews: Callable[..., Crew], sink: FaultServer, database_url: str
) -> None:
    """Mail that is queued after the LISTEN connection was cut arrives, and a new one is opened."""
    external = site_of(database_url)
    crews(database_url, **sink.config).hire(lease=LEASE)
    assert settle(lambda: len(listeners(database_url)) == 1)
    [first] = listeners(database_url)
    with administration("postgresql") as connection:
        connection.execute(sa.text("SELECT pg_terminate_backend(:pid)"), {"pid": first})
    send(external, "ada@example.com")
    sink.wait_for(1, 30.0)
    assert settle(lambda: len(listeners(database_url) - {first}) == 1)
    send(external, "bea@example.com")
    received = sink.wait_for(2, 30.0)
    assert ["ada@example.com", "bea@example.com"] == [mail.recipients[0] for mail in received]
    with external.app.app_context():
        external.db.engine.dispose()
