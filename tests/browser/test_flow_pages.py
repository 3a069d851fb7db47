"""axe finds nothing on the pages of any flow: begun, mistaken, done, dead, without a cookie."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.conftest import beside, serving
from tests.browser.test_accessibility import violations
from tests.everything import Everything
from tests.observation import age
from tests.site import PASSWORD
from tests.visitor import FINAL

pytestmark = [pytest.mark.browser, pytest.mark.slow]

FLOWS = [urlsplit(path).path.split("/")[2] for path in FINAL.values()]
#: One of a kind: the others differ in their words alone.
ASKED = ["recovery", "email"]
CODED_OR_NOT = ["recovery", "not-me"]


class Looker:
    """Looks at pages in one language: axe for what can be measured, pictures for people."""

    def __init__(
        self, house: Everything, context: BrowserContext, picture: Callable[[Page, str], None]
    ) -> None:
        self.house = house
        self.page = context.new_page()
        self.found: list[str] = []
        self.seen: list[str] = []
        self._picture = picture
        self._language = ""

    def look(self, name: str, path: str | None = None) -> None:
        """Note what is wrong with the page, or with the one at ``path``."""
        if path is not None:
            self.page.goto(path if "://" in path else f"{self._url}{path}")
        self._language = self.page.locator(".courier").first.get_attribute("lang") or ""
        self.seen.append(name)
        self.found += [f"{name}: {one}" for one in violations(self.page)]
        self._picture(self.page, f"{self._language}-{name}")

    def press(self, **fields: str) -> None:
        """Fill the form in and send it."""
        for name, value in fields.items():
            self.page.locator(f"#courier-{name}").fill(value)
        self.page.locator(".courier form button[type=submit]").click()

    def mailed(self, flow: str) -> str:
        """The link of a mail of this flow, to an account of its own."""
        return beside(lambda: self.house.mailed(flow)[1].link)

    @property
    def _url(self) -> str:
        return str(self.house.site.app.config["COURIER_PUBLIC_URL"])


@pytest.fixture
def house(database_url: str) -> Iterator[Everything]:
    """A site with every flow, up on a loopback port."""
    made: list[Everything] = []

    def make(url: str) -> Everything:
        made.append(Everything(database_url, COURIER_PUBLIC_URL=url))
        return made[0]

    with serving(lambda url: make(url).site):
        yield made[0]
        made[0].close()


@pytest.fixture(params=["en-GB", "ar"])
def looker(
    request: pytest.FixtureRequest,
    house: Everything,
    browsers: Callable[..., BrowserContext],
    picture: Callable[[Page, str], None],
) -> Looker:
    """Somebody who looks at pages from left to right, and somebody from right to left."""
    return Looker(house, browsers(bypass_csp=True, locale=request.param), picture)


@pytest.mark.parametrize("flow", FLOWS)
def test_link(looker: Looker, flow: str) -> None:
    """What a link leads to: its form, a mistake in it, the end, and the link used."""
    link = looker.mailed(flow)
    looker.look(flow, link)
    if looker.page.locator("#courier-password").count():
        looker.press(password="short", confirm="another")
        looker.look(f"{flow}-mistake")
        looker.press(password=PASSWORD, confirm=PASSWORD)
    else:
        looker.press()
    if flow != "sign-in":  # ends on a page of the application's
        looker.look(f"{flow}-done")
    looker.look(f"{flow}-used", link)
    assert [] == looker.found


@pytest.mark.parametrize("flow", ASKED)
def test_asking(looker: Looker, flow: str) -> None:
    """The page to ask on and the page for the code, empty and mistaken."""
    looker.look(f"{flow}-ask", f"/account/{flow}")
    looker.press(email="nobody")
    looker.look(f"{flow}-ask-mistake")
    looker.press(email="somebody@example.com")
    looker.look(f"{flow}-code")
    looker.press(email="nobody", code="")
    looker.look(f"{flow}-code-mistake")
    looker.press(email="somebody@example.com", code="00000000")
    looker.look(f"{flow}-code-wrong")
    assert [] == looker.found


@pytest.mark.parametrize("flow", CODED_OR_NOT)
def test_no_link(looker: Looker, flow: str) -> None:
    """The page that a browser without the link's cookie pastes the link on; a forged one."""
    looker.look(f"{flow}-paste", next(path for path in FINAL.values() if f"/{flow}/" in path))
    looker.press(link="")
    looker.look(f"{flow}-paste-mistake")
    looker.press(link="https://acme.example/account/forged")
    looker.look(f"{flow}-forged")
    assert [] == looker.found


def test_dead_links(looker: Looker) -> None:
    """A link that has run out with and without a way to another, one of another page, a refusal."""
    invitation, not_me = looker.mailed("invitation"), looker.mailed("not-me")
    looker.look("wrong-purpose", not_me.replace("/not-me/", "/verification/"))
    beside(lambda: age(looker.house.site, "courier_token", timedelta(days=30)))
    looker.look("not-me-expired", not_me)
    looker.look("invitation-expired", invitation)
    looker.press()
    looker.look("sent")
    looker.house.site.courier.current_account(lambda: None)
    looker.look("not-signed-in", "/account/email")
    assert [] == looker.found
