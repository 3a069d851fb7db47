"""Asking for a mail: the answer says nothing about the account, and neither does its making."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import NamedTuple

import pytest
from werkzeug.test import TestResponse

from tests.databases import every_database
from tests.observation import statements, update
from tests.site import Site
from tests.visitor import Visitor, mailed

KINDS = ("recovery", "verification")
#: All of one length, so that lengths can be compared.
PEOPLE = {
    "known": "ada@example.com",
    "unknown": "bob@example.com",
    "inactive": "eve@example.com",
    "verified": "joe@example.com",
    "limited": "kim@example.com",
}
NOTHING = "zoe@example.com"

pytestmark = [every_database, pytest.mark.parametrize("kind", KINDS)]


class Seen(NamedTuple):
    """All that a stranger sees of an answer, and the SQL behind it."""

    status: int
    headers: list[tuple[str, str]]
    body: str
    statements: list[str]


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
    Visitor(site).fill(f"/account/{kind}", email=NOTHING)
    return site


def seen(answer: TestResponse, run: list[str], email: str) -> Seen:
    """``answer`` without form nonce, date and typed address."""
    headers = [(name, value) for name, value in answer.headers if name != "Date"]
    body = re.sub(r'name="form_token"[^>]*>', "", answer.text).replace(email, "")
    return Seen(answer.status_code, headers, body, run)


def ask_in_html(site: Site, kind: str) -> Iterator[Seen]:
    """Send the form for each of ``PEOPLE``; answer what was seen."""
    for email in PEOPLE.values():
        visitor = Visitor(site)
        page = visitor.get(f"/account/{kind}")
        with statements(site) as run:
            answer = visitor.send(page, email=email)
        yield seen(answer, run, email)


def ask_in_json(site: Site, kind: str) -> Iterator[Seen]:
    """Send JSON for each of ``PEOPLE``; answer what was seen."""
    for email in PEOPLE.values():
        with statements(site) as run:
            answer = Visitor(site).post(f"/account/{kind}", json={"email": email})
        yield seen(answer, run, email)


def test_html(settled: Site, kind: str) -> None:
    """Known, unknown, inactive, verified and limited addresses get one answer in HTML."""
    known, *others = ask_in_html(settled, kind)
    assert (303, [known] * 4) == (known.status, others)


def test_json(settled: Site, kind: str) -> None:
    """Known, unknown, inactive, verified and limited addresses get one answer in JSON."""
    known, *others = ask_in_json(settled, kind)
    assert (202, [known] * 4) == (known.status, others)


def test_next_page(settled: Site, kind: str) -> None:
    """The page that follows is the same for all, and names no address."""
    pages = set()
    for email in PEOPLE.values():
        visitor = Visitor(settled)
        visitor.fill(f"/account/{kind}", email=email)
        answer = visitor.get(f"/account/{kind}/code")
        pages.add(re.sub(r'name="form_token"[^>]*>', "", answer.text))
        assert email not in answer.text
    assert 1 == len(pages)


def test_account_table(settled: Site, kind: str) -> None:
    """No statement of a request for a mail touches the accounts."""
    run = [statement for found in ask_in_html(settled, kind) for statement in found.statements]
    assert (True, []) == (
        len(run) >= 10,
        [statement for statement in run if re.search(r"\buser\b", statement)],
    )


def test_one_row(settled: Site, kind: str) -> None:
    """A request writes one message, whoever it is for, and no token."""
    before = len(settled.rows("courier_message"))
    tokens = settled.rows("courier_token")
    list(ask_in_json(settled, kind))
    assert len(PEOPLE) == len(settled.rows("courier_message")) - before
    assert tokens == settled.rows("courier_token")


def test_smtp_down(settled: Site, sites: Callable[..., Site], kind: str) -> None:
    """When no SMTP server answers, a request is answered as when one does."""
    up = [*ask_in_html(settled, kind), *ask_in_json(settled, kind)]
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        uri = f"smtps://user:secret@127.0.0.1:{nobody.getsockname()[1]}/"
        site = sites(COURIER_SMTP_URI=uri, COURIER_REQUESTER_LIMIT="1000/minute")
        update(site, "courier_limit", count=1)
        down = [*ask_in_html(site, kind), *ask_in_json(site, kind)]
        assert {"queued"} <= set(site.deliver())
    assert up == down
