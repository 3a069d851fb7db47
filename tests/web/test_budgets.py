"""How much a page of ours may weigh, and that all of it comes from this origin."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import flask_courier
from tests.delivery.mails import only, queue_own
from tests.observation import update
from tests.site import Site

STATIC = Path(flask_courier.__file__).parent / "static"
LINKED = re.compile(r'<(?:link rel="stylesheet" href|script src)="([^"]+)"')
PAGE_SIZE = 50


@pytest.fixture
def open_site(site: Site) -> Site:
    """A site that lets everybody see its log."""
    site.courier.log_access(lambda _permission: True)
    return site


def weight(page: str, ending: str) -> int:
    """Bytes of the files of this kind that the page loads."""
    names = [url.rpartition("/static/")[2] for url in LINKED.findall(page)]
    return sum((STATIC / name).stat().st_size for name in names if name.endswith(ending))


@pytest.mark.parametrize(
    "path",
    [
        "/account/recovery",
        "/courier/",
        "/courier/health",
        "/courier/bulk",
        "message",
    ],
)
def test_style_sheets_and_scripts(open_site: Site, path: str) -> None:
    """A page loads at most 14 kB of style sheets and 10 kB of scripts."""
    queue_own(open_site)
    path = path.replace("message", f"/courier/messages/{only(open_site)['id']}")
    page = open_site.client.get(path).text
    assert 0 < weight(page, ".css") <= 14_000
    assert weight(page, ".js") <= 10_000


@pytest.mark.parametrize("sheet", sorted(STATIC.rglob("*.css")), ids=lambda path: path.name)
def test_style_sheets_keep_to_themselves(sheet: Path) -> None:
    """Every rule is in ``@layer courier``, under ``.courier``."""
    text = re.sub(r"/\*.*?\*/", "", sheet.read_text(encoding="utf-8"), flags=re.DOTALL).strip()
    selectors = re.findall(r"^ +([^@\s}][^{};]*)\{", text, re.MULTILINE)
    assert text.startswith("@layer courier {")
    assert [] == [found for found in selectors if not found.startswith(".courier")]


@pytest.mark.parametrize(("may_act", "most"), [(False, 60_000), (True, 68_000)])
def test_list_of_fifty(open_site: Site, most: int, *, may_act: bool) -> None:
    """The list of fifty messages is at most 60 kB of HTML, with nothing from elsewhere in it.

    Each was put off with a long reply. The boxes of who may act, each with a name, come on top.
    """
    open_site.courier.log_access(lambda permission: may_act or permission != "act")
    for number in range(PAGE_SIZE):
        queue_own(open_site, f"first.name.surname.{number}@example.com")
    update(open_site, "courier_message", last_code=451, last_error="4.7.1 " + "put off " * 60)
    page = open_site.client.get("/courier/").text
    assert PAGE_SIZE == page.count("<tr role=") - 1
    assert len(page.encode()) <= most
    assert [] == re.findall(r'(?:src|href|action)="(?:[a-z]+:)?//', page)


def test_live_answer_is_not_repeated(open_site: Site) -> None:
    """Who has the rows of a list is told, without them, that nothing has changed."""
    queue_own(open_site)
    first = open_site.client.get("/courier/?fragment=1")
    again = open_site.client.get(
        "/courier/?fragment=1", headers={"If-None-Match": first.headers["ETag"]}
    )
    assert (200, 304, "") == (first.status_code, again.status_code, again.text)


def test_live_answer_changes_with_a_status(open_site: Site) -> None:
    """A message that was sent is news."""
    queue_own(open_site)
    tag = open_site.client.get("/courier/?fragment=1").headers["ETag"]
    open_site.deliver()
    assert (
        200
        == open_site.client.get("/courier/?fragment=1", headers={"If-None-Match": tag}).status_code
    )


def test_live_answer_has_what_left_the_filter(open_site: Site) -> None:
    """A message that the page shows is found by its id, though the filter does not find it."""
    queue_own(open_site)
    message_id = only(open_site)["id"]
    open_site.deliver()
    path = f"/courier/?status=queued&fragment=1&watch=nonsense.{message_id.hex}"
    assert 'data-state="sent' in open_site.client.get(path).text
