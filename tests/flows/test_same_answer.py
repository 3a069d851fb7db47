"""Asking for a mail: the answer says nothing about the account, and neither does its making."""

from __future__ import annotations

import cProfile
import pstats
import re
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timezone
from functools import partial
from typing import NamedTuple

import pytest
from werkzeug.test import TestResponse

from tests.databases import every_database
from tests.observation import statements, update
from tests.scripted_smtp import DROP, scripted_smtp
from tests.site import Site
from tests.smtp_server import closed_port
from tests.visitor import Visitor, mailed

#: The flows that a stranger can begin, and where.
KINDS = {"recovery": "recovery", "verification": "verification", "sign_in": "sign-in"}
#: All of one length, so that lengths can be compared.
PEOPLE = {
    "known": "ada@example.com",
    "unknown": "bob@example.com",
    "inactive": "eve@example.com",
    "verified": "joe@example.com",
    "limited": "kim@example.com",
}
NOTHING = "zoe@example.com"
OPEN = {"COURIER_SIGN_IN": True, "COURIER_REQUESTER_LIMIT": "1000/minute"}
#: What makes and checks signatures below us.
SIGNING = re.compile("hmac|itsdangerous|hashlib|openssl")

pytestmark = [every_database, pytest.mark.parametrize("kind", KINDS)]


class Seen(NamedTuple):
    """All that a stranger sees of an answer, and the SQL behind it."""

    status: int
    headers: list[tuple[str, str]]
    body: str
    statements: list[str]


@pytest.fixture
def site(sites: Callable[..., Site]) -> Site:
    """A site with every flow that a stranger can begin."""
    return sites(COURIER_SIGN_IN=True)


@pytest.fixture
def settled(site: Site, kind: str) -> Site:
    """A site that knows four of ``PEOPLE``, each in another state."""
    site.add_user(PEOPLE["known"])
    site.add_user(PEOPLE["inactive"], is_active=False)
    site.add_user(PEOPLE["verified"], email_verified_at=datetime.now(timezone.utc))
    site.add_user(PEOPLE["limited"])
    mailed(site, kind, PEOPLE["limited"])
    update(site, "courier_limit", count=1000)
    # The first request of all makes the counter of its client.
    Visitor(site).fill(page_of(kind), email=NOTHING)
    return site


def page_of(kind: str) -> str:
    """Where a mail of this kind is asked for."""
    return f"/account/{KINDS[kind]}"


def seen(answer: TestResponse, run: list[str], email: str) -> Seen:
    """``answer`` without form nonce, date and typed address."""
    headers = [(name, value) for name, value in answer.headers if name != "Date"]
    body = re.sub(r'name="form_token"[^>]*>', "", answer.text).replace(email, "")
    return Seen(answer.status_code, headers, body, run)


def ask_in_html(site: Site, kind: str) -> Iterator[Seen]:
    """Send the form for each of ``PEOPLE``; answer what was seen."""
    for email in PEOPLE.values():
        visitor = Visitor(site)
        page = visitor.get(page_of(kind))
        with statements(site) as run:
            answer = visitor.send(page, email=email)
        yield seen(answer, run, email)


def ask_in_json(site: Site, kind: str) -> Iterator[Seen]:
    """Send JSON for each of ``PEOPLE``; answer what was seen."""
    for email in PEOPLE.values():
        with statements(site) as run:
            answer = Visitor(site).post(page_of(kind), json={"email": email})
        yield seen(answer, run, email)


def test_s01_one_answer_in_html(settled: Site, kind: str) -> None:
    """Known, unknown, inactive, verified and limited addresses get one answer in HTML."""
    known, *others = ask_in_html(settled, kind)
    assert (303, [known] * 4) == (known.status, others)


def test_s01_one_answer_in_json(settled: Site, kind: str) -> None:
    """Known, unknown, inactive, verified and limited addresses get one answer in JSON."""
    known, *others = ask_in_json(settled, kind)
    assert (202, [known] * 4) == (known.status, others)


def test_s01_one_next_page(settled: Site, kind: str) -> None:
    """The page that follows is the same for all, and names no address."""
    pages = set()
    for email in PEOPLE.values():
        visitor = Visitor(settled)
        visitor.fill(page_of(kind), email=email)
        answer = visitor.get(f"{page_of(kind)}/code")
        pages.add(re.sub(r'name="form_token"[^>]*>', "", answer.text))
        assert email not in answer.text
    assert 1 == len(pages)


