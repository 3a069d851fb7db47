"""``flask courier …``: the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import jinja2
import pytest
from flask import Flask

from tests.delivery.mails import eventually, queue_own, states
from tests.delivery.test_worker import OUTAGE
from tests.scripted_smtp import scripted_smtp
from tests.site import Site, make_site
from tests.smtp_server import MailServer, smtp_server

MakeSite = Callable[..., Site]
ROOT = Path(__file__).parents[1]
TEMPLATES = {"own/m.subject.txt": "Hello", "own/m.txt": "hello"}


@pytest.fixture
def cleartext() -> Iterator[MailServer]:
    """An SMTP server without TLS or AUTH."""
    with smtp_server(security="none", login=False) as server:
        yield server


def create_app() -> Flask:
    """The application that ``flask`` finds in a process of its own."""
    app = make_site(
        os.environ["TEST_DATABASE_URL"],
        create=False,
        COURIER_SMTP_URI=os.environ["TEST_SMTP_URI"],
        COURIER_WORKER="external",
        COURIER_SMTP_CONNECTIONS=1,
    ).app
    app.jinja_env.loader = jinja2.DictLoader(TEMPLATES)
    return app


@contextmanager
def flask(url: str, smtp_uri: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """``flask …`` in a process of its own."""
    environment = {
        **os.environ,
        "FLASK_APP": "tests.test_cli",
        "TEST_DATABASE_URL": url,
        "TEST_SMTP_URI": smtp_uri,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "flask", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def queue(site: Site, to: str = "ada@example.com") -> None:
    """Queue a mail that only the application of ``create_app`` can render."""
    with site.app.app_context():
        site.courier.send("own/m", to=to)
        site.db.session.commit()


def run(site: Site, *arguments: str) -> tuple[int, str]:
    """``flask courier …`` in this process: its exit code and what it prints."""
    result = site.app.test_cli_runner().invoke(args=["courier", *arguments])
    return result.exit_code, result.output


def test_once_with_nothing_to_do(site: Site) -> None:
    """``worker --once`` with an empty queue says so and ends with 0."""
    assert (0, "nothing was due\n") == run(site, "worker", "--once")


def test_once(sites: MakeSite) -> None:
    """``worker --once`` delivers what is due and says what came of it."""

    def answer(line: bytes) -> str:
        return "550 5.1.1 no such user" if b"eve" in line else "250 OK"

    with scripted_smtp(RCPT=answer) as server:
        site = sites(COURIER_SMTP_URI=server.uri)
        for name in ("ada", "bob", "eve"):
            queue_own(site, f"{name}@example.com")
        assert (0, "1 abandoned, 2 sent\n") == run(site, "worker", "--once")


def test_once_as_json(site: Site) -> None:
    """``worker --once --json`` prints the counts as JSON."""
    queue_own(site)
    code, output = run(site, "worker", "--once", "--json")
    assert (0, {"sent": 1}) == (code, json.loads(output))


def test_once_with_nothing_to_do_as_json(site: Site) -> None:
    """Without any message the JSON is an empty object."""
    assert (0, "{}\n") == run(site, "worker", "--once", "--json")


@pytest.mark.parametrize("arguments", [("--help",), ("worker", "--help")])
def test_help(site: Site, arguments: tuple[str, ...]) -> None:
    """Each command explains itself."""
    code, output = run(site, *arguments)
    assert (0, "Usage: ") == (code, output[:7])


def test_help_of_the_group(site: Site) -> None:
    """The group lists its commands."""
    _, output = run(site, "--help")
    assert "Deliver mail that waits in the outbox." in output
    assert "worker  Deliver mail until SIGTERM or Ctrl-C" in output


def test_unknown_command(site: Site) -> None:
    """An unknown command ends with 2."""
    code, output = run(site, "wroker")
    assert 2 == code
    assert "No such command 'wroker'" in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_worker_until_a_signal(
    sites: MakeSite, database_url: str, cleartext: MailServer, number: signal.Signals
) -> None:
    """``worker`` delivers what comes; at a signal it finishes the mail on the wire and ends."""
    smtp_uri = OUTAGE.format(cleartext.port)
    site = sites(COURIER_SMTP_URI=smtp_uri)
    with flask(database_url, smtp_uri, "courier", "worker") as process:
        queue(site)
        cleartext.wait_for(1)
        cleartext.at_dot.clear()
        cleartext.may_answer.clear()
        queue(site)
        assert cleartext.at_dot.wait(20)
        process.send_signal(number)
        cleartext.may_answer.set()
        output, errors = process.communicate(timeout=20)
    assert (0, "") == (process.returncode, output)
    assert "flask_courier worker: delivering; stop with Ctrl-C.\n" == errors
    assert [("sent", None)] * 2 == states(site)


def test_two_workers_share_the_queue(
    sites: MakeSite, database_url: str, cleartext: MailServer
) -> None:
    """Two worker processes deliver every message once."""
    smtp_uri = OUTAGE.format(cleartext.port)
    site = sites(COURIER_SMTP_URI=smtp_uri)
    for number in range(30):
        queue(site, f"user{number}@example.com")
    command = ("courier", "worker")
    with flask(database_url, smtp_uri, *command), flask(database_url, smtp_uri, *command):
        eventually([("sent", None)] * 30, lambda: states(site))
    recipients = sorted(envelope.rcpt_tos[0] for envelope in cleartext.envelopes)
    assert sorted(f"user{number}@example.com" for number in range(30)) == recipients
