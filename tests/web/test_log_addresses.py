"""Whatever stands in an address of the log: it is answered, and leads nobody away from the site."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from tests.databases import every_database
from tests.delivery.mails import queue_own
from tests.site import Site

JSON = {"Accept": "application/json"}
FORMATS: list[dict[str, str]] = [{}, JSON]
EVIL = "evil.example"
#: Attributes of HTML that a browser goes to, or that ``log.js`` asks for.
LEADING = {"href", "action", "formaction", "src", "srcset", "data-live"}
#: What follows an answer without a click.
FOLLOWED = ("Location", "Refresh", "Content-Location")
#: Names that a page of the log reads, names that lead away elsewhere, names of Flask's own.
NAMES = st.sampled_from(
    [
        "q", "status", "after", "n", "below", "before", "view", "done", "not_done", "fragment",
        "watch", "id", "all", "action", "form", "message_id", "next", "return", "return_to",
        "return_url", "redirect", "redirect_uri", "url", "continue", "location", "endpoint", "self",
        "values", "_external", "_scheme", "_anchor", "_method",
    ]
)  # fmt: skip
ANYTHING = st.text(max_size=60)
VALUES = st.one_of(
    st.sampled_from(
        [
            f"https://{EVIL}/", f"//{EVIL}/", rf"/\{EVIL}", f"\t//{EVIL}",
            f"javascript://{EVIL}/%0a", f"{EVIL}/?next=//{EVIL}", "..%2f", "1", "-1", "9" * 5000,
            "true", "POST", "retry", "sent", "cancel.rejected", "html", "source", "to:ada",
            "00000000-0000-7000-8000-000000000000", "after:9999-12-31", "attempts:>999999999",
            "before:0001-01-01T00:00:00+23:59", "id:ffff",
        ]
    ),
    ANYTHING,
)  # fmt: skip
QUERIES = st.dictionaries(st.one_of(NAMES, ANYTHING), VALUES, max_size=6)
PAGES = ["", "export.csv", "export.jsonl", "bulk", "health", "messages/{}", "messages/{}/preview"]
thoroughly = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def open_site(site: Site) -> Site:
    """A site that lets everybody see its log, and act; three mails went out, one waits."""
    site.courier.log_access(lambda _permission: True)
    for name in ("ada", "bob", "eve"):
        queue_own(site, f"{name}@example.com")
    site.deliver()
    queue_own(site)
    return site


class Leads(HTMLParser):
    """Where a page leads."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002
        """Keep what leads anywhere."""
        self.found += [value for name, value in attrs if name in LEADING and value]


def leads(answer: TestResponse) -> Iterator[str]:
    """Every address that an answer gives to whoever follows it."""
    yield from (answer.headers[name] for name in FOLLOWED if name in answer.headers)
    for link in answer.headers.get("Link", "").split(", "):
        if link:
            yield link.partition(">")[0].removeprefix("<")
    if answer.mimetype == "text/html":
        yield from Leads(answer.text).found
    elif answer.mimetype == "application/json":
        told = answer.get_json()
        yield from (told[name] for name in ("next", "previous", "url") if told.get(name))


def stays(url: str) -> bool:
    """Whether it is a path of the site; browsers take a backslash for a slash, and drop tabs."""
    if url.startswith("data:image/"):
        return True
    parts = urlsplit(url)
    return parts[:2] == ("", "") and (
        url[:1] in "#?" or parts.path.startswith(("/courier/", "/account/"))
    )


def messages(answer: TestResponse) -> set[str]:
    """The messages that a page leads to."""
    return {url for url in leads(answer) if url.startswith("/courier/messages/")}


def first_id(site: Site) -> str:
    """The id of some message."""
    return str(site.rows("courier_message")[0]["id"])


def encoded(query: dict[str, str]) -> str:
    """``query`` as a client writes it that encodes whatever it was given."""
    return urlencode(query, errors="surrogatepass")


# Reading


@every_database
@thoroughly
@given(query=QUERIES, page=st.sampled_from(PAGES), headers=st.sampled_from(FORMATS))
def test_any_query(
    open_site: Site, query: dict[str, str], page: str, headers: dict[str, str]
) -> None:
    """Whatever a query says, in HTML or JSON, is answered below 500 and leads nowhere else."""
    path = f"/courier/{page}".format(first_id(open_site))
    answer = open_site.client.get(f"{path}?{encoded(query)}", headers=headers)
    assert answer.status_code < 500
    assert [] == [url for url in leads(answer) if not stays(url)]


