"""axe finds nothing on any page, at phone and desktop width, light and dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

from tests.browser.conftest import WIDTHS, RunningSite
from tests.browser.test_journey import ADDRESS, FIRST, PATIENCE, link_in, sign_in, sign_up

pytestmark = pytest.mark.browser

#: What axe looks at. Of all that, the scheme changes colours alone.
RULES: dict[Literal["light", "dark"], dict[str, Any]] = {
    "light": {"resultTypes": ["violations"]},
    "dark": {"resultTypes": ["violations"], "runOnly": ["color-contrast"]},
}


def violations(page: Page, name: str = "") -> list[str]:
    """What axe says of the page, at every width and in both colour schemes; and where it scrolls.

    :param name: what the page is called there, if not by its address.
    """
    axe, found = Axe(), []
    page.evaluate(axe.axe_script)
    for width, (x, y) in WIDTHS.items():
        page.set_viewport_size({"width": x, "height": y})
        if page.evaluate("document.documentElement.scrollWidth") > x:
            found.append(f"{name or page.url} {width}: too wide")
        for scheme, rules in RULES.items():
            # A colour on its way from one scheme to the other is neither.
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            report = page.evaluate("options => axe.run(options)", rules)
            found += [
                f"{name or page.url} {width} {scheme}: {v['id']} {node['html'][:200]}"
                for v in report["violations"]
                for node in v["nodes"]
            ]
    return found


@pytest.mark.parametrize(("locale", "direction"), [("en-GB", "ltr"), ("ar", "rtl")])
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
    browsers: Callable[..., BrowserContext],
    example: RunningSite,
    path: str,
    locale: str,
    direction: str,
) -> None:
    """The account pages that need no token have no violation, whichever way they run."""
    page = browsers(bypass_csp=True, locale=locale).new_page()
    page.goto(example.url + path)

    assert direction == page.locator(".courier").get_attribute("dir")
    assert [] == violations(page)


def test_pages_behind_a_link(
    browsers: Callable[..., BrowserContext],
    example: RunningSite,
    picture: Callable[[Page, str], None],
) -> None:
    """The page behind a link, the delivery log, its health and a message have no violation."""
    page = browsers(bypass_csp=True).new_page()
    sign_up(page, example)
    link = link_in(example.mail.wait_for(timeout=PATIENCE).text)
    page.goto(link)
    arabic = browsers(bypass_csp=True, locale="ar").new_page()
    arabic.goto(link)
    found = violations(page) + violations(arabic)
    example.make_admin(ADDRESS)
    sign_in(page, example, FIRST)
    page.goto(f"{example.url}/courier/health")
    for summary in page.locator(".courier summary").all():
        summary.click()
    picture(page, "health")
    found += violations(page)
    page.goto(f"{example.url}/courier/")
    found += violations(page)
    page.get_by_role("link", name=ADDRESS).first.click()

    assert [] == found + violations(page)


@pytest.mark.slow
@pytest.mark.parametrize("locale", ["en-GB", "ar"])
def test_every_page(
    browsers: Callable[..., BrowserContext], example: RunningSite, locale: str
) -> None:
    """No page of a flow has a violation, with and without a mistake, dead or done."""
    page = browsers(bypass_csp=True, locale=locale).new_page()
    found: list[str] = []

    def look(path: str = "") -> None:
        if path:
            page.goto(path if path.startswith("http") else f"{example.url}{path}")
        found.extend(violations(page))

    def press(**fields: str) -> None:
        for name, value in fields.items():
            page.locator(f"#courier-{name}").fill(value)
        page.locator(".courier form button[type=submit]").last.click()

    def mailed(flow: str) -> str:
        mail = example.mail.wait_for(lambda one: f"/{flow}/" in one.text, timeout=PATIENCE)
        return mail.text

    def link(text: str, flow: str) -> str:
        return next(word for word in text.split() if f"/account/{flow}/" in word)

    sign_up(page, example)
    look(link(mailed("verification"), "verification"))
    press()
    look("/account/recovery")
    press(email="nobody")
    look()
    press(email=ADDRESS)
    look()
    press(email=ADDRESS, code="1")
    look()
    text = mailed("recovery")
    look(link(text, "recovery"))
    press(password="a long new password", confirm="another")
    look()
    look(link(text, "not-me"))
    press()
    look()
    look(link(text, "recovery"))
    sign_in(page, example, FIRST)
    look("/account/email")
    press(email="ada.lovelace@example.com")
    look()
    look(link(mailed("email"), "email"))
    press()
    look()
    look("/account/sign-in")
    press(email="ada.lovelace@example.com")
    look(link(mailed("sign-in"), "sign-in"))

    assert [] == found
