"""The embedded worker: when its thread starts, what wakes it, and how it ends."""

from __future__ import annotations

import threading
import time
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from flask_courier.delivery import runner, thread, worker
from flask_courier.delivery.parts import WorkerParts
from flask_courier.delivery.thread import DatabaseThread, EmbeddedWorker
from flask_courier.delivery.worker import Worker
from flask_courier.testing import Fault, FaultServer
from tests.databases import IMPATIENT, every_database, locked
from tests.delivery.mails import (
    LONG_AGO,
    eventually,
    failing,
    in_thread,
    only,
    queue_own,
    states,
    watched,
)
from tests.delivery.processes import line, script
from tests.delivery.test_worker import OUTAGE
from tests.delivery.threads import embedded, worker_threads
from tests.observation import update
from tests.scripted_smtp import scripted_smtp
from tests.site import Site
from tests.smtp_server import MailServer, closed_port, smtp_server

MakeSite = Callable[..., Site]


@pytest.fixture
def cleartext() -> Iterator[MailServer]:
    """An SMTP server without TLS or AUTH."""
    with smtp_server(security="none", login=False) as server:
        yield server


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a worker that nobody wakes rest for good."""
    monkeypatch.setattr(worker, "POLL", 3600.0)


def uri(server: MailServer) -> dict[str, str]:
    """What a site needs to deliver to a server without TLS."""
    return {"COURIER_SMTP_URI": OUTAGE.format(server.port)}


# Starting


def test_no_thread_before_it_is_needed(threaded: MakeSite) -> None:
    """Setting an application up starts no thread."""
    before = set(threading.enumerate())
    threaded()
    assert set() == set(threading.enumerate()) - before


def test_first_request_starts_it(threaded: MakeSite) -> None:
    """The first request of the application, whatever it asks for, starts the worker."""
    site = threaded()
    site.client.get("/nothing/here")
    assert 1 == len(worker_threads())


def test_first_commit_starts_it(threaded: MakeSite, cleartext: MailServer, no_poll: None) -> None:
    """A commit that queued a mail starts the worker without any request."""
    site = threaded(**uri(cleartext))
    queue_own(site)
    assert 1 == len(cleartext.wait_for(1))


@every_database
def test_commit_wakes_it(threaded: MakeSite, cleartext: MailServer, no_poll: None) -> None:
    """A worker at rest delivers right after a commit that queued a mail."""
    site = threaded(**uri(cleartext))
    for number in range(1, 4):
        queue_own(site, f"user{number}@example.com")
        assert number == len(cleartext.wait_for(number))
        eventually([("sent", None)] * number, lambda: states(site))


def test_rollback_sends_nothing(threaded: MakeSite, cleartext: MailServer, no_poll: None) -> None:
    """A mail whose transaction was rolled back is not sent; the next one is."""
    site = threaded(**uri(cleartext))
    with site.app.app_context():
        site.courier.request_recovery("ada@example.com")
        site.db.session.rollback()
    queue_own(site, "bob@example.com")
    assert ["bob@example.com"] == [mail["To"] for mail in cleartext.wait_for(1)]
    assert 1 == len(site.rows("courier_message"))


def test_one_thread_for_many_wakes(threaded: MakeSite) -> None:
    """Many threads that wake the worker at once start one thread and raise nothing."""
    site = threaded()
    barrier = threading.Barrier(8)

    def wake() -> None:
        barrier.wait(20)
        for _ in range(50):
            embedded(site).wake()

    callers = [threading.Thread(target=wake) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert 1 == len(worker_threads())


@pytest.mark.parametrize("mode", ["thread", "external", "manual"])
def test_anonymous_request_is_delayed(
    sites: MakeSite, threaded: MakeSite, mode: str, no_poll: None
) -> None:
    """Beside an embedded worker a mail that anybody asked for waits up to two seconds."""
    site = threaded() if mode == "thread" else sites(COURIER_WORKER=mode)
    embedded_worker = embedded(site) if mode == "thread" else None
    if embedded_worker is not None:
        embedded_worker.stop()
    for number in range(8):
        site.post(site.client, "/account/recovery", email=f"user{number}@example.com")
    rows = site.rows("courier_message")
    waits = [row["next_attempt_at"] - row["created_at"] for row in rows]
    assert all(timedelta(0) <= wait <= timedelta(seconds=2) for wait in waits)
    # Two of eight draws may be alike to SQLite's millisecond; that three pairs are is no chance.
    assert len(set(waits)) in (range(6, 9) if mode == "thread" else [1])


def test_request_for_a_known_account_is_not_delayed(threaded: MakeSite, no_poll: None) -> None:
    """A mail that the application asked for, for an account it knows, is due at once."""
    site = threaded()
    embedded(site).stop()
    identity = site.add_user()
    with site.app.app_context():
        site.courier.request_verification(site.db.session.get(site.user, identity))
        site.db.session.commit()
    row = only(site)
    assert row["created_at"] == row["next_attempt_at"]


def make_nothing() -> NoReturn:
    """Fail to make the parts of a worker."""
    raise OSError("no parts")


def test_worker_that_cannot_be_made_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the worker cannot be made, its thread says why, and no request waits for it."""
    monkeypatch.setattr(thread, "_STOP_TIMEOUT", 3600.0)
    raised: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(str(args.exc_value)))
    worker = EmbeddedWorker(make_nothing, let_go=lambda: None)
    worker.wake()
    eventually([], worker_threads)
    worker.wake()
    worker.stop()
    assert ["no parts", "no parts"] == raised