@pytest.mark.parametrize("name", ["endpoint", "self", "_external", "_scheme", "_method", "_anchor"])
def test_names_of_flask(open_site: Site, name: str) -> None:
    """What ``url_for`` takes for itself means nothing in an address."""
    page = open_site.client.get(f"/courier/?{name}=javascript")
    assert (200, False) == (page.status_code, "javascript" in page.text)


def test_live_updates_are_of_the_page(open_site: Site) -> None:
    """The rows that the page asks for again are those of its own filter, size and place."""
    first = open_site.client.get("/courier/?q=hello&status=sent&n=1", headers=JSON).get_json()
    page = open_site.client.get(first["next"])
    [live] = [url for url in leads(page) if "fragment=1" in url]
    wanted = parse_qs(urlsplit(first["next"]).query) | {"fragment": ["1"]}
    assert wanted.keys() == parse_qs(urlsplit(live).query).keys()
    rows = open_site.client.get(live)
    assert 1 == len(messages(rows))
    assert messages(rows) == messages(page)


@thoroughly
@given(query=QUERIES, headers=st.sampled_from(FORMATS), data=st.data())
def test_any_query_of_account_pages(
    site: Site, query: dict[str, str], headers: dict[str, str], data: st.DataObject
) -> None:
    """So is any of the account pages."""
    rules = {rule.rule for rule in site.app.url_map.iter_rules() if "<" not in rule.rule}
    pages = sorted(rule for rule in rules if rule.startswith(("/account/", "/.well-known/")))
    path = data.draw(st.sampled_from(pages))
    method = data.draw(st.sampled_from(["GET", "POST"]))
    body: dict[str, Any] = (
        {"json": {"email": "ada@example.com", **query}} if method == "POST" else {}
    )
    answer = site.client.open(f"{path}?{encoded(query)}", method=method, headers=headers, **body)
    assert answer.status_code < 500
    assert [] == [url for url in leads(answer) if not stays(url)]


# Acting


@pytest.mark.parametrize("name", ["next", "url", "return_to", "redirect"])
@pytest.mark.parametrize("action", ["test", "bulk", "bulk retry"])
def test_forms_lead_back_to_the_log(open_site: Site, action: str, name: str) -> None:
    """What a form says of where to go next is not listened to."""
    path, _, does = action.partition(" ")
    page = open_site.client.get("/courier/health" if path == "test" else "/courier/").text
    token = page.split(f'action="/courier/{path}"')[1].split('name="form_token" value="')[1]
    form = {"form_token": token.split('"')[0], name: f"//{EVIL}/", "email": "bob@example.com"}
    form |= {"id": first_id(open_site)} | ({"action": does} if does else {})
    query = encoded({name: f"https://{EVIL}/"})
    answer = open_site.client.post(f"/courier/{path}?{query}", data=form)
    assert answer.status_code in (200, 303)
    assert EVIL not in answer.text + str(answer.headers)


# Places in the list


@every_database
@thoroughly
@given(data=st.data())
def test_any_cursor(open_site: Site, data: st.DataObject) -> None:
    """A cursor that was cut, or has another letter or one more, leads to the beginning."""
    beginning = open_site.client.get("/courier/?n=1", headers=JSON).get_json()
    cursor = parse_qs(urlsplit(beginning["next"]).query)["after"][0]
    where = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(st.characters(exclude_characters=cursor[where]))
    changes = [cursor[:where], cursor[:where] + letter + cursor[where + 1 :], cursor + letter]
    spoilt = data.draw(st.sampled_from(changes))
    query = encoded({"n": "1", "after": spoilt})
    answer = open_site.client.get(f"/courier/?{query}", headers=JSON)
    assert 200 == answer.status_code
    found = answer.get_json()
    assert beginning["messages"] == found["messages"]
    assert (spoilt != "") == (found["note"] is not None)


def test_cursor_of_another_filter(open_site: Site) -> None:
    """A place in one list is none in another."""
    next_url = open_site.client.get("/courier/?n=1", headers=JSON).get_json()["next"]
    found = open_site.client.get(f"{next_url}&status=sent", headers=JSON).get_json()
    assert "This place in the list is not known any more" in found["note"]


@pytest.mark.parametrize("headers", FORMATS)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_bulk_from_a_place_that_is_none(
    open_site: Site, method: str, headers: dict[str, str]
) -> None:
    """Where a place cannot be read, nothing is offered and nothing done."""
    body: dict[str, Any] = {"json": {"action": "resend", "all": True}} if method == "POST" else {}
    answer = open_site.client.open(
        "/courier/bulk?below=moonlight", method=method, headers=headers, **body
    )
    assert 400 == answer.status_code
    assert 4 == len(open_site.rows("courier_message"))
