"""What strangers wrote, on every page of the log: nothing of it is invisible or turns text."""

from __future__ import annotations

import html
import re
import sys
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote

import jinja2
import pytest

from flask_courier.core.clock import utc_now
from flask_courier.web.log.foreign import seen, shown
from tests.delivery.mails import only, queue_own
from tests.observation import update
from tests.scripted_smtp import scripted_smtp
from tests.site import Site
from tests.web.test_log_bulk import send
from tests.web.test_log_health import CHECK, MakeSite
from tests.web.test_log_health import send as press

#: Turned around by a browser, cleared by a terminal, and an address beside the one that is read.
TRICK = "a\u202eb\x1b[2Jc\u200bd\u2066e\u200df\xadg\u200fh\ufe0fi"
WRITTEN = r"a\u202eb\x1b[2Jc\u200bd\u2066e\u200df\xadg\u200fh\ufe0fi"
PAGES = (
    "/courier/",
    "/courier/?fragment=1",
    f"/courier/?q={quote(TRICK)}",
    f"/courier/?q=foo:{quote(TRICK)}",
    f"/courier/?status={quote(TRICK)}",
    "/courier/bulk",
    "/courier/health",
    *(f"/courier/messages/{{}}?view={view}" for view in ("text", "html", "source", "headers")),
)
#: Visible, though Unicode counts them among what formats: signs over numbers.
VISIBLE = re.compile("[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd]")
INVISIBLE = [
    character
    for character in map(chr, range(sys.maxunicode + 1))
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    and character not in "\t\n"
    and not VISIBLE.match(character)
]


@pytest.fixture
def tricky(sites: MakeSite) -> Iterator[Site]:
    """A site with a message and a server that have the trick in all that others wrote."""
    with scripted_smtp(AUTH=f"535 5.7.8 {TRICK}") as server:
        site = sites(COURIER_SMTP_URI=server.uri.replace("//", "//mailer:hunter2@", 1))
        queue_own(site)
        site.deliver()
        fill_in(site)
        yield site


def fill_in(site: Site) -> None:
    """Write the trick wherever a stranger could."""
    site.courier.log_access(lambda _permission: True)
    message = only(site)["id"]
    update(
        site,
        "courier_message",
        recipient=f"{TRICK}@example.com",
        last_error=TRICK,
        account_ref=TRICK,
        locale=TRICK,
        message_id_header=TRICK,
        status="abandoned",
        reason="rejected",
    )
    update(site, "courier_attempt", reply=TRICK, host=TRICK, address=TRICK, worker=TRICK)
    update(site, "courier_transport", last_error=TRICK)
    now = utc_now().replace(tzinfo=None)
    with site.app.app_context(), site.db.engine.begin() as connection:
        tables = site.db.metadata.tables
        content = {"message_id": message, "subject": TRICK, "text": TRICK, "html": TRICK}
        connection.execute(tables["courier_content"].delete())
        connection.execute(tables["courier_content"].insert(), content)
        worker = {"name": TRICK, "kind": "external", "seen_at": now}
        connection.execute(tables["courier_worker"].insert(), worker)


def unseen(page: str) -> set[str]:
    """What is on the page and cannot be seen there."""
    return set(html.unescape(page)) & {*INVISIBLE, "\ufe0f"}


@pytest.mark.parametrize("path", PAGES)
def test_nothing_is_invisible(tricky: Site, path: str) -> None:
    """No page has a character that cannot be seen, in its text, attributes or title."""
    answer = tricky.client.get(path.format(only(tricky)["id"]))
    assert 200 == answer.status_code
    assert set() == unseen(answer.text)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/courier/", 'aria-label="Select {}@example.com"'),
        ("/courier/messages/{id}", "<title>{} \N{EN DASH} Delivery log</title>"),
        ("/courier/health", "<h3>{}</h3>"),
        (f"/courier/?status={quote(TRICK)}", 'name="status" value="{}"'),
    ],
)
def test_where_it_is_written_out(tricky: Site, path: str, place: str) -> None:
    """A name, a title or a heading has in its place what source code would write."""
    page = tricky.client.get(path.format(id=only(tricky)["id"])).text
    assert place.format(WRITTEN) in re.sub("</?(bdi|span)[^>]*>", "", page)


def test_results_of_many(tricky: Site) -> None:
    """So have the results of what was done with many."""
    page = send(tricky, all="1", action="resend").text
    assert set() == unseen(page)
    assert WRITTEN in re.sub("<[^>]+>", "", page)


def test_found_by_the_check(tricky: Site) -> None:
    """So has what a server says to the check of the connection."""
    told = press(tricky, CHECK).text
    assert "What the check found" in told
    assert set() == unseen(told)


def test_search_is_for_what_is_seen(tricky: Site) -> None:
    """An address that brought marks along when it was copied is looked for without them."""
    update(
        tricky, "courier_message", recipient="ada@example.com", recipient_folded="ada@example.com"
    )
    copied = quote("\u202aada@exa\u200bmple.com\u202c")
    page = tricky.client.get(f"/courier/?q={copied}").text
    assert 'name="q" value="ada@example.com"' in page
    assert "ada@example.com</a>" in page


def test_layout_of_the_application_keeps_its_own(sites: MakeSite) -> None:
    """What the application's own layout says is left as it is."""
    site = sites(COURIER_BASE_TEMPLATE="layout.html")
    layout = jinja2.DictLoader(
        {"layout.html": "\u200fAcme\u200f {% block content %}{% endblock %}"}
    )
    present = site.app.jinja_env.loader
    assert present is not None
    site.app.jinja_env.loader = jinja2.ChoiceLoader([layout, present])
    site.courier.log_access(lambda _permission: True)
    assert "\u200fAcme\u200f" in site.client.get("/courier/").text


def test_each_is_written_out() -> None:
    """Between letters, each character that cannot be seen is named."""
    assert [] == [one for one in INVISIBLE if one in shown(f"pay{one}pal")]
    assert [] == [one for one in INVISIBLE if one in seen(f"pay{one}pal")]


@pytest.mark.parametrize(
    "text",
    [
        "👩‍💻 🏳️‍🌈 ❤️ 1️⃣ ©️",
        "می‌خواهم",  # Persian parts some letters with it
        "क्‍ष",
        "葛\U000e0100飾",
        "à̂̃",
        "ελληνικός ᾅ",
        "tab\tand\nline",
    ],
)
def test_writing_is_left_alone(text: str) -> None:
    """What joins letters or chooses a shape is part of some writing, and stays there."""
    assert text == seen(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("e\u0301\u0302\u0303\u0304\u0305", r"e\u0301\u0302\u0303\u0304\u0305"),
        ("a\ufe00\ufe01b", r"a\ufe00\ufe01b"),
        ("☺\ufe00\ufe01\ufe02", r"☺\ufe00\ufe01\ufe02"),
        ("x\U000e0041", r"x\U000e0041"),
        ("a\u200d\u200d\u200db", r"a\u200d\u200d\u200db"),
        ("\u200cیک", r"\u200cیک"),
        ("\u3164", r"\u3164"),
    ],
)
def test_what_hides_in_writing(text: str, told: str) -> None:
    """Marks in a pile, hidden data and joiners that join nothing are written out."""
    assert told == seen(text)
