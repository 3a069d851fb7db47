"""Mail scanners: they fetch, follow and fill in, change no account, and cost nobody the link."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.databases import every_database
from tests.observation import Dump, age, dump
from tests.purposes import every_purpose, link_of, open_house
from tests.scanner import Scanner
from tests.site import Site, path_of
from tests.visitor import ADA, FINAL, Visitor, delivered

#: What it keeps, and whether it sends forms.
WAYS: dict[str, dict[str, bool]] = {
    "with cookies": {"cookies": True, "submits": False},
    "without cookies": {"cookies": False, "submits": True},
}

each_way = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def house(sites: Callable[..., Site]) -> Site:
    """A site with every flow."""
    return open_house(sites)


def accounts_and_tokens(site: Site) -> tuple[Any, Any]:
    """What a scanner must leave as it was: accounts, and tokens save when they were fetched."""
    found: Dump = dump(site, without=["opened_at"])
    return found["user"], found["courier_token"]


def scanned(site: Site, way: str, link: str) -> Scanner:
    """A scanner that has been everywhere that ``link`` leads."""
    scanner = Scanner(site, **WAYS[way], address=ADA)
    scanner.scan(link)
    return scanner


@every_database
@each_way
@every_purpose
def test_s08_scanner(house: Site, purpose: str, way: str) -> None:
    """No scanner changes an account or a token, and the person's click afterwards completes."""
    link = link_of(house, purpose).link
    before = accounts_and_tokens(house)
    scanner = scanned(house, way, link)
    assert before == accounts_and_tokens(house)
    reached = any(path_of(url) == FINAL[purpose] for url in scanner.fetched)
    assert (True, set()) == (reached, scanner.statuses & {500, 503})
    delivered(house)
    visitor = Visitor(house)
    done = visitor.press(visitor.follow(link))
    assert (True, True) == (
        done.status_code in {200, 303},
        before[0] != accounts_and_tokens(house)[0],
    )


@every_purpose
def test_s08_scanner_of_a_dead_link(house: Site, purpose: str) -> None:
    """One that posts the form of a dead link has a mail sent to the same account at most."""
    link = link_of(house, purpose).link
    age(house, "courier_token", timedelta(days=30))
    before = accounts_and_tokens(house)
    scanned(house, "without cookies", link)
    assert before == accounts_and_tokens(house)
    assert {mail.recipient for mail in delivered(house)} <= {ADA}
    assert before[0] == accounts_and_tokens(house)[0]


@every_purpose
def test_the_scanner_could_do_harm(house: Site, purpose: str) -> None:
    """One that presses the button with the link's cookie is a person to us, and would be seen."""
    link = link_of(house, purpose).link
    before = accounts_and_tokens(house)
    scanner = Scanner(house, cookies=True, submits=True, address=ADA)
    scanner.scan(link)
    assert before[0] != accounts_and_tokens(house)[0]


def test_the_scanner_scans(house: Site) -> None:
    """The scanner of these tests does find pages and forms, and does fill them in."""
    link = link_of(house, "recovery").link
    fetching, posting = (scanned(house, way, link) for way in WAYS)
    assert ([], True) == (fetching.posted, 3 <= len(fetching.fetched))
    assert {"/account/recovery", "/account/recovery/code"} <= {
        path_of(url) for url in posting.posted
    }
    assert [ADA] == [row["recipient"] for row in house.rows("courier_message")][1:]
