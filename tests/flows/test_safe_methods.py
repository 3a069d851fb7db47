"""Safe methods: mail scanners and browsers fetch whatever they find, and change nothing by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from werkzeug.routing import Rule

from tests.databases import every_database
from tests.observation import dump
from tests.purposes import link_of, open_house
from tests.site import PUBLIC_URL, Site
from tests.visitor import ADA, FINAL, Mail, Visitor

#: All purposes but one: with an address change to take back, there is none to confirm.
KINDS = tuple(kind for kind in FINAL if kind != "email_undo")
METHODS = ("GET", "HEAD", "OPTIONS")
ACCEPTS = ("text/html", "application/json")

pytestmark = [every_database, pytest.mark.parametrize("accept", ACCEPTS)]


@pytest.fixture
def site(sites: Callable[..., Site]) -> Site:
    """A site with every flow."""
    return open_house(sites)


@pytest.fixture
def mails(site: Site) -> dict[str, Mail]:
    """A mail of each kind, sent and unused, and a log page that is open."""
    site.courier.log_access(lambda _permission: True)
    return {kind: link_of(site, kind) for kind in KINDS}


def addresses(site: Site, mails: dict[str, Mail]) -> Iterator[str]:
    """Every address of ours that answers GET, with values that exist and values that do not."""
    message = site.rows("courier_message")[0]["id"]
    for rule in site.app.url_map.iter_rules():
        if rule.endpoint.startswith("courier") and "GET" in (rule.methods or ()):
            for values in possible(rule, mails, message):
                adapter = site.app.url_map.bind("acme.example", url_scheme="https")
                yield urlsplit(adapter.build(rule.endpoint, values)).path


def possible(rule: Rule, mails: dict[str, Mail], message: Any) -> list[dict[str, Any]]:
    """What may stand in the variable parts of ``rule``."""
    if "token" in rule.arguments:
        return [{"token": text} for text in (*[mail.token for mail in mails.values()], "junk")]
    if "message_id" in rule.arguments:
        return [{"message_id": message}, {"message_id": "00000000-0000-7000-8000-000000000000"}]
    if "filename" in rule.arguments:
        return [{"filename": "courier/courier.css"}, {"filename": "missing"}]
    if "form" in rule.arguments:
        return [{"form": "csv"}, {"form": "jsonl"}]
    return [{}]


def fetch(visitor: Visitor, method: str, address: str, accept: str) -> int:
    """Ask for ``address``; answer the status."""
    with visitor.client.open(
        address, method=method, base_url=PUBLIC_URL, headers={"Accept": accept}
    ) as answer:
        return answer.status_code


def test_s22_database_is_unchanged(site: Site, mails: dict[str, Mail], accept: str) -> None:
    """GET, HEAD and OPTIONS of every address change no row, save when a link was fetched first."""
    before = dump(site, without=["opened_at"])
    found = list(addresses(site, mails))
    visitor = Visitor(site)
    answers = [fetch(visitor, method, path, accept) for path in found for method in METHODS]
    assert (True, set()) == (len(found) >= 17, set(answers) - {200, 303, 401, 404, 410})
    assert before == dump(site, without=["opened_at"])


def test_s22_with_cookies(site: Site, mails: dict[str, Mail], accept: str) -> None:
    """With the cookie of an opened link GET, HEAD and OPTIONS change no row either."""
    visitor = Visitor(site)
    for mail in mails.values():
        visitor.follow(mail.link)
    before = dump(site)
    found = list(addresses(site, mails))
    answers = {fetch(visitor, method, path, accept) for path in found for method in METHODS}
    assert (set(), before) == (answers - {200, 303, 401, 404, 410}, dump(site))


def test_opened_at(site: Site, mails: dict[str, Mail], accept: str) -> None:
    """The first fetch of a link is noted, and later ones are not."""
    path = urlsplit(mails["recovery"].link).path
    fetch(Visitor(site), "GET", path, accept)
    first = [row["opened_at"] for row in site.rows("courier_token")]
    fetch(Visitor(site), "GET", path, accept)
    assert 1 == len([moment for moment in first if moment is not None])
    assert first == [row["opened_at"] for row in site.rows("courier_token")]


def test_s22_options_run_no_view(site: Site, mails: dict[str, Mail], accept: str) -> None:
    """OPTIONS of a link says what is allowed, and does not even note that it was fetched."""
    before = dump(site)
    for mail in mails.values():
        path = urlsplit(mail.link).path
        with Visitor(site).client.open(
            path, method="OPTIONS", base_url=PUBLIC_URL, headers={"Accept": accept}
        ) as answer:
            assert (200, b"", False) == (
                answer.status_code,
                answer.data,
                "Location" in answer.headers,
            )
            assert ["GET", "HEAD", "OPTIONS"] == sorted(answer.headers["Allow"].split(", "))
    assert before == dump(site)


def test_query(site: Site, mails: dict[str, Mail], accept: str) -> None:
    """Fields in the address of a page are not taken for a form."""
    before, visitor = dump(site), Visitor(site)
    for kind in ("recovery", "verification"):
        mail = mails[kind]
        query = f"email={ADA}&code={mail.code}&token={mail.token}&password=long+enough+password"
        for page in ("", "/code", "/password" if kind == "recovery" else "/confirm"):
            fetch(visitor, "GET", f"/account/{kind}{page}?{query}", accept)
    assert before == dump(site)
