"""The listener wakes its worker for commits of other processes, and comes back by itself."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest
import sqlalchemy as sa

from flask_courier.delivery.listener import Listener
from flask_courier.storage.notify import Subscription
from tests.delivery.processes import ROOT
from tests.private_postgres import private_postgres
from tests.smtp_server import closed_port

on_postgresql = pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)

#: Seconds that anything may take on a busy machine.
LONG = 30.0


@dataclass
class Ward:
    """A listener on a database, and what it did."""

    engine: sa.Engine
    connects: list[float] = field(default_factory=list)
    subscriptions: list[Subscription] = field(default_factory=list)
    _wakes: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def __post_init__(self) -> None:
        self.listener = Listener(self.subscribe, self._wakes.release)
        self.others = sa.create_engine(self.engine.url, poolclass=sa.NullPool)
        sa.event.listen(self.engine, "do_connect", self._note_connect)

    def _note_connect(self, *_: Any) -> None:
        if threading.current_thread().name == "flask_courier.listener":
            self.connects.append(time.monotonic())

    def subscribe(self) -> Subscription:
        """What the listener calls."""
        self.subscriptions.append(Subscription(self.engine))
        return self.subscriptions[-1]

    @property
    def thread(self) -> threading.Thread:
        """The listener's own."""
        assert self.listener._thread is not None
        return self.listener._thread

    @property
    def pid(self) -> int:
        """The server's process behind the latest subscription."""
        number: int = self.subscriptions[-1]._driver.info.backend_pid
        return number

    def is_woken(self) -> bool:
        """Wait for the next wake."""
        return self._wakes.acquire(timeout=LONG)

    def starts(self) -> bool:
        """Start, and wait until it listens."""
        self.listener.start()
        return self.is_woken()

    def query(self, statement: str, **values: Any) -> Any:
        """Ask the server, over a connection of its own that commits."""
        with self.others.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            return connection.execute(sa.text(statement), values).scalar()

    def notify(self) -> None:
        """Commit as another process that queued mail."""
        with self.others.begin() as connection:
            connection.exec_driver_sql("NOTIFY flask_courier")


@pytest.fixture
def wards() -> Iterator[Callable[[str], Ward]]:
    """Makes wards; each is stopped at the end."""
    made: list[Ward] = []

    def make(url: str) -> Ward:
        made.append(Ward(sa.create_engine(url)))
        return made[-1]

    yield make
    for ward in made:
        ward.listener.stop()
        ward.engine.dispose()


@pytest.fixture
def ward(wards: Callable[[str], Ward], database_url: str) -> Ward:
    """A listener on the test's database, not started."""
    return wards(database_url)


def lines(caplog: pytest.LogCaptureFixture, action: str) -> list[str]:
    """The log lines of this action."""
    return [
        record.getMessage() for record in caplog.records if getattr(record, "action", "") == action
    ]


@on_postgresql
def test_commit_wakes(ward: Ward) -> None:
    """A commit of another connection wakes the worker."""
    assert ward.starts()
    ward.notify()
    assert ward.is_woken()


@on_postgresql
def test_listening_is_healthy(ward: Ward) -> None:
    """A listener is healthy while it listens, and neither before nor afterwards."""
    before = ward.listener.healthy
    assert ward.starts()
    during = ward.listener.healthy
    ward.listener.stop()
    assert (False, True, False) == (before, during, ward.listener.healthy)


@on_postgresql
def test_lost_connection_comes_back(ward: Ward) -> None:
    """After the server hung up, the listener wakes for what it missed, and for the next commit."""
    assert ward.starts()
    first = ward.pid
    assert ward.query("SELECT pg_terminate_backend(:pid, 20000)", pid=first)
    assert ward.is_woken()
    assert first != ward.pid
    ward.notify()
    assert ward.is_woken()


@on_postgresql
def test_loss_and_return_are_told(ward: Ward, caplog: pytest.LogCaptureFixture) -> None:
    """One line for each loss, one for each time that it listens."""
    with caplog.at_level(logging.INFO, "flask_courier.worker"):
        assert ward.starts()
        assert ward.query("SELECT pg_terminate_backend(:pid, 20000)", pid=ward.pid)
        assert ward.is_woken()
    assert (1, 2) == (len(lines(caplog, "listen_lost")), len(lines(caplog, "listen_start")))


@pytest.mark.slow
def test_server_crash(wards: Callable[[str], Ward]) -> None:
    """A server that crashes and is away is asked less than once a second, and found again."""
    with private_postgres() as server:
        ward = wards(server.url)
        assert ward.starts()
        server.stop("immediate")
        gone = time.monotonic()
        # Long enough for a few attempts; they are what is measured.
        threading.Event().wait(4)
        away = [moment - gone for moment in ward.connects if moment > gone]
        was_healthy = ward.listener.healthy
        server.start()
        assert ward.is_woken()
        ward.notify()
        assert ward.is_woken()
    assert 2 <= len(away) < 4
    assert all(later - earlier >= 1 for earlier, later in pairwise(away))
    assert not was_healthy


