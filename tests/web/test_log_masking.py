"""Without ``read_content``: that there is mail, what became of it, and never whose it is."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.databases import every_database
from tests.delivery.mails import queue_own
from tests.scripted_smtp import scripted_smtp
from tests.site import PUBLIC_URL, Site

MakeSite = Callable[..., Site]

ADA = "ada.lovelace@example.com"
MASKED = "a•••@example.com"
REPLY = f"550-5.1.1 <{ADA}>: no such mailbox\r\n550 5.1.1 ada.lovelace is unknown here"
ACCEPTS = ("text/html", "application/json")


@pytest.fixture
def site(sites: MakeSite) -> Iterator[Site]:
    """A site whose mail to Ada was refused in words that name her, and was asked for by her."""
    with scripted_smtp(RCPT=REPLY) as server:
        site = sites(COURIER_SMTP_URI=server.uri)
        allow(site, "list", "act", "export")
        queue_own(site, ADA, subject=f"For {ADA}", text=f"hello {ADA}")
        site.deliver()
        queue_own(site, ADA)
        identity = site.add_user(ADA)
        site.courier.current_account(lambda: site.get_user(identity))
        yield site


def allow(site: Site, *permissions: str) -> None:
    """Give everybody these permissions."""
    site.courier.log_access(lambda permission: permission in permissions)


def refused(site: Site) -> dict[str, Any]:
    """The message that was refused."""
    return next(r for r in site.rows("courier_message") if r["status"] == "abandoned")


def addresses(site: Site) -> list[str]:
    """Every address of the log that answers GET."""
    adapter = site.app.url_map.bind("acme.example", url_scheme="https")
    message_id = refused(site)["id"]
    found = []
    for rule in site.app.url_map.iter_rules():
        if rule.endpoint.startswith("courier_log.") and "GET" in (rule.methods or ()):
            forms = ["csv", "jsonl"] if "form" in rule.arguments else [None]
            for form in forms:
                values = {"message_id": message_id, "form": form}
                known = {name: values[name] for name in rule.arguments}
                found.append(urlsplit(adapter.build(rule.endpoint, known)).path)
    page = f"/courier/messages/{message_id}"
    found += [f"{page}?view={view}" for view in ("text", "html", "source", "headers")]
    return [*found, "/courier/?fragment=1", f"/courier/?fragment=1&watch={message_id.hex}"]


def text(site: Site, path: str, accept: str) -> str:
    """What is answered there."""
    answer = site.client.get(path, base_url=PUBLIC_URL, headers={"Accept": accept})
    return html.unescape(answer.get_data(as_text=True))


@every_database
@pytest.mark.parametrize("accept", ACCEPTS)
def test_no_answer_names_her(site: Site, accept: str) -> None:
    """No page, title, label, JSON or file has her address or the name of her mailbox."""
    found = addresses(site)
    assert len(found) >= 8
    named = [path for path in found if "lovelace" in text(site, path, accept).lower()]
    assert [] == named
    allow(site, "list", "read_content", "act", "export")
    assert "lovelace" in text(site, "/courier/", accept)


@pytest.mark.parametrize("path", ["/courier/", "/courier/export.csv", "/courier/export.jsonl"])
def test_address_is_masked(site: Site, path: str) -> None:
    """Her first letter and her provider are told, which her owner would know."""
    shown = site.client.get(path).text
    assert MASKED in shown or MASKED.encode("ascii", "backslashreplace").decode() in shown


def test_servers_words_are_masked(site: Site) -> None:
    """What the server said is told, without her."""
    page = html.unescape(site.client.get(f"/courier/messages/{refused(site)['id']}").text)
    assert f"5.1.1 <{MASKED}>: no such mailbox" in page
    assert "5.1.1 a••• is unknown here" in page


def test_message_id_is_told(site: Site) -> None:
    """The Message-ID, which is written like an address, is what a provider is asked by."""
    header = refused(site)["message_id_header"]
    assert header in html.unescape(site.client.get(f"/courier/messages/{refused(site)['id']}").text)


@pytest.mark.parametrize("query", [ADA, ADA.upper(), f"to:{ADA}"])
def test_her_whole_address_is_found(site: Site, query: str) -> None:
    """Who knows the address finds her mail, and it stays masked."""
    shown = site.client.get("/courier/", query_string={"q": query}, headers={"Accept": ACCEPTS[1]})
    assert [MASKED] * 2 == [message["recipient"] for message in shown.get_json()["messages"]]


#: What may be looked for, and what nobody's mail has.
GUESSES = [
    ("ada", "zzz"),
    ("ada.love", "zzz.zzzz"),
    ("lovelace@exam", "zzzzzzzz@exam"),
    ("to:ada", "to:zzz"),
    ("to:ada.lo*", "to:zzz.zz*"),
    ("-to:ada", "-to:zzz"),
    ("subject:lovelace", "subject:zzzzzzzz"),
    ("-subject:lovelace", "-subject:zzzzzzzz"),
    ("error:lovelace", "error:zzzzzzzz"),
    ("error:ada.lovelace@example.com", "error:zzz.zzzzzzzz@example.com"),
    ('"ada.lovelace"', '"zzz.zzzzzzzz"'),
]


@pytest.mark.parametrize(("guess", "nobody"), GUESSES)
@pytest.mark.parametrize("path", ["/courier/", "/courier/export.jsonl", "/courier/bulk"])
def test_nothing_is_guessed_letter_by_letter(
    site: Site, guess: str, nobody: str, path: str
) -> None:
    """A part of her address answers as what is in nobody's, wherever it is looked for."""

    def answer(query: str) -> tuple[int, str]:
        found = site.client.get(path, query_string={"q": query}, headers={"Accept": ACCEPTS[1]})
        return found.status_code, found.get_data(as_text=True).replace(json.dumps(query)[1:-1], "…")

    assert answer(guess) == answer(nobody)


@pytest.mark.parametrize(("guess", "nobody"), GUESSES)
def test_whoever_may_read_finds_it(site: Site, guess: str, nobody: str) -> None:
    """The same is looked for in earnest by who may read it."""
    allow(site, "list", "read_content", "act", "export")
    said = [
        site.client.get("/courier/", query_string={"q": query}, headers={"Accept": ACCEPTS[1]})
        for query in (guess, nobody)
    ]
    assert said[0].get_json()["messages"] != said[1].get_json()["messages"]


def test_beginning_is_explained(site: Site) -> None:
    """Who may not guess is told what to write instead."""
    page = site.client.get("/courier/?q=to:ada").text
    assert "Write the whole address" in page


@pytest.mark.parametrize(("query", "count"), [("to:@example.com", 2), ("error:mailbox", 1)])
def test_what_is_shown_is_found(site: Site, query: str, count: int) -> None:
    """What is shown can be looked for."""
    shown = site.client.get("/courier/", query_string={"q": query}, headers={"Accept": ACCEPTS[1]})
    assert count == len(shown.get_json()["messages"])


def test_what_is_done_with_many_is_masked(site: Site) -> None:
    """Neither the question nor the page of results names her."""
    page = site.client.get("/courier/").text
    token = re.findall(r'name="form_token" value="([^"]+)"', page)[0]
    form = {"form_token": token, "id": [str(r["id"]) for r in site.rows("courier_message")]}
    asked = site.client.post("/courier/bulk", data=form).text
    done = html.unescape(site.client.post("/courier/bulk", data={**form, "action": "resend"}).text)
    assert (False, False, True) == ("lovelace" in asked, "lovelace" in done, MASKED in done)