def test_s02_no_statement_touches_the_accounts(settled: Site, kind: str) -> None:
    """No statement of a request for a mail touches the accounts."""
    run = [statement for found in ask_in_html(settled, kind) for statement in found.statements]
    assert (True, []) == (
        len(run) >= len(PEOPLE),
        [statement for statement in run if re.search(r"\buser\b", statement)],
    )


def test_s02_one_row(settled: Site, kind: str) -> None:
    """A request writes one message, whoever it is for, and no token."""
    before = len(settled.rows("courier_message"))
    tokens = settled.rows("courier_token")
    list(ask_in_json(settled, kind))
    assert len(PEOPLE) == len(settled.rows("courier_message")) - before
    assert tokens == settled.rows("courier_token")


def calls(work: Callable[[], object]) -> dict[str, int]:
    """How often ``work`` calls each function of ours, and each that signs or makes an HMAC."""
    profile = cProfile.Profile()
    profile.runcall(work)
    stats = pstats.Stats(profile).get_stats_profile().func_profiles
    return {
        name: int(part.ncalls.partition("/")[0])
        for name, part in stats.items()
        if "flask_courier" in part.file_name or SIGNING.search(f"{part.file_name} {name}")
    }


def test_s02_same_statements_and_signatures(settled: Site, kind: str) -> None:
    """Every sort of address costs the same SQL in the same order, and the same signer calls."""
    costs = []
    for email in (NOTHING, *PEOPLE.values()):
        visitor = Visitor(settled)
        page = visitor.get(page_of(kind))
        with statements(settled) as run:
            called = calls(partial(visitor.send, page, email=email))
        costs.append((run, called))
    _warm_up, known, *others = costs
    assert (True, True) == (len(known[0]) >= 1, known[1]["_mac"] >= 1)
    assert [known] * 4 == others


@contextmanager
def refusing() -> Iterator[str]:
    """The URI of a port where nobody listens."""
    with closed_port() as port:
        yield f"smtps://user:secret@127.0.0.1:{port}/"


@contextmanager
def failing() -> Iterator[str]:
    """The URI of a server that fails at its first word and hangs up."""
    with scripted_smtp(BANNER=f"554 5.3.2 go away{DROP}") as server:
        yield server.uri


@contextmanager
def silent() -> Iterator[str]:
    """The URI of a server that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(100)
        yield f"smtps://user:secret@127.0.0.1:{listener.getsockname()[1]}/"


@pytest.mark.parametrize("trouble", [refusing, failing])
def test_s03_smtp_refuses(
    settled: Site,
    sites: Callable[..., Site],
    kind: str,
    trouble: Callable[[], AbstractContextManager[str]],
) -> None:
    """When no SMTP server answers, or it fails, a request is answered as when one does."""
    up = [*ask_in_html(settled, kind), *ask_in_json(settled, kind)]
    with trouble() as uri:
        site = sites(COURIER_SMTP_URI=uri, **OPEN)
        update(site, "courier_limit", count=1)
        down = [*ask_in_html(site, kind), *ask_in_json(site, kind)]
        assert {"queued"} <= set(site.deliver())
    assert up == down


def test_s03_smtp_times_out(settled: Site, sites: Callable[..., Site], kind: str) -> None:
    """While a worker waits for a server that says nothing, requests are answered as ever."""
    up = [*ask_in_html(settled, kind), *ask_in_json(settled, kind)]
    with ThreadPoolExecutor(1) as pool:
        with silent() as uri:
            site = sites(COURIER_SMTP_URI=uri, **OPEN)
            update(site, "courier_limit", count=1)
            waiting = pool.submit(site.deliver)
            down = [*ask_in_html(site, kind), *ask_in_json(site, kind)]
            assert not waiting.done()
        # Its connections were cut with the server's end.
        assert {"queued"} <= set(waiting.result())
    # The worker's own statements ran between those of the requests.
    assert [found._replace(statements=[]) for found in up] == [
        found._replace(statements=[]) for found in down
    ]
