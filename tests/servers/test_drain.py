"""Application servers under load: a worker in each process; SIGTERM loses and repeats nothing.

uWSGI embeds one Python, so its tests run under that version alone.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest

from flask_courier.testing import Fault, FaultServer
from tests.servers.app import add_templates, address
from tests.servers.running import PROCESSES, Load, gunicorn, serving, uwsgi
from tests.site import Site

on_two = pytest.mark.parametrize("database_name", ["sqlite", "postgresql"], indirect=True)

#: So many mails have arrived when SIGTERM comes.
ARRIVED = 100
#: Seconds between a final dot and its answer: mail is on the wire at any moment.
DELAY = 0.02


@pytest.fixture
def smtp() -> Iterator[FaultServer]:
    """An SMTP server that takes its time."""
    with FaultServer() as server:
        server.on("DOT", Fault(delay=DELAY))
        yield server


@pytest.fixture
def site(sites: Callable[..., Site], smtp: FaultServer) -> Site:
    """The test's own view of the servers' application; it delivers what they leave."""
    site = sites(COURIER_SMTP_URI=smtp.uri)
    add_templates(site)
    return site


@pytest.fixture
def drains(site: Site, smtp: FaultServer, database_url: str) -> Callable[..., None]:
    """Runs a server, ends it under load, and checks what became of each mail."""

    def run(command: Sequence[str], *, queues_at_import: bool = False) -> None:
        with serving(command, database_url, smtp.uri, queues_at_import=queues_at_import) as server:
            server.wait_until_it_answers()
            load = Load(server.path)
            load.start()
            try:
                smtp.wait_for(ARRIVED, timeout=60)
                code = server.terminate()
            finally:
                load.stop()
            log = server.log.read_text()
        assert (0, {200}) == (code, set(load.answers.values())), log
        assert sorted(recipients(smtp)) == sorted(in_status(site, "sent")), log
        assert [] == in_status(site, "processing"), log
        assert_one_worker_each(site)
        smtp.forgive()
        site.deliver()
        assert_each_once(site, smtp, load)

    return run


def assert_each_once(site: Site, smtp: FaultServer, load: Load) -> None:
    """What was answered is queued, what was queued has been sent, and sent once."""
    queued = set(in_status(site, "sent"))
    assert {address(name) for name in load.answers} <= queued
    assert dict.fromkeys(queued, 1) == Counter(recipients(smtp))


def assert_one_worker_each(site: Site) -> None:
    """Each of the three processes that serve had a worker, and no process had two."""
    processes = Counter(row["name"].split(":")[1] for row in site.rows("courier_worker"))
    assert {1} == set(processes.values())
    assert len(processes) >= PROCESSES


def recipients(smtp: FaultServer) -> list[str]:
    """To whom mail was accepted."""
    return [recipient for message in smtp.messages for recipient in message.recipients]


def in_status(site: Site, status: str) -> list[str]:
    """The recipients of the messages in this status."""
    rows = site.rows("courier_message")
    return [row["recipient"] for row in rows if row["status"] == status]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database_name", "kind"),
    [("sqlite", "sync"), ("postgresql", "gthread")],
    indirect=["database_name"],
)
def test_gunicorn(drains: Callable[..., None], kind: str) -> None:
    """Gunicorn, each process with an application of its own: every mail once, none in hand."""
    drains(gunicorn(kind))


@pytest.mark.slow
@on_two
@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_gunicorn_preload(drains: Callable[..., None], kind: str) -> None:
    """Gunicorn, forked from a parent whose own worker is at work: every mail once, none in hand."""
    drains(gunicorn(kind, "--preload"), queues_at_import=True)


def needs_uwsgi() -> None:
    """Skip where Debian's uWSGI embeds another Python; fail in CI where it is not installed."""
    if shutil.which("uwsgi") is None:
        reason = "uwsgi is not on PATH (Debian: uwsgi-core, uwsgi-plugin-python3)"
        if os.environ.get("CI"):
            raise AssertionError(reason)
        pytest.skip(reason)
    said = subprocess.run(
        ["uwsgi", "--plugin", "python3", "--python-version"],
        capture_output=True,
        text=True,
        check=True,
    )
    inside, ours = said.stdout.strip(), ".".join(map(str, sys.version_info[:2]))
    if not inside.startswith(f"{ours}."):
        pytest.skip(f"not for Python {ours}: the uwsgi on PATH has Python {inside} inside")


@pytest.mark.slow
def test_uwsgi_lazy(drains: Callable[..., None]) -> None:
    """uWSGI, each process with an application of its own: every mail once, none in hand."""
    needs_uwsgi()
    drains(uwsgi("--lazy-apps"))


@pytest.mark.slow
@on_two
def test_uwsgi(drains: Callable[..., None]) -> None:
    """uWSGI, forked from a parent that queued mail, by none of Python's forks: every mail once."""
    needs_uwsgi()
    drains(uwsgi(), queues_at_import=True)
