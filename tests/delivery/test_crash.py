"""Processes that die: what was committed is sent, what was not is not, and copies are copies."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.databases import every_database
from tests.delivery.mails import LONG_AGO, eventually, queue_recovery, states
from tests.delivery.processes import line, script
from tests.delivery.test_worker import OUTAGE
from tests.observation import update
from tests.site import Site
from tests.smtp_server import MailServer, closed_port, smtp_server

MakeSite = Callable[..., Site]

on_files_and_servers = pytest.mark.parametrize(
    "database_name", ["sqlite", "postgresql"], indirect=True
)

COMMIT = """
    site.add_user()
    queue_recovery(site)
    print("committed", flush=True)
    sys.stdin.read()
"""
NO_COMMIT = """
    with site.app.app_context():
        site.courier.request_recovery("ada@example.com")
        site.db.session.flush()
        print("flushed", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def cleartext() -> Iterator[MailServer]:
    """An SMTP server without TLS or AUTH."""
    with smtp_server(security="none", login=False) as server:
        yield server


def kill(process: subprocess.Popen[str]) -> None:
    """End it as a power cut would."""
    process.kill()
    assert -signal.SIGKILL == process.wait(20)


def let_time_pass(site: Site) -> None:
    """Let leases run out and waits be over."""
    update(site, "courier_message", next_attempt_at=LONG_AGO, lease_until=LONG_AGO)


@every_database
def test_rollback_sends_nothing(sites: MakeSite, cleartext: MailServer) -> None:
    """A mail of a transaction that was rolled back is nowhere."""
    site = sites(COURIER_SMTP_URI=OUTAGE.format(cleartext.port))
    with site.app.app_context():
        site.courier.request_recovery("ada@example.com")
        site.db.session.rollback()
    assert ({}, [], 0) == (site.deliver(), states(site), cleartext.connections)


@on_files_and_servers
def test_kill_before_commit_sends_nothing(
    sites: MakeSite, database_url: str, cleartext: MailServer
) -> None:
    """A process that is killed before its commit leaves nothing to send."""
    with script(NO_COMMIT, database_url, OUTAGE.format(cleartext.port)) as process:
        assert "flushed" == line(process)
        kill(process)
    site = sites(COURIER_SMTP_URI=OUTAGE.format(cleartext.port))
    assert ({}, []) == (site.deliver(), states(site))


@on_files_and_servers
def test_kill_after_commit_loses_nothing(threaded: MakeSite, database_url: str) -> None:
    """A process that is killed after its commit, with SMTP down, leaves its mail to the next."""
    with closed_port() as port:
        with script(COMMIT, database_url, OUTAGE.format(port)) as process:
            assert "committed" == line(process)
            kill(process)
        site = threaded(COURIER_SMTP_URI=OUTAGE.format(port))
        let_time_pass(site)
        with smtp_server(security="none", port=port, login=False) as server:
            site.client.get("/")
            assert ["ada@example.com"] == [mail["To"] for mail in server.wait_for(1)]
            eventually([("sent", None)], lambda: states(site))


@on_files_and_servers
def test_kill_on_the_wire_repeats_a_copy(
    sites: MakeSite, database_url: str, cleartext: MailServer
) -> None:
    """A process that is killed while a mail is on the wire leaves at most one copy behind."""
    cleartext.may_answer.clear()
    with script(COMMIT, database_url, OUTAGE.format(cleartext.port)) as process:
        assert "committed" == line(process)
        assert cleartext.at_dot.wait(20)
        kill(process)
    cleartext.may_answer.set()
    site = sites(COURIER_SMTP_URI=OUTAGE.format(cleartext.port))
    assert ({}, [("processing", None)]) == (site.deliver(), states(site))
    let_time_pass(site)
    assert {"sent": 1} == site.deliver()
    assert 1 == len({envelope.original_content for envelope in cleartext.envelopes})


FORTY = """
        for number in range(40):
            queue_own(site, f"user{number}@example.com")
        print("committed", flush=True)
        sys.stdin.read()
    """


def test_kill_under_load_loses_nothing(
    sites: MakeSite, database_url: str, cleartext: MailServer
) -> None:
    """Of forty mails each arrives, though the process was killed amid them; copies are few."""
    with script(FORTY, database_url, OUTAGE.format(cleartext.port)) as process:
        cleartext.wait_for(5)
        assert "committed" == line(process)
        kill(process)
    site = sites(COURIER_SMTP_URI=OUTAGE.format(cleartext.port))
    update(site, "courier_message", lease_until=LONG_AGO, kind="own/m")
    deliver_own(site)
    recipients = [envelope.rcpt_tos[0] for envelope in cleartext.envelopes]
    assert {f"user{number}@example.com" for number in range(40)} == set(recipients)
    assert len(recipients) - 40 <= site.app.extensions["courier"].config.smtp_connections
    ids = {mail["Message-ID"] for mail in cleartext.mails}
    assert 40 == len(ids)


def deliver_own(site: Site) -> None:
    """Deliver what another process queued with templates that only it has."""
    import jinja2

    templates = {"own/m.subject.txt": "Hello", "own/m.txt": "hello"}
    site.app.jinja_env.loader = jinja2.DictLoader(templates)
    site.deliver()


@every_database
def test_answer_of_the_dead_is_history(sites: MakeSite, cleartext: MailServer) -> None:
    """A mail that was taken over while it was on the wire is sent once more, and no more."""
    site = sites(COURIER_SMTP_URI=OUTAGE.format(cleartext.port))
    site.add_user()
    queue_recovery(site)
    assert {"sent": 1} == site.deliver()
    let_time_pass(site)
    assert ({}, 1) == (site.deliver(), len(cleartext.envelopes))
