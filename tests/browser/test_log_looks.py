"""Every page of the delivery log, in every state, as it looks: axe and width."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from flask_courier.core.clock import utc_now
from flask_courier.storage.details import ATTEMPTS
from tests.browser.conftest import beside, serving
from tests.browser.test_accessibility import violations
from tests.browser.test_log import MAILS, change
from tests.delivery.mails import queue_own
from tests.scripted_smtp import scripted_smtp
from tests.site import Site

pytestmark = pytest.mark.browser

Browsers = Callable[..., BrowserContext]
#: Wider than a phone where it does not break.
LONG = (
    "535-5.7.8 https://mail.example/"
    + "W" * 300
    + "\r\n535 5.7.8 Username and Password not accepted"
)
TRIED = "li@example.org"
#: Of which people get pictures to look at.
PICTURED = {"list-empty", "list", "list-keys", "list-problem", "message-older", "message-html"} | {
    "message-resend-asked",
    "bulk",
    "bulk-done",
    "health",
}


@pytest.fixture
def refused(sites: Callable[..., Site]) -> Iterator[Site]:
    """A site without a message, whose SMTP server refuses its login."""
    with scripted_smtp(AUTH=LONG) as server:

        def make(url: str) -> Site:
            uri = server.uri.replace("//", "//mailer:hunter2@", 1)
            site = sites(COURIER_PUBLIC_URL=url, COURIER_SMTP_URI=uri)
            site.courier.log_access(lambda _permission: True)
            return site

        with serving(make) as site:
            yield site


def fill(site: Site) -> None:
    """Have the breaker open, mail in every status, and mail that was tried often."""
    queue_own(site, "first@example.com")
    beside(site.deliver)
    for recipient, subject, values in MAILS:
        queue_own(site, recipient, subject=subject)
        change(site, recipient, subject=subject, **values)
    [tried] = site.rows("courier_attempt")
    [message] = [row["id"] for row in site.rows("courier_message") if row["recipient"] == TRIED]
    later = [
        tried
        | {
            "message_id": message,
            "number": number,
            "phase": "rcpt",
            "outcome": "deferred",
            "code": 451,
            "reply": f"4.7.1 try again later, {'W' * 99}",
            "started_at": tried["started_at"] + timedelta(seconds=number),
        }
        for number in range(1, ATTEMPTS + 3)
    ]
    tables = site.db.metadata.tables
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.execute(tables["courier_attempt"].insert(), later)
        connection.execute(tables["courier_content"].update().values(html="<p>Hello</p>"))
        for name, silent in (("a" * 60 + ":12", 10), ("host:2", 3000)):
            seen = utc_now().replace(tzinfo=None) - timedelta(seconds=silent)
            worker: dict[str, Any] = {"name": name, "kind": "external", "seen_at": seen}
            connection.execute(tables["courier_worker"].insert(), worker)


def tour(site: Site, page: Page) -> Iterator[str]:
    """Open page after page; answer the name of each."""
    log = f"{site.app.config['COURIER_PUBLIC_URL']}/courier/"
    page.goto(log)
    yield "list-empty"
    fill(site)
    yield from lists(page, log)
    yield from messages(page, log)
    yield from actions(page, log)
    yield from bulk_and_health(page, log)
    site.courier.log_access(lambda permission: permission not in ("read_content", "act"))
    page.goto(log)
    yield "masked-list"
    page.locator("tbody a").nth(3).click()
    yield "masked-message"
    page.goto(f"{log}health")
    yield "masked-health"


def lists(page: Page, log: str) -> Iterator[str]:
    """The list with its help, and where it has nothing to show."""
    page.goto(log)
    yield "list"
    page.locator(".courier-help summary").click()
    yield "list-help"
    page.keyboard.press("?")
    yield "list-keys"
    page.goto(f"{log}?q=foo:bar+code:oops+{'W' * 80}")
    yield "list-problem"
    page.goto(f"{log}?q={'W' * 90}&status=sent")
    yield "list-nothing"


def messages(page: Page, log: str) -> Iterator[str]:
    """A message in each status, each tab of one, and older attempts."""
    for recipient, _, values in MAILS:
        page.goto(log)
        page.get_by_role("link", name=recipient).click()
        yield f"message-{values['status']}-{recipient[:3]}"
    page.goto(log)
    page.get_by_role("link", name="first@example.com").click()
    for view in ("html", "source", "headers"):
        page.goto(f"{page.url.partition('?')[0]}?view={view}")
        yield f"message-{view}"
    page.goto(log)
    page.get_by_role("link", name=TRIED).click()
    page.get_by_role("link", name="Show older ones").click()
    yield "message-older"


def actions(page: Page, log: str) -> Iterator[str]:
    """Each question in its dialog, and what was done."""
    for name in ("Resend", "Delete content"):
        page.locator(".courier-actions summary", has_text=name).click()
        yield f"message-{name[:6]}-asked".lower()
        page.keyboard.press("Escape")
    page.goto(log)
    page.get_by_role("link", name="bob@example.com").click()
    page.locator("summary", has_text="Take back").click()
    yield "message-cancel-asked"
    page.get_by_role("dialog").get_by_role("button", name="Take back").click()
    yield "message-cancelled"


def bulk_and_health(page: Page, log: str) -> Iterator[str]:
    """The question about many and its results; the health page after each of its forms."""
    page.goto(f"{log}bulk")
    yield "bulk"
    page.get_by_role("button", name="Resend").click()
    yield "bulk-done"
    page.goto(f"{log}health")
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    yield "health"
    page.get_by_role("button", name="Check now").click()
    yield "health-checked"
    page.locator("form.courier-field").evaluate("form => form.noValidate = true")
    page.locator("#courier-email").fill("no address")
    page.get_by_role("button", name="Send").click()
    yield "health-problem"
    page.locator("#courier-email").fill("test@example.com")
    page.get_by_role("button", name="Send").click()
    yield "message-test"


def test_every_page(
    browsers: Browsers, refused: Site, picture: Callable[[Page, str], None]
) -> None:
    """Axe finds nothing on any page, and none is wider than the window."""
    page = browsers(bypass_csp=True).new_page()
    found: list[str] = []
    for name in tour(refused, page):
        found += violations(page, name)
        if name in PICTURED:
            picture(page, f"log-{name}")

    assert [] == found
