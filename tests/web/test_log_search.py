"""The search of the delivery log: what its box explains, its places, its statuses with counts."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flask_courier.core.search_values import READERS
from flask_courier.storage import health, search
from tests.databases import every_database
from tests.delivery.mails import LONG_AGO, only, queue_own
from tests.observation import statements, update
from tests.site import Site

MakeSite = Callable[..., Site]

JSON = {"Accept": "application/json"}
CHOSEN = ' aria-current="true"'
LOST = "This place in the list is not known any more. Here is its beginning."


@pytest.fixture
def open_site(site: Site) -> Site:
    """A site that lets everybody see its log."""
    site.courier.log_access(lambda _permission: True)
    return site


def listed(site: Site, **query: str) -> dict[str, Any]:
    """The list as JSON."""
    answer: dict[str, Any] = site.client.get(
        f"/courier/?{urlencode(query)}", headers=JSON
    ).get_json()
    return answer


def recipients(site: Site, **query: str) -> list[str]:
    """Whom the list shows, in its order."""
    return [message["recipient"] for message in listed(site, **query)["messages"]]


def page_of(site: Site, **query: str) -> str:
    """The list as a page."""
    return site.client.get(f"/courier/?{urlencode(query)}").text


def chips(page: str) -> list[tuple[str, str]]:
    """What each status link says, and whether it is the chosen one."""
    found = re.findall(r'<li><a href="([^"]+)"( aria-current="true")?[^>]*>(.*?)</a></li>', page)
    return [(re.sub(r"<[^>]+>", "", words), mark) for _url, mark, words in found]


# What the box explains


BAD = {
    "foo:bar": "There is no foo: here.",
    "statsu:sent": "Did you mean status:?",
    "status:lost": "There is no status &#39;lost&#39;",
    "after:soon": "&#39;soon&#39; is no time: write today, yesterday,",
    "attempts:many": "attempts: takes a number",
    "code:oops": "A code is 550, 4xx, 5.1.1 or 5.7",
    "id:xyz": "An id is as a message&#39;s page shows it",
    'subject:"open': "A quotation mark is open",
    "to:": "There is nothing to look for after to:",
    "x " * 11: "A search has at most 10 terms.",
    "x" * 201: "A search has at most 200 characters; this one has 201.",
}


@pytest.mark.parametrize("text", BAD)
def test_bad_search_is_explained(open_site: Site, text: str) -> None:
    """What cannot be understood is explained under the box, which keeps it; nothing is listed."""
    queue_own(open_site)
    answer = open_site.client.get(f"/courier/?{urlencode({'q': text})}")
    box = re.search(r'<input type="search"[^>]*>', answer.text)
    assert box is not None
    assert (200, "ada@example.com</a>" in answer.text) == (answer.status_code, False)
    assert f'value="{html.escape(text.strip())}"' in box[0].replace("&#34;", "&quot;")
    assert ('aria-describedby="courier-problem"' in box[0], "aria-invalid" in box[0]) == (
        True,
        True,
    )
    told = re.search(r'id="courier-problem" role="alert">(.*?)</div>', answer.text, re.DOTALL)
    assert told is not None
    assert BAD[text] in told[1].replace("&#34;", "&quot;")


def test_bad_search_in_json(open_site: Site) -> None:
    """JSON gets a problem that names each term that is wrong."""
    answer = open_site.client.get("/courier/?q=foo:bar+code:oops+ada", headers=JSON)
    assert (400, "application/problem+json") == (answer.status_code, answer.mimetype)
    told = answer.get_json()
    assert "query" == told["reason"]
    assert {"foo:bar", "code:oops"} == told["errors"].keys()


def test_unknown_status(open_site: Site) -> None:
    """A status that there is not is explained as a term would be."""
    queue_own(open_site)
    page = page_of(open_site, status="lost")
    assert "There is no status &#39;lost&#39;" in page
    assert "ada@example.com</a>" not in page
    answer = open_site.client.get("/courier/?status=lost", headers=JSON)
    assert (400, ["status=lost"]) == (answer.status_code, list(answer.get_json()["errors"]))


def test_help_has_every_operator(open_site: Site) -> None:
    """The help beside the box shows each operator once."""
    shown = re.findall(r"<dt><code>([a-z]+):", page_of(open_site))
    assert list(READERS) == shown


@pytest.mark.parametrize("path", ["export.csv", "export.jsonl"])
def test_export_of_a_bad_search(open_site: Site, path: str) -> None:
    """No file begins where the search cannot be carried out."""
    assert 400 == open_site.client.get(f"/courier/{path}?q=foo:bar").status_code


def test_days_begin_where_the_reader_is(open_site: Site) -> None:
    """The help names the time zone that the browser has told."""
    client = open_site.client
    client.set_cookie("courier_tz", "Asia/Tokyo", path="/courier/")
    assert "midnight in Asia/Tokyo" in client.get("/courier/").text


@pytest.mark.parametrize("name", ["Mars/Olympus", "..", "Europe", "%00", "x" * 999])
def test_zone_that_is_none(open_site: Site, name: str) -> None:
    """What is no time zone is UTC."""
    client = open_site.client
    client.set_cookie("courier_tz", name, path="/courier/")
    assert "midnight in UTC" in client.get("/courier/?q=after:today").text


# Empty


def test_nothing_matches(open_site: Site) -> None:
    """A search without a match says what was looked for, and how to clear it."""
    queue_own(open_site)
    page = page_of(open_site, q="<zoe>", status="sent")
    assert "No message matches" in page
    assert "&lt;zoe&gt;" in page
    assert '<a class="courier-button courier-button-quiet" href="/courier/">Clear' in page


# Places


@pytest.fixture
def seven(open_site: Site) -> Site:
    """A site with seven messages."""
    for number in range(7):
        queue_own(open_site, f"user{number}@example.com")
    return open_site


def digits(answer: dict[str, Any]) -> str:
    """Which messages a page shows."""
    return "".join(message["recipient"][4] for message in answer["messages"])


@pytest.mark.parametrize("text", ["", "to:user", "user"])
def test_pages_go_both_ways(seven: Site, text: str) -> None:
    """From every page one gets back to the one before it, up to the newest."""
    client, answer, pages = seven.client, listed(seven, q=text, n="3"), []
    while True:
        pages.append(digits(answer))
        if answer["next"] is None:
            break
        answer = client.get(answer["next"], headers=JSON).get_json()
    while answer["previous"] is not None:
        answer = client.get(answer["previous"], headers=JSON).get_json()
        pages.append(digits(answer))
    assert ["654", "321", "0", "321", "654"] == pages


def test_page_links(seven: Site) -> None:
    """A page in the middle leads to older ones, to newer ones and to the newest."""
    following = listed(seven, n="3")["next"]
    page = seven.client.get(following).text
    [nav] = re.findall(r'<nav class="courier-pager".*?</nav>', page, re.DOTALL)
    assert ["Newest", "Newer messages", "Older messages"] == re.findall(r">([^<>]+)</a>", nav)
    assert "courier-pager" not in page_of(seven)


def place(site: Site, **query: str) -> str:
    """The sealed place of the next page."""
    following: str = listed(site, n="3", **query)["next"]
    return parse_qs(urlsplit(following).query)["after"][0]


@pytest.mark.parametrize("change", ["forged", "foreign", "stale", "bare", "empty", "long"])
def test_place_that_is_not_known(seven: Site, sites: MakeSite, change: str) -> None:
    """Another place, or one of another filter or key, is the first page, which says so."""
    genuine = place(seven)
    shown = seven
    if change == "stale":
        shown = sites(SECRET_KEY="another secret of this application")
        shown.courier.log_access(lambda _permission: True)
    sealed = {
        "forged": f"{genuine[:-1]}{'A' if genuine[-1] != 'A' else 'B'}",
        "foreign": place(seven, q="user"),
        "stale": genuine,
        "bare": str(uuid.UUID(genuine[1:33])),
        "empty": ".",
        "long": "é" * 5000,
    }[change]
    answer = listed(shown, after=sealed, n="3")
    assert ("654", LOST) == (digits(answer), answer["note"])
    assert LOST in page_of(shown, after=sealed)


def test_place_under_an_older_key(seven: Site, sites: MakeSite) -> None:
    """A place outlives a change of keys, as long as the old one is a fallback."""
    sealed = place(seven)
    secret = seven.app.config["SECRET_KEY"]
    later = sites(SECRET_KEY="another secret of this application", SECRET_KEY_FALLBACKS=[secret])
    later.courier.log_access(lambda _permission: True)
    assert ("321", None) == (digits(listed(later, after=sealed, n="3")), listed(later)["note"])


def test_search_goes_on(seven: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that did not come to the end says how far it came, and goes on from there."""
    monkeypatch.setattr(search, "WINDOW", 4)
    page = page_of(seven, q="user1@")
    assert "Nothing found so far" in page
    [further] = re.findall(r'href="([^"]+)" rel="next">Search further back<', page)
    found = seven.client.get(html.unescape(further)).text
    assert "user1@example.com</a>" in found
    assert "Searched back to" not in found