class NoMoreThreads(threading.Thread):
    """A thread that the system refuses to start."""

    def start(self) -> None:
        """Refuse as CPython does."""
        raise RuntimeError("can't start new thread")


def test_process_without_room_for_a_thread(
    threaded: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no thread can be started, requests and commits go on, and a later one tries again."""
    site = threaded()
    with monkeypatch.context() as patch, watched("worker_start_failed") as failed:
        patch.setattr(threading, "Thread", NoMoreThreads)
        assert 404 == site.client.get("/nothing/here").status_code
        queue_own(site)
        assert failed.is_set()
    site.client.get("/nothing/here")
    eventually([("sent", None)], lambda: states(site))


# Working


@pytest.mark.slow
def test_outage_ends_by_itself(threaded: MakeSite) -> None:
    """A mail that met no server goes out by itself once the server is back."""
    with closed_port() as port:
        site = threaded(COURIER_SMTP_URI=OUTAGE.format(port))
        queue_own(site)
        eventually([("queued", "transport_fault")], lambda: states(site))
        with smtp_server(security="none", port=port, login=False) as server:
            server.wait_for(1)
            eventually([("sent", None)], lambda: states(site))


@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
def test_outage_is_no_reason_to_look_at_each_commit(
    threaded: MakeSite, no_poll: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the SMTP server is down, a commit has the worker run no statement for it."""
    monkeypatch.setattr(worker, "_DEAF", 2.0)
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if threading.current_thread() is not threading.main_thread():
            seen.append(statement)

    with closed_port() as port:
        site = threaded(COURIER_SMTP_URI=OUTAGE.format(port))
        queue_own(site)
        eventually([("queued", "transport_fault")], lambda: states(site))
        with site.app.app_context():
            event.listen(site.db.engine, "before_cursor_execute", note)
        for number in range(50):
            queue_own(site, f"user{number}@example.com")
    # What it runs when it has just met the fault and goes to rest is in it.
    assert len(seen) < 50


def once_free(act: Callable[[], object]) -> Callable[[], object]:
    """A look that tells of a busy database, where the site itself waits for none."""

    def look() -> object:
        try:
            return act()
        except sa.exc.OperationalError as fault:
            return fault

    return look


def test_locked_queue_is_read_again(threaded: MakeSite) -> None:
    """A worker that cannot read the queue tries again; nothing is lost."""
    site = threaded(**IMPATIENT)
    site.client.get("/")
    with watched("claim_failed") as failed, locked(site.url):
        embedded(site).wake()
        assert failed.wait(20)
    # The worker's own writes are now and then in the way.
    eventually(None, once_free(lambda: queue_own(site)))
    eventually([("sent", None)], once_free(lambda: states(site)))


@contextmanager
def rows_locked(site: Site) -> Iterator[None]:
    """Hold the locks of all messages, as a transaction of the application's own does."""
    message = site.db.metadata.tables["courier_message"]
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.execute(sa.select(message.c.id).with_for_update())
        yield


@contextmanager
def claims_seen(site: Site) -> Iterator[list[float]]:
    """Collect the moments of the statements that claim."""
    moments: list[float] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if "SKIP LOCKED" in statement:
            moments.append(time.monotonic())

    with site.app.app_context():
        engine = site.db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield moments
    finally:
        event.remove(engine, "before_cursor_execute", note)


@pytest.fixture
def idle(threaded: MakeSite) -> Iterator[tuple[Site, EmbeddedWorker]]:
    """A site with a message that nobody has seen yet, and a worker that has not started."""
    site = threaded()
    embedded(site).stop()
    queue_own(site)
    worker = EmbeddedWorker(embedded(site)._parts, let_go=lambda: None)
    yield site, worker
    worker.stop()


@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
def test_row_that_is_locked_elsewhere_is_asked_for_ever_less(
    idle: tuple[Site, EmbeddedWorker],
) -> None:
    """A worker that cannot have what is due rests longer after each look: no storm of claims."""
    site, worker = idle
    with rows_locked(site), claims_seen(site) as moments:
        worker.wake()
        eventually(True, lambda: len(moments) >= 12)  # noqa: FBT003
        assert moments[11] - moments[0] > 0.6


@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
def test_row_that_was_locked_elsewhere(idle: tuple[Site, EmbeddedWorker]) -> None:
    """Once the lock is gone the mail goes out, and the worker's rests are short again."""
    site, thread_of = idle
    with rows_locked(site):
        thread_of.wake()
        eventually(worker.POLL, lambda: thread_of._worker._shortest)  # type: ignore[union-attr]
    eventually([("sent", None)], lambda: states(site))
    eventually(worker._MOMENT, lambda: thread_of._worker._shortest)  # type: ignore[union-attr]


@pytest.mark.slow
def test_leases_are_renewed(threaded: MakeSite, cleartext: MailServer) -> None:
    """While a mail is on the wire its lease is renewed, so that no other worker takes it."""
    cleartext.may_answer.clear()
    site = threaded(**uri(cleartext))
    embedded(site).stop()
    queue_own(site)

    def parts() -> WorkerParts:
        made = embedded(site)._parts()
        return replace(made, preparer=replace(made.preparer, lease=timedelta(seconds=8)))

    impatient = EmbeddedWorker(parts, let_go=lambda: None)
    impatient.wake()
    assert cleartext.at_dot.wait(20)
    before = only(site)["lease_until"]
    eventually(True, lambda: only(site)["lease_until"] > before)  # noqa: FBT003
    cleartext.may_answer.set()
    eventually([("sent", None)], lambda: states(site))
    impatient.stop()


def test_worker_is_seen(threaded: MakeSite) -> None:
    """A worker at work has a row that names it."""
    site = threaded()
    site.client.get("/")
    eventually(["thread"], lambda: [row["kind"] for row in site.rows("courier_worker")])


def test_lost_lease_comes_back(
    threaded: MakeSite, cleartext: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that a dead worker left behind is taken over and sent."""
    site = threaded(**uri(cleartext))
    embedded(site).stop()
    queue_own(site)
    update(
        site,
        "courier_message",
        status="processing",
        lease_token="f" * 32,
        lease_until=LONG_AGO,
    )
    successor = EmbeddedWorker(embedded(site)._parts, let_go=lambda: None)
    successor.wake()
    eventually([("sent", None)], lambda: states(site))
    successor.stop()


def test_idle_connection_is_used_again(threaded: MakeSite) -> None:
    """A worker's second mail goes over the connection of its first."""
    with scripted_smtp() as server:
        site = threaded(COURIER_SMTP_URI=server.uri)
        for number in (1, 2):
            queue_own(site, f"user{number}@example.com")
            eventually([("sent", None)] * number, lambda: states(site))
        embedded(site).stop()
    assert [2] == [len(dialogue.payloads) for dialogue in server.dialogues]
    assert "QUIT" == server.dialogues[0].verbs[-1]


@pytest.mark.parametrize(
    ("statement", "action"),
    [
        ("UPDATE courier_message", "claim_failed"),
        ("SELECT min(", "housekeeping_failed"),
        ("INSERT INTO courier_worker", "housekeeping_failed"),
    ],
)
def test_refused_statement_ends_no_worker(threaded: MakeSite, statement: str, action: str) -> None:
    """Whatever the database refuses, the worker goes on when it no longer does."""
    site = threaded()
    with watched(action) as seen, failing(site, statement):
        embedded(site).wake()
        assert seen.wait(20)
    queue_own(site)
    eventually([("sent", None)], lambda: states(site))


def test_outlived_messages_are_forgotten(threaded: MakeSite) -> None:
    """A worker that starts forgets what is older than it is kept."""
    second = timedelta(seconds=1)
    site = threaded(COURIER_RETENTION=second, COURIER_CONTENT_RETENTION=second)
    embedded(site).stop()
    queue_own(site)
    assert {"sent": 1} == site.deliver()
    ledger = Worker(embedded(site)._parts(), DatabaseThread("unused"))._ledger

    def left() -> tuple[int, int]:
        ledger.purge()
        return len(site.rows("courier_content")), len(site.rows("courier_message"))

    eventually((0, 0), left)


# Ending


def test_stop_finishes_what_is_on_the_wire(threaded: MakeSite, cleartext: MailServer) -> None:
    """A stopped worker records the mail on the wire, gives back what is not, and has ended."""
    cleartext.may_answer.clear()
    site = threaded(**uri(cleartext), COURIER_SMTP_CONNECTIONS=1)
    for number in range(4):
        queue_own(site, f"user{number}@example.com")
    eventually([("processing", None)] * 4, lambda: states(site))
    assert cleartext.at_dot.wait(20)
    with in_thread(embedded(site).stop):
        eventually(True, lambda: embedded(site)._worker._stopping)  # type: ignore[union-attr]  # noqa: FBT003
        cleartext.may_answer.set()
    assert {("sent", None): 1, ("queued", None): 3} == Counter(states(site))
    assert [0, 0, 0, 1] == sorted(row["claims"] for row in site.rows("courier_message"))
    assert (1, []) == (len(cleartext.envelopes), worker_threads())


def test_end_of_a_worker_fits_into_a_stop(threaded: MakeSite) -> None:
    """Whoever stops a worker waits for longer than it takes to end, as supervisors do."""
    parts = embedded(threaded())._parts()
    assert parts.end < thread._STOP_TIMEOUT
    assert replace(parts, drain=runner._DRAIN).end < 30


def test_server_that_does_not_hear_quit(threaded: MakeSite) -> None:
    """A server that leaves QUIT without an answer holds the end up for a part of the drain only."""
    with FaultServer() as server:
        server.on("QUIT", Fault(hold=True))
        site = threaded(**server.config)
        parts = embedded(site)._parts
        embedded(site).stop()
        queue_own(site)
        worker = EmbeddedWorker(lambda: replace(parts(), drain=1.0), let_go=lambda: None)
        worker.wake()
        eventually([("sent", None)], lambda: states(site))
        begun = time.monotonic()
        worker.stop()
        assert ([], True) == (worker_threads(), time.monotonic() - begun < 4)
        server.forgive()


def test_stopped_worker_stays_stopped(threaded: MakeSite) -> None:
    """After its end the worker is not started again; the message waits for another process."""
    site = threaded()
    embedded(site).stop()
    queue_own(site)
    assert ([("queued", None)], []) == (states(site), worker_threads())


def test_stop_without_start(threaded: MakeSite) -> None:
    """A worker that never ran can be stopped."""
    embedded(threaded()).stop()
    assert [] == worker_threads()


def test_forgotten_worker(sites: MakeSite) -> None:
    """The hooks for exit and fork do not keep a worker alive, and outlive it."""
    worker = EmbeddedWorker(make_nothing, let_go=make_nothing)
    reference = weakref.ref(worker)
    del worker
    thread._each(reference, EmbeddedWorker.stop)
    assert reference() is None


def test_exit_records_what_is_on_the_wire(
    sites: MakeSite, database_url: str, cleartext: MailServer
) -> None:
    """A process that ends while a mail is on the wire records it before it is gone."""
    cleartext.may_answer.clear()
    body = """
        queue_own(site)
        sys.stdin.readline()
        atexit.register(lambda: print("leaving", flush=True))
    """
    with script(body, database_url, OUTAGE.format(cleartext.port)) as process:
        assert cleartext.at_dot.wait(20)
        assert "leaving" == line(process)
        cleartext.may_answer.set()
        assert (0, "") == (process.wait(20), process.stderr.read())  # type: ignore[union-attr]
    assert [("sent", None)] == states(sites())


def test_exit_right_after_commit_loses_nothing(
    sites: MakeSite, database_url: str, cleartext: MailServer
) -> None:
    """A process that ends right after its commit has sent the mail, or left it for the next."""
    body = """
        queue_own(site, text="hello")
    """
    with script(body, database_url, OUTAGE.format(cleartext.port)) as process:
        assert (0, "") == (process.wait(20), process.stderr.read())  # type: ignore[union-attr]
    site = sites(**uri(cleartext))
    [(status, _)] = states(site)
    assert status in {"queued", "sent"}
    assert (1 if status == "sent" else 0) == len(cleartext.envelopes)


FORK = """
        queue_own(site, "before@example.com")
        eventually([("sent", None)], lambda: states(site))
        child = os.fork()
        who = "parent" if child else "child"
        assert (1 if child else 0) == len(worker_threads())
        queue_own(site, f"{who}@example.com")
        eventually(("sent", None), lambda: max(states(site)))
        assert 1 == len(worker_threads())
        if child:
            assert (child, 0) == os.waitpid(child, 0)
            eventually([("sent", None)] * 3, lambda: states(site))
        else:
            embedded(site).stop()
            os._exit(0)
    """


@pytest.mark.parametrize("database_name", ["sqlite", "postgresql"], indirect=True)
def test_fork(sites: MakeSite, database_url: str, cleartext: MailServer) -> None:
    """A forked child has a worker of its own, on connections of its own; so does its parent."""
    with script(FORK, database_url, OUTAGE.format(cleartext.port)) as process:
        assert 0 == process.wait(60), process.communicate()
    mails = [mail["To"] for mail in cleartext.mails]
    assert ["before@example.com", "child@example.com", "parent@example.com"] == sorted(mails)


FORK_IN_MID_TRANSACTION = """
        from sqlalchemy import event
        with site.app.app_context():
            engine = site.db.engine
        inside, released = threading.Event(), threading.Event()
        # Run before the worker's own hook, which was registered earlier (os.register_at_fork).
        os.register_at_fork(before=released.set)
        def linger(connection):
            worker = threading.current_thread().name == "flask_courier.database"
            if worker and not inside.is_set():
                inside.set()
                released.wait(20)
        event.listen(engine, "commit", linger)
        queue_own(site, "before@example.com")
        assert inside.wait(20)
        child = os.fork()
        if not child:
            event.remove(engine, "commit", linger)
            queue_own(site, "child@example.com")
            os._exit(0)
        assert (child, 0) == os.waitpid(child, 0)
        eventually([("sent", None)] * 2, lambda: states(site))
    """


def test_fork_in_mid_transaction(sites: MakeSite, database_url: str) -> None:
    """A fork waits for the worker's transaction: SQLite would hold its lock in the child."""
    with script(FORK_IN_MID_TRANSACTION, database_url, "log:") as process:
        assert 0 == process.wait(60), process.communicate()


def test_fork_pauses_the_worker(threaded: MakeSite) -> None:
    """While a process forks, its worker touches no database; afterwards it goes on."""
    site = threaded()
    site.client.get("/")
    embedded(site).before_fork()
    queue_own(site)
    assert [("queued", None)] == states(site)
    embedded(site).after_fork()
    eventually([("sent", None)], lambda: states(site))


@contextmanager
def forking_elsewhere(worker: EmbeddedWorker) -> Iterator[None]:
    """Be between the hooks of a fork in another thread."""
    inside, over = threading.Event(), threading.Event()

    def fork() -> None:
        worker.before_fork()
        inside.set()
        over.wait(20)
        worker.after_fork()

    with in_thread(fork):
        try:
            assert inside.wait(20)
            yield
        finally:
            over.set()


def test_fork_that_could_not_wait_ends_no_other_pause(
    threaded: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork that did not get the database thread to pause leaves the pause to who has it."""
    site = threaded()
    site.client.get("/")
    worker = embedded(site)
    call = worker._call
    assert call is not None
    working, released = threading.Event(), threading.Event()

    def work() -> None:
        working.set()
        released.wait(20)

    call._jobs.put((Future(), work, ()))
    assert working.wait(20)
    with monkeypatch.context() as patch:
        patch.setattr(thread, "_STOP_TIMEOUT", 0.01)
        worker.before_fork()
    released.set()
    with forking_elsewhere(worker):
        worker.after_fork()
    queue_own(site)
    eventually([("sent", None)], lambda: states(site))


def test_fork_lets_nothing_go_on_for_another(
    threaded: MakeSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop stands still until the fork that stopped it is over, though another one is."""
    site = threaded()
    site.client.get("/")
    worker, went_on = embedded(site), threading.Event()
    with forking_elsewhere(worker):
        # It waits neither for the database thread, which is the other's, nor for the loop.
        monkeypatch.setattr(worker, "_call", None)
        monkeypatch.setattr(thread, "_PARK_TIMEOUT", 0.01)
        worker.before_fork()
        worker.after_fork()
        worker._tell(lambda _worker: went_on.set())
        assert not went_on.wait(0.1)
    monkeypatch.undo()
    assert went_on.wait(20)


def test_child_starts_anew(threaded: MakeSite) -> None:
    """A worker that is told that it is in a child process starts a thread there."""
    site = threaded()
    embedded(site).stop()
    with site.app.app_context():
        site.db.engine.dispose()
    embedded(site).forget()
    queue_own(site)
    eventually([("sent", None)], lambda: states(site))


def test_wake_of_a_loop_that_has_just_ended(threaded: MakeSite) -> None:
    """A wake-up that comes as the loop ends is lost, and raises nothing."""
    site = threaded()
    site.client.get("/")
    worker = embedded(site)
    loop = worker._loop
    worker.stop()
    worker._loop = loop
    worker.wake()
    assert loop is not None
    assert loop.is_closed()
