"""The worker that serves: what it answers and tells, what wakes it, and the signals that end it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import sqlalchemy as sa

from flask_courier.core.status import Status
from flask_courier.delivery import runner, worker
from flask_courier.state import EXTENSION
from flask_courier.testing import HOLD, FaultServer
from tests.cli.commands import flask, queue
from tests.delivery.mails import eventually, queue_own, states, watched
from tests.observation import statements
from tests.private_postgres import private_postgres
from tests.site import Site

MakeSite = Callable[..., Site]
Ticks = list[tuple[Counter[Status], "int | None"]]

on_postgresql = pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)

#: Seconds that anything may take on a busy machine.
LONG = 60.0
NEVER = 3600.0


@pytest.fixture
def smtp() -> Iterator[FaultServer]:
    """An SMTP server that takes everything."""
    with FaultServer() as server:
        yield server


@pytest.fixture
def external(sites: MakeSite, smtp: FaultServer) -> Site:
    """A site whose worker is another process."""
    return sites(COURIER_WORKER="external", COURIER_SMTP_URI=smtp.uri)


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker that nobody wakes rest for good."""
    monkeypatch.setattr(worker, "POLL", NEVER)
    monkeypatch.setattr(worker, "_POLL_WOKEN", NEVER)


@pytest.fixture
def listens(caplog: pytest.LogCaptureFixture) -> Iterator[threading.Event]:
    """Set when the worker has begun to listen."""
    caplog.set_level(logging.INFO, "flask_courier.worker")
    with watched("listen_start") as event:
        yield event


def serve_while(site: Site, play: Callable[[Ticks], object]) -> Counter[Status]:
    """Serve in this thread, where signals arrive, while ``play`` runs in another; then SIGTERM."""
    ticks: Ticks = []
    begun = threading.Event()
    failed: list[BaseException] = []

    def note(outcomes: Counter[Status], waiting: int | None) -> None:
        ticks.append((outcomes, waiting))
        begun.set()

    def run() -> None:
        # Without a tick nobody heeds signals: one would end the tests.
        if not begun.wait(LONG):
            failed.append(AssertionError("the worker did not start"))
            return
        try:
            play(ticks)
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            failed.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    player = threading.Thread(target=run)
    player.start()
    try:
        state = site.app.extensions[EXTENSION]
        outcomes = runner.serve(state.worker_parts("external"), on_tick=note)
    finally:
        player.join(LONG)
    if failed:
        raise failed[0]
    return outcomes


def until_sent(site: Site, count: int) -> None:
    """Wait until so many mails have been sent, and no other is there."""
    eventually([("sent", None)] * count, lambda: states(site))


# What it answers and tells


def test_outcomes(external: Site) -> None:
    """``serve`` answers how often each status was reached."""
    for name in ("ada", "bob"):
        queue_own(external, f"{name}@example.com")
    assert {Status.SENT: 2} == serve_while(external, lambda _: until_sent(external, 2))


def test_ticks(external: Site) -> None:
    """Each tick has the counts so far and how many messages are due."""
    seen: Ticks = []

    def play(ticks: Ticks) -> None:
        queue_own(external)
        eventually((Counter({Status.SENT: 1}), 0), lambda: ticks[-1])
        seen.extend(ticks)

    serve_while(external, play)
    assert (Counter(), 0) == seen[0]