def test_search_that_found_some(seven: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below what was found stands how far the search came."""
    monkeypatch.setattr(search, "WINDOW", 4)
    page = page_of(seven, q="user5@")
    assert "user5@example.com</a>" in page
    assert "Searched back to" in page
    assert "the numbers above count up to there" in page


# Statuses


def test_statuses_with_counts(open_site: Site) -> None:
    """Each status that messages have is one click away, with how many; the chosen one is marked."""
    for name in ("ada", "bob"):
        queue_own(open_site, f"{name}@example.com")
    open_site.deliver()
    queue_own(open_site)
    page = page_of(open_site, status="sent")

    assert [("All", ""), ("Waiting 1", ""), ("Sent 2", CHOSEN)] == chips(page)
    assert 'href="/courier/?status=queued"' in page


def test_counts_of_a_search(open_site: Site) -> None:
    """With a search its matches are counted."""
    for name in ("ada", "adam", "bob"):
        queue_own(open_site, f"{name}@example.com")
    assert [("All", CHOSEN), ("Waiting 2", "")] == chips(page_of(open_site, q="ada"))


def test_counts_end(seven: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the cap a count says that there are more."""
    monkeypatch.setattr("flask_courier.web.log.chips.STATUS_CAP", 5)
    assert ("Waiting 5+", "") in chips(page_of(seven, q="user"))
    assert 1_000 == health.STATUS_CAP


def test_attention_comes_first(open_site: Site) -> None:
    """What needs attention is the first of the statuses, and one click away."""
    queue_own(open_site)
    assert ("All", CHOSEN) == chips(page_of(open_site))[0]
    update(open_site, "courier_message", next_attempt_at=LONG_AGO)
    page = page_of(open_site)
    assert ("Needs attention 1", "") == chips(page)[0]
    assert "Overdue</span>" in page
    assert ["ada@example.com"] == recipients(open_site, status="attention")


@every_database
@pytest.mark.parametrize(
    ("values", "mark"),
    [
        ({"status": "abandoned"}, None),
        ({"status": "held"}, None),
        ({"status": "processing", "lease_until": LONG_AGO}, "Stuck"),
        ({"status": "queued", "next_attempt_at": LONG_AGO}, "Overdue"),
    ],
)
def test_what_needs_attention(open_site: Site, values: dict[str, Any], mark: str | None) -> None:
    """What the count calls in need of attention is what the link shows."""
    queue_own(open_site)
    update(open_site, "courier_message", **values)
    page = page_of(open_site, status="attention")
    assert ("Needs attention 1", CHOSEN) == chips(page)[0]
    assert "ada@example.com</a>" in page
    assert mark is None or f"{mark}</span>" in page


# Cost


SEARCHES = [
    "", "to:ada", "to:ada@example.com", "ada", "subject:x", "status:sent", "-status:sent",
    "status:attention", "error:x", "code:550", "id:1234", "msgid:x", "after:-1h", "attempts:>2",
    "kind:recovery", "-ada",
]  # fmt: skip


@every_database
@pytest.mark.parametrize("status", ["", "sent", "attention"])
def test_statements(open_site: Site, status: str) -> None:
    """No list takes more than six statements, whatever is looked for."""
    for name in ("ada", "adam"):
        queue_own(open_site, f"{name}@example.com")
    counted = {}
    for text in SEARCHES:
        with statements(open_site) as seen:
            page_of(open_site, q=text, status=status)
        counted[text] = len(seen)
    assert {} == {text: number for text, number in counted.items() if not 0 < number <= 6}


# Anything


WORDS = st.sampled_from(
    [
        '"',
        "-",
        ":",
        "@",
        "*",
        "%",
        "_",
        "\\",
        "\0",
        " ",
        "to:",
        "after:",
        "status:",
        "id:",
        "é",
        "0",
    ]
)
TEXT = st.one_of(st.text(max_size=220), st.lists(WORDS | st.text(max_size=3)).map("".join))


@every_database
@given(q=TEXT, status=TEXT, after=TEXT, n=TEXT)
@example(q='to:"a\0" "\0"', status="", after="", n="")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_address(open_site: Site, q: str, status: str, after: str, n: str) -> None:
    """Whatever stands in the address, the list answers, or says what is wrong with it."""
    query = {"q": q, "status": status, "after": after, "n": n}
    text = urlencode(query, errors="surrogatepass")
    answers = [open_site.client.get(f"/courier/?{text}{more}") for more in ("", "&fragment=1")]
    answers.append(open_site.client.get(f"/courier/?{text}", headers=JSON))
    assert {answer.status_code for answer in answers} <= {200, 304, 400}


def test_export_is_of_the_search(open_site: Site) -> None:
    """An export has what its search finds."""
    for name in ("ada", "bob"):
        queue_own(open_site, f"{name}@example.com")
    [line] = open_site.client.get("/courier/export.jsonl?q=-bob").text.splitlines()
    assert '"recipient": "ada@example.com"' in line


def test_message_is_found_by_its_id(open_site: Site) -> None:
    """The id that the page of a message shows finds it."""
    queue_own(open_site)
    assert ["ada@example.com"] == recipients(open_site, q=f"id:{only(open_site)['id']}")
