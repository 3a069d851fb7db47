"""The delivery log in Chromium: keys, news, times and looks, under its strict policy."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Locator, Page, expect
from werkzeug.serving import make_server

from flask_courier.core.clock import utc_now
from tests.delivery.mails import queue_own
from tests.site import Site

pytestmark = pytest.mark.browser

Browsers = Callable[..., BrowserContext]

#: Milliseconds; the list asks every five seconds.
SOON = 20_000
REFUSED = "5.1.1 <{}>: Recipient address rejected: User unknown in virtual mailbox table"
#: Recipient, subject, and what has become of it; the oldest first.
MAILS: list[tuple[str, str, dict[str, Any]]] = [
    (
        "ines@example.com",
        "Your address was verified",
        {"status": "cancelled", "reason": "superseded"},
    ),
    (
        "nobody@example.net",
        "Choose a new password",
        {"status": "suppressed", "reason": "no_account"},
    ),
    (
        "li@example.org",
        "Confirm your address",
        {"status": "expired", "attempts": 3, "reason": None},
    ),
    ("mo@example.com", "Your password was changed", {"status": "held", "attempts": 1}),
    (
        "a.very.long.recipient.of.a.department@mail.subdomain.example.com",
        "Choose a new password for the account that you have with the reading club",
        {
            "status": "abandoned",
            "reason": "rejected",
            "attempts": 1,
            "last_code": 550,
            "last_error": REFUSED.format("a.very.long.recipient@mail.example.com"),
        },
    ),
    (
        "greta@example.org",
        "Choose a new password",
        {
            "status": "queued",
            "reason": "deferred",
            "attempts": 2,
            "last_code": 451,
            "last_error": "4.7.1 Greylisted, try again in five minutes",
        },
    ),
    ("paul@example.com", "Sign in", {"status": "processing", "attempts": 0}),
    (
        "ada@example.com",
        "Choose a new password",
        {"status": "sent", "attempts": 1, "transport": "smtp://mail.example:587"},
    ),
    ("bob@example.com", "Welcome", {"status": "queued"}),
]


@pytest.fixture
def log(sites: Callable[..., Site]) -> Iterator[tuple[Site, str]]:
    """A site with mail in every status, up on a loopback port, and the address of its log."""
    gate = Flask("gate")
    server = make_server("127.0.0.1", 0, gate, threaded=True)
    url = f"http://127.0.0.1:{server.server_port}"
    site = sites(COURIER_PUBLIC_URL=url)
    site.courier.log_access(lambda _permission: True)
    for recipient, subject, values in MAILS:
        queue_own(site, recipient, subject=subject)
        change(site, recipient, subject=subject, **values)
    server.app = site.app
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield site, f"{url}/courier/"
    server.shutdown()
    thread.join(10)
    server.server_close()


def change(site: Site, recipient: str, *, subject: str | None = None, **values: Any) -> None:
    """Change the message to this recipient, and give it the content of one that was written."""
    tables = site.db.metadata.tables
    rows, content = tables["courier_message"], tables["courier_content"]
    with site.app.app_context(), site.db.engine.begin() as connection:
        one = rows.c.recipient == recipient
        connection.execute(rows.update().where(one).values(kind="recovery", **values))
        found = connection.execute(rows.select().where(one)).one()
        if found.status == "queued" and found.attempts:
            later = utc_now().replace(tzinfo=None) + timedelta(minutes=4)
            connection.execute(rows.update().where(one).values(next_attempt_at=later))
        if subject is not None and found.status != "suppressed":
            connection.execute(
                content.insert().values(message_id=found.id, subject=subject, text=subject)
            )


def row_of(page: Page, recipient: str) -> Locator:
    """The row of the message to this recipient."""
    return page.locator("tbody tr", has_text=recipient)


def focused(page: Page) -> str:
    """What the focus is on, in words."""
    words: str = page.evaluate("document.activeElement.textContent")
    return words


@pytest.fixture
def page(browsers: Browsers, log: tuple[Site, str]) -> Page:
    """The list in a browser that tells of every violation of the policy."""
    page = browsers(timezone_id="Asia/Tokyo").new_page()
    page.add_init_script(
        "window.refused = [];"
        "addEventListener('securitypolicyviolation', event => refused.push(event.blockedURI))"
    )
    page.goto(log[1])
    return page


def test_keys_move_the_focus(page: Page) -> None:
    """``j`` and ``k`` move the focus along the rows, and open nothing."""
    before = page.url
    page.keyboard.press("j")
    page.keyboard.press("j")
    second = focused(page)
    page.keyboard.press("k")

    assert ("ada@example.com", "bob@example.com", before) == (second, focused(page), page.url)


def test_escape_leads_back_to_the_row(page: Page) -> None:
    """Enter opens the message of the row, and Escape goes back to the same row."""
    for key in ("j", "j", "j", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("h1")).to_have_text("Sign in")
    # The script shows this button, and listens from then on.
    expect(page.get_by_role("button", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("h1")).to_have_text("Delivery log")

    expect(page.get_by_role("link", name="paul@example.com")).to_be_focused()


def test_letters_in_a_field_are_letters(page: Page) -> None:
    """``/`` leads to the search box, where the keys are letters again."""
    page.keyboard.press("/")
    page.keyboard.type("jk.x?/")

    expect(page.locator("input[type=search]")).to_have_value("jk.x?/")


def test_keys_can_be_switched_off(page: Page) -> None:
    """``?`` shows the keys; switched off there, they stay off in this browser."""
    page.keyboard.press("?")
    page.get_by_label("Use these keys").uncheck()
    page.get_by_role("button", name="Close").click()
    page.reload()
    page.keyboard.press("/")

    expect(page.locator("input[type=search]")).not_to_be_focused()


def test_a_status_changes_in_place(page: Page, log: tuple[Site, str]) -> None:
    """A row that is shown tells its new status, and keeps the focus."""
    page.keyboard.press("j")
    change(log[0], "bob@example.com", status="sent", attempts=1)

    expect(row_of(page, "bob@example.com")).to_contain_text("Sent", timeout=SOON)
    assert "bob@example.com" == focused(page)


def test_a_row_that_left_the_filter(page: Page, log: tuple[Site, str]) -> None:
    """A row that the filter does not find any more tells why."""
    page.goto(f"{log[1]}?status=queued")
    change(log[0], "bob@example.com", status="sent", attempts=1)

    expect(row_of(page, "bob@example.com")).to_contain_text("Sent", timeout=SOON)


def test_new_messages_wait_to_be_shown(page: Page, log: tuple[Site, str]) -> None:
    """New messages are counted, move no row, and are shown when asked for."""
    queue_own(log[0], "new@example.com")
    news = page.get_by_role("status")
    expect(news).to_contain_text("1 new", timeout=SOON)
    expect(row_of(page, "new@example.com")).to_have_count(0)
    news.get_by_role("link", name="show").click()

    expect(row_of(page, "new@example.com")).to_be_visible()


def test_a_paused_list_asks_no_more(page: Page, log: tuple[Site, str]) -> None:
    """``.`` pauses; resumed, the list has the news again."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.clock.install()
    page.reload()
    page.keyboard.press(".")
    asked.clear()
    page.clock.run_for(60_000)
    paused = len(asked)
    page.get_by_role("button", name="Resume updates").click()
    queue_own(log[0], "new@example.com")
    page.clock.run_for(6_000)

    expect(page.get_by_role("status")).to_contain_text("1 new", timeout=SOON)
    assert 0 == paused