@pytest.mark.slow
def test_database_away_at_a_tick(sites: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tick while the database is away says so, and the worker outlives that."""
    monkeypatch.setattr(runner, "_TICK_AWAY", 0.1)
    with private_postgres() as server:
        site = sites(server.url, COURIER_WORKER="external")

        def play(ticks: Ticks) -> None:
            server.stop("immediate")
            eventually((Counter(), None), lambda: ticks[-1])
            server.start()
            queue_own(site)
            until_sent(site, 1)

        assert {Status.SENT: 1} == serve_while(site, play)


# What wakes it


def when_idle(looks: list[str], before: int) -> None:
    """Wait until the worker has found nothing to do since ``before``, and rests."""
    eventually(True, lambda: any("min(" in look for look in looks[before:]))  # noqa: FBT003


def send_one_by_one(site: Site, count: int, *, already: int = 0) -> None:
    """Queue mail after mail, each while the worker rests; each must be sent before the next.

    Once a look for other reasons may find one by chance; not one after the other.
    """
    with statements(site) as looks:
        for number in range(already + 1, already + count + 1):
            before = len(looks)
            queue_own(site, f"user{number}@example.com")
            until_sent(site, number)
            when_idle(looks, before)


@on_postgresql
def test_commit_wakes_it(external: Site, listens: threading.Event, no_poll: None) -> None:
    """On PostgreSQL a worker that does not poll sends each mail once it is committed."""

    def play(_: Ticks) -> None:
        assert listens.wait(LONG)
        send_one_by_one(external, 5)

    assert {Status.SENT: 5} == serve_while(external, play)


@on_postgresql
def test_rollback_sends_nothing(
    external: Site, smtp: FaultServer, listens: threading.Event, no_poll: None
) -> None:
    """What was rolled back is not sent with what the next commit wakes the worker for."""

    def play(_: Ticks) -> None:
        assert listens.wait(LONG)
        send_one_by_one(external, 2)
        with external.app.app_context():
            external.courier.request_recovery("eve@example.com")
            external.db.session.rollback()
        send_one_by_one(external, 1, already=2)

    serve_while(external, play)
    sent = [address for message in smtp.messages for address in message.recipients]
    assert [f"user{number}@example.com" for number in (1, 2, 3)] == sent


@on_postgresql
def test_cut_connection_comes_back(external: Site, listens: threading.Event, no_poll: None) -> None:
    """Once the connection that listens is cut, another listens, and loses nothing in between."""

    def play(_: Ticks) -> None:
        assert listens.wait(LONG)
        send_one_by_one(external, 2)
        listens.clear()
        assert [True] == cut(external)
        queue_own(external)
        assert listens.wait(LONG)
        until_sent(external, 3)
        send_one_by_one(external, 3, already=3)

    assert {Status.SENT: 6} == serve_while(external, play)


def cut(site: Site) -> list[bool]:
    """Let the server hang up on the connections that listen, and wait until it has."""
    statement = sa.text(
        "SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity"
        " WHERE query = 'LISTEN flask_courier' AND datname = current_database()"
    )
    with site.app.app_context(), site.db.engine.connect() as connection:
        return list(connection.execute(statement).scalars())


@on_postgresql
def test_poll_is_rarer_while_commits_are_heard(
    external: Site, sites: MakeSite, listens: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that hears commits polls at its own, rarer times; what nobody told is found then."""
    monkeypatch.setattr(worker, "POLL", NEVER)
    monkeypatch.setattr(worker, "_POLL_WOKEN", 0.05)
    silent = sites(COURIER_WORKER="manual")

    def play(_: Ticks) -> None:
        assert listens.wait(LONG)
        send_one_by_one(external, 1)
        for number in range(2, 5):
            queue_own(silent, f"user{number}@example.com")
            until_sent(external, number)

    assert {Status.SENT: 4} == serve_while(external, play)


def test_poll_where_commits_are_not_heard(external: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a database without NOTIFY the worker goes on to poll as often as ever."""
    monkeypatch.setattr(worker, "POLL", 0.05)
    monkeypatch.setattr(worker, "_POLL_WOKEN", NEVER)
    assert {Status.SENT: 3} == serve_while(external, lambda _: send_one_by_one(external, 3))


# Signals


def test_signals_are_given_back(external: Site) -> None:
    """When the worker has ended, signals do what they did before it began."""
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.getsignal(number) for number in numbers]
    serve_while(external, lambda _: None)
    assert before == [signal.getsignal(number) for number in numbers]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(
    sites: MakeSite, database_url: str, smtp: FaultServer, number: signal.Signals
) -> None:
    """A worker that waits for mail on the wire is gone with the next signal."""
    held = smtp.on("DOT", HOLD)
    site = sites(COURIER_SMTP_URI=smtp.uri)
    queue(site)
    with flask(database_url, smtp.uri, "courier", "worker") as process:
        held.wait_for(1, timeout=LONG)
        # Two that come close together are one to the system; the drain would take 25 seconds.
        for _ in range(50):
            process.send_signal(number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
                break
    assert -number == process.returncode
    assert [("processing", None)] == states(site)
