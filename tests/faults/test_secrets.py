"""A server that says back whatever it hears: no secret is found anywhere afterwards."""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from flask_courier.testing import Event, Fault, FaultServer, ReceivedMessage
from tests.cli.commands import run, run_json
from tests.delivery.mails import watched
from tests.faults.scene import LOGIN, MakeSite, at_work, queue_recoveries, settle, wait_until
from tests.observation import dump
from tests.site import Site

ADA = "ada@example.com"
USER, PASSWORD = LOGIN
JSON = {"Accept": "application/json"}


def encoded(text: str) -> str:
    """As AUTH sends it."""
    return base64.b64encode(text.encode()).decode()


AUTH_WORDS = (PASSWORD, encoded(PASSWORD), encoded(f"\0{USER}\0{PASSWORD}"))
SAID_IN_AUTH = f"{' '.join(AUTH_WORDS)} AUTH PLAIN {AUTH_WORDS[-1]}"


class Echo:
    """A server's answer that quotes what it heard; remembers the mails it was given."""

    def __init__(self, code: int | None) -> None:
        self.heard: list[ReceivedMessage] = []
        self._code = code

    def __call__(self, event: Event) -> Fault:
        """What it says: each line of it, and everything in one."""
        lines = [event.line.decode("utf-8", "replace")]
        if event.verb == "AUTH":
            lines = [SAID_IN_AUTH]
        if event.message is not None:
            self.heard.append(event.message)
            lines = event.message.content.decode().splitlines()
        lines.append(" ".join(lines)[:6000])
        if self._code is None:
            return Fault(b"you said " + lines[-1].encode() + b"\r\n", drop=True)
        told = [f"{self._code}-5.7.1 {line}" for line in ["you said", *lines]]
        return Fault("\n".join([*told, f"{self._code} 5.7.1 that was it"]))


def secrets(message: ReceivedMessage) -> list[str]:
    """Password, token, code and link, of a mail that carries the last three."""
    link = re.search(r"https://\S+/recovery/(\S+)", message.text)
    code = re.search(r"^\W*([0-9]{8})\W*$", message.text, re.MULTILINE)
    assert link is not None, message.text
    assert code is not None, message.text
    return [*AUTH_WORDS, link[0], link[1], code[1]]


def everything_told(site: Site) -> Iterator[str]:
    """Every row of every table, every page of the log, and what the commands print."""
    yield repr(dump(site))
    paths = ["/courier/", f"/courier/?q={ADA}"]
    for row in site.rows("courier_message"):
        page = f"/courier/messages/{row['id']}"
        paths += [page, f"{page}/preview"]
        yield run(site, "show", row["id"])[1]
        yield json.dumps(run_json(site, "show", row["id"])[1], ensure_ascii=False)
    for path in paths:
        for headers in ({}, JSON):
            answer = site.client.get(path, headers=headers)
            assert 200 == answer.status_code, path
            yield answer.text
    yield run(site, "list")[1]
    yield json.dumps(run_json(site, "list")[1], ensure_ascii=False)


def everybody(_permission: str) -> bool:
    """Lets anybody see the delivery log."""
    return True


@contextmanager
def talkative(sites: MakeSite) -> Iterator[tuple[FaultServer, Site]]:
    """A server and a site whose delivery log is open to everybody."""
    with FaultServer(security="starttls", login=LOGIN) as server, at_work(sites, server) as site:
        site.courier.log_access(everybody)
        yield server, site


def assert_kept(found: Callable[[], list[str]], message: ReceivedMessage) -> None:
    """No secret of ``message`` is in anything that was told."""
    words = secrets(message)
    for told in found():
        for number, word in enumerate(words):
            assert word not in told, f"secret {number} is in {told[:60]}"


@pytest.mark.parametrize(
    ("verb", "code"),
    [
        *((verb, code) for verb in ("AUTH", "MAIL", "RCPT", "DATA", "DOT") for code in (454, None)),
        ("AUTH", 535),
        ("MAIL", 553),
        ("RCPT", 553),
        ("DATA", 554),
        ("DOT", 554),
        ("DOT", 250),
        ("DOT", 421),
    ],
)
def test_echo(
    sites: MakeSite, caplog: pytest.LogCaptureFixture, verb: str, code: int | None
) -> None:
    """Whatever a server quotes, in any phase and form: no log, row, page or command tells it."""
    caplog.set_level(logging.DEBUG)
    with talkative(sites) as (server, site):
        echo, last = Echo(code), Echo(250)
        server.on(verb, echo, times=1)
        server.on("DOT", last)
        queue_recoveries(site, [ADA])
        wait_until(lambda: 1 <= len(site.rows("courier_attempt")))
        first = list(everything_told(site))
        settle(site)
        queue_again(site)
        settle(site)
        assert "you said" in site.rows("courier_attempt")[0]["reply"]
        told = [*first, *everything_told(site), caplog.text]
        assert last.heard
        for message in [*echo.heard, *last.heard]:
            assert_kept(lambda: told, message)


def queue_again(site: Site) -> None:
    """One more mail, should the first one have come to nothing."""
    queue_recoveries(site, ["bob@example.com"])


def test_traceback(sites: MakeSite, caplog: pytest.LogCaptureFixture) -> None:
    """A result that the database refuses is told with where it happened, and no secret."""
    caplog.set_level(logging.DEBUG)
    with talkative(sites) as (server, site):
        echo = Echo(250)
        server.on("DOT", echo)
        refusal = "CREATE TRIGGER refuse BEFORE INSERT ON courier_attempt BEGIN {} END"
        execute(site, refusal.format("SELECT RAISE(ABORT, 'broken');"))
        with watched("record_failed") as failed:
            queue_recoveries(site, [ADA])
            assert failed.wait(20)
        execute(site, "DROP TRIGGER refuse")
        settle(site)
        assert ", in record\n" in caplog.text
        assert_kept(lambda: [caplog.text, *everything_told(site)], echo.heard[0])


def execute(site: Site, statement: str) -> None:
    """Run a statement on the site's database."""
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.execute(sa.text(statement))