def test_an_open_message_tells_of_a_change(page: Page, log: tuple[Site, str]) -> None:
    """The page of a message says that it has changed, and offers to reload."""
    page.get_by_role("link", name="bob@example.com").click()
    change(log[0], "bob@example.com", status="sent", attempts=1)
    page.get_by_role("link", name="reload").click(timeout=SOON)

    expect(page.get_by_label("Outcome")).to_contain_text("accepted this mail")


def test_times_are_in_the_zone_of_the_reader(page: Page) -> None:
    """A time's title is in the browser's zone, which a cookie of the log tells the server."""
    title = page.locator("tbody time").first.get_attribute("title")
    cookies = {found["name"]: (found["value"], found["path"]) for found in page.context.cookies()}
    assert str(title).endswith(" Asia/Tokyo")
    assert ("Asia%2FTokyo", "/courier/") == cookies["courier_tz"]


def test_without_scripts(browsers: Browsers, log: tuple[Site, str]) -> None:
    """Without scripts the list is read, filtered and opened; nothing is offered that needs them."""
    page = browsers(java_script_enabled=False).new_page()
    page.goto(log[1])
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    expect(page.get_by_role("button", name="Keys")).to_have_count(0)
    assert str(page.locator("tbody time").first.get_attribute("title")).endswith(" UTC")
    page.locator("tbody a").first.click()

    expect(page.locator("h1")).to_have_text("Welcome")


def test_nothing_breaks_the_policy(page: Page) -> None:
    """The list, its keys and a message break no rule of the policy."""
    page.keyboard.press("?")
    page.keyboard.press("Escape")
    listed = page.evaluate("refused")
    page.locator("tbody a").first.click()
    page.wait_for_load_state("networkidle")

    assert [] == listed + page.evaluate("refused")