def test_absence_is_told_once(
    wards: Callable[[str], Ward], caplog: pytest.LogCaptureFixture
) -> None:
    """A server that is not there is one log line, without its address or password."""
    tries = threading.Semaphore(0)
    with closed_port() as port, caplog.at_level(logging.INFO, "flask_courier.worker"):
        ward = wards(f"postgresql+psycopg://someone:hush-hush@127.0.0.1:{port}/none")
        sa.event.listen(ward.engine, "do_connect", lambda *_: tries.release())
        ward.listener.start()
        for _ in range(3):
            assert tries.acquire(timeout=LONG)
    [told] = lines(caplog, "listen_lost")
    assert "is gone (OperationalError); the worker polls meanwhile" in told
    assert "hush-hush" not in caplog.text
    assert "127.0.0.1" not in caplog.text


@on_postgresql
def test_hook_of_the_host_raises(ward: Ward) -> None:
    """A hook that fails in its own way at the first connection does not end the listener."""

    def refuse(*_: Any) -> None:
        sa.event.remove(ward.engine, "do_connect", refuse)
        raise LookupError("no credentials yet")

    sa.event.listen(ward.engine, "do_connect", refuse)
    assert ward.starts()


@on_postgresql
def test_stop_while_listening(ward: Ward) -> None:
    """Stop ends the thread and the connection at once, though nothing was heard."""
    assert ward.starts()
    begun = time.monotonic()
    ward.listener.stop()
    took = time.monotonic() - begun
    assert not ward.thread.is_alive()
    assert ward.subscriptions[-1]._driver.closed
    assert took < 0.9


def test_stop_while_away(wards: Callable[[str], Ward]) -> None:
    """Stop does not wait for the next attempt to connect."""
    tries = threading.Semaphore(0)
    with closed_port() as port:
        ward = wards(f"postgresql+psycopg://nobody@127.0.0.1:{port}/none")
        sa.event.listen(ward.engine, "do_connect", lambda *_: tries.release())
        ward.listener.start()
        for _ in range(2):
            assert tries.acquire(timeout=LONG)
        begun = time.monotonic()
        ward.listener.stop()
        took = time.monotonic() - begun
    assert not ward.thread.is_alive()
    assert took < 0.9


@on_postgresql
def test_second_stop(ward: Ward) -> None:
    """A listener that has stopped, or was never started, is left alone by stop."""
    ward.listener.stop()
    assert ward.starts()
    ward.listener.stop()
    ward.listener.stop()
    assert not ward.thread.is_alive()


@on_postgresql
def test_deaf_connection(ward: Ward, caplog: pytest.LogCaptureFixture) -> None:
    """Where a notification does not come back, as behind some poolers, the listener gives up."""

    def deaf() -> Subscription:
        # What a pooler in transaction mode makes of LISTEN.
        subscription = Subscription(ward.engine)
        subscription._driver.execute("UNLISTEN *")
        return subscription

    wakes: list[int] = []
    listener = Listener(deaf, lambda: wakes.append(1))
    with caplog.at_level(logging.INFO, "flask_courier.worker"):
        listener.start()
        assert listener._thread is not None
        listener._thread.join(LONG)
    assert not listener._thread.is_alive()
    [line] = lines(caplog, "listen_deaf")
    assert "a pooler in transaction mode?" in line
    assert (False, []) == (listener.healthy, wakes)


def test_other_database(wards: Callable[[str], Ward], caplog: pytest.LogCaptureFixture) -> None:
    """On a database without LISTEN the thread says so, and ends."""
    ward = wards("sqlite://")
    with caplog.at_level(logging.INFO, "flask_courier.worker"):
        ward.listener.start()
        ward.thread.join(LONG)
    assert not ward.thread.is_alive()
    assert ["sqlite has no LISTEN; the worker polls"] == lines(caplog, "listen_unsupported")


@on_postgresql
def test_idle_costs_nothing(ward: Ward) -> None:
    """A listener that hears nothing asks nothing, and takes no processor time."""
    assert ward.starts()
    clock = time.pthread_getcpuclockid(ward.thread.ident or 0)
    before = time.clock_gettime(clock)
    threading.Event().wait(1)
    used = time.clock_gettime(clock) - before
    last = ward.query("SELECT query FROM pg_stat_activity WHERE pid = :pid", pid=ward.pid)
    assert "LISTEN flask_courier" == last
    assert used < 0.02


FORK = """
    import gc, os, selectors, sys, threading
    import sqlalchemy as sa
    from flask_courier.delivery.listener import Listener
    from flask_courier.storage.notify import Subscription

    engine = sa.create_engine(sys.argv[1])
    wakes = threading.Semaphore(0)
    made = []
    def subscribe():
        made.append(Subscription(engine))
        return made[-1]
    listener = Listener(subscribe, wakes.release)
    listener.start()
    assert wakes.acquire(timeout=30)
    engine.dispose()
    child = os.fork()
    if not child:
        engine.dispose(close=False)
        listener.stop()
        made.clear()
        del listener
        gc.collect()
        sys.exit(0)
    assert os.waitpid(child, 0)[1] == 0
    made[-1].announce()
    assert wakes.acquire(timeout=30)
    print(len(made), listener.healthy)
    listener.stop()
    engine.dispose()
"""


@on_postgresql
def test_fork(database_url: str) -> None:
    """A child that stops the listener, forgets it and exits leaves its parent's alone."""
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", textwrap.dedent(FORK), database_url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ("1 True\n", "") == (ended.stdout, ended.stderr)
