"""axe finds nothing on any page, at phone and desktop width, light and dark."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

from tests.browser.conftest import WIDTHS, RunningSite
from tests.browser.test_journey import ADDRESS, FIRST, PATIENCE, link_in, sign_in, sign_up

pytestmark = pytest.mark.browser


def violations(page: Page) -> list[str]:
    """What axe says of the page, at every width and in both colour schemes."""
    found = []
    for width, (x, y) in WIDTHS.items():
        page.set_viewport_size({"width": x, "height": y})
        for scheme in ("light", "dark"):
            # A colour on its way from one scheme to the other is neither.
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            report = Axe().run(page)
            found += [
                f"{page.url} {width} {scheme}: {v['id']}" for v in report.response["violations"]
            ]
    return found


@pytest.mark.parametrize(
    "path",
    [
        "/account/recovery",
        "/account/recovery/code",
        "/account/recovery/forged",
        "/account/verification",
        "/account/verification/code",
    ],
)
def test_open_pages(
    browsers: Callable[..., BrowserContext], example: RunningSite, path: str
) -> None:
    """The account pages that need no token have no violation."""
    page = browsers(bypass_csp=True).new_page()
    page.goto(example.url + path)

    assert [] == violations(page)


def test_pages_behind_a_link(browsers: Callable[..., BrowserContext], example: RunningSite) -> None:
    """The page behind a link, the delivery log and a message in it have no violation."""
    page = browsers(bypass_csp=True).new_page()
    sign_up(page, example)
    page.goto(link_in(example.mail.wait_for(timeout=PATIENCE).text))
    found = violations(page)
    example.make_admin(ADDRESS)
    sign_in(page, example, FIRST)
    page.goto(f"{example.url}/courier/")
    found += violations(page)
    page.get_by_role("link", name=ADDRESS).first.click()

    assert [] == found + violations(page)
