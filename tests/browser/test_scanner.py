"""Mail scanners that are browsers: they run what they find, and change nothing by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.conftest import beside, serving
from tests.observation import dump
from tests.purposes import every_purpose, link_of, open_house
from tests.site import PASSWORD, Site
from tests.visitor import ADA, FINAL, delivered

pytestmark = [pytest.mark.browser, pytest.mark.slow]

Browsers = Callable[..., BrowserContext]


@pytest.fixture
def house(sites: Callable[..., Site]) -> Iterator[Site]:
    """A site with every flow, up on a loopback port."""
    with serving(lambda url: open_house(sites, COURIER_PUBLIC_URL=url)) as site:
        yield site


def visit(page: Page, url: str) -> None:
    """Open ``url``, run what is there, and look at it down to its end."""
    page.goto(url, wait_until="networkidle")
    page.keyboard.press("End")
    page.mouse.wheel(0, 2000)


def scan(page: Page, url: str, *, presses: bool) -> list[str]:
    """Go everywhere that ``url`` leads, and press every button if asked; answer the paths."""
    waiting, seen = [url], list[str]()
    while waiting:
        url = waiting.pop(0)
        if url in seen:
            continue
        seen.append(url)
        visit(page, url)
        waiting += page.eval_on_selector_all("a[href]", "found => found.map(a => a.href)")
        waiting.append(page.url)
        for number in range(page.locator("form button").count() if presses else 0):
            visit(page, url)
            for blank in page.locator("form input:not([type=hidden])").all():
                blank.fill(ADA if blank.get_attribute("name") == "email" else "00000000 00000000")
            page.locator("form button").nth(number).click()
            page.wait_for_load_state("networkidle")
    return [urlsplit(found).path for found in seen]


@every_purpose
@pytest.mark.parametrize("cookies", [True, False], ids=["with cookies", "without cookies"])
def test_s08_scanner(house: Site, browsers: Browsers, purpose: str, *, cookies: bool) -> None:
    """Chromium with cookies follows all and presses nothing, without cookies presses all.

    Neither changes the account, and a person's click in another browser completes afterwards.
    """
    link = beside(lambda: link_of(house, purpose).link)
    before = dump(house, without=["opened_at"])
    scanner = browsers(cookies=cookies).new_page()
    seen = scan(scanner, link, presses=not cookies)
    after = dump(house, without=["opened_at"])
    assert (True, before["user"], before["courier_token"]) == (
        FINAL[purpose] in seen,
        after["user"],
        after["courier_token"],
    )
    beside(lambda: delivered(house))

    person = browsers().new_page()
    person.goto(link)
    for field in person.locator("input[type=password]").all():
        field.fill(PASSWORD)
    with person.expect_response(lambda answer: answer.request.method == "POST") as done:
        person.locator("main form button[type=submit]").click()
    assert (True, True) == (
        done.value.status in {200, 303},
        before["user"] != dump(house)["user"],
    )
