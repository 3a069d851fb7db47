"""What is done by hand in Chromium: by keys, by clicks, and without scripts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.test_log import MAILS, change, log, page, row_of
from tests.site import Site

pytestmark = pytest.mark.browser

Browsers = Callable[..., BrowserContext]
Picture = Callable[[Page, str], None]

__all__ = ["log", "page"]
ADA = "ada@example.com"


def notice(page: Page) -> str:
    """What the page says was done."""
    return page.locator(".courier-notice").inner_text()


def messages(site: Site) -> int:
    """How many messages there are."""
    return len(site.rows("courier_message"))


def test_r_asks_and_resends(page: Page, log: tuple[Site, str]) -> None:
    """``r`` asks in a dialog; a click there sends the mail anew, and leads to the new message."""
    page.get_by_role("link", name=ADA).click()
    expect(page.get_by_role("button", name="Keys")).to_be_visible()
    page.keyboard.press("r")
    dialog = page.get_by_role("dialog", name="Send this mail anew?")
    expect(dialog).to_contain_text(ADA)
    dialog.get_by_role("button", name="Resend").click()
    expect(page.locator(".courier-notice")).to_contain_text("this is the new message")

    assert len(MAILS) + 1 == messages(log[0])
    assert [] == page.evaluate("refused")


@pytest.mark.parametrize("way", ["Escape", "Not now"])
def test_question_can_be_left(page: Page, log: tuple[Site, str], way: str) -> None:
    """Who leaves the question has done nothing, is back where it was asked, and can ask again."""
    page.get_by_role("link", name=ADA).click()
    for _ in range(2):
        page.locator("summary", has_text="Resend").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        if way == "Escape":
            page.keyboard.press("Escape")
        else:
            page.get_by_role("button", name=way).click()
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(page.locator("summary", has_text="Resend")).to_be_focused()

    assert len(MAILS) == messages(log[0])


def test_r_on_a_row(page: Page) -> None:
    """``r`` on the row that has the focus opens its message with the question."""
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("r")

    expect(page.get_by_role("dialog")).to_contain_text(ADA)


def test_r_where_nothing_can_be_resent(page: Page) -> None:
    """What still waits is not resent, by no key."""
    page.get_by_role("link", name="bob@example.com").click()
    expect(page.get_by_role("button", name="Keys")).to_be_visible()
    page.keyboard.press("r")

    expect(page.get_by_role("dialog")).to_have_count(0)


def test_x_selects(page: Page, log: tuple[Site, str]) -> None:
    """``x`` selects the row that has the focus; what is selected is asked about, and done."""
    for key in ("j", "x", "j", "j", "j", "x"):
        page.keyboard.press(key)
    expect(page.get_by_label("Select bob@example.com")).to_be_checked()
    page.get_by_role("button", name="Act on the selected").click()
    expect(page.locator("h1")).to_have_text("What is to be done with 2 messages?")
    page.get_by_role("button", name="Take back 2 messages").click()
    expect(page.locator("h1")).to_have_text("Take back: 2 done, 0 not")

    taken = [row["status"] for row in log[0].rows("courier_message")].count("cancelled")
    assert (3, []) == (taken, page.evaluate("refused"))


def test_all_are_selected_at_once(page: Page) -> None:
    """One box selects all that the page shows."""
    page.get_by_label("Select all of this page").check()
    page.get_by_role("button", name="Act on the selected").click()

    expect(page.locator("h1")).to_have_text(f"What is to be done with {len(MAILS)} messages?")


def test_retry_is_one_click(page: Page, log: tuple[Site, str]) -> None:
    """What waits for its next attempt is tried at a click."""
    page.get_by_role("link", name="greta@example.org").click()
    page.get_by_role("button", name="Retry now").click()
    expect(page.locator(".courier-notice")).to_contain_text("It is tried again")

    assert [("web", "hurried")] == [
        (event["actor"], event["what"]) for event in log[0].rows("courier_event")
    ]


def test_somebody_was_faster(page: Page, log: tuple[Site, str]) -> None:
    """Who acts on what has changed meanwhile is told why nothing was done."""
    page.get_by_role("link", name="bob@example.com").click()
    page.locator("summary", has_text="Take back").click()
    change(log[0], "bob@example.com", status="sent", attempts=1)
    page.get_by_role("dialog").get_by_role("button", name="Take back").click()

    expect(page.locator(".courier-notice")).to_contain_text("Nothing was done: it does not wait")


def test_without_scripts(browsers: Browsers, log: tuple[Site, str]) -> None:
    """Without scripts a question is a disclosure, and many are acted on all the same."""
    page = browsers(java_script_enabled=False).new_page()
    page.goto(log[1])
    page.get_by_role("link", name=ADA).click()
    page.locator("summary", has_text="Delete content").click()
    page.get_by_role("button", name="Delete content").click()
    expect(page.locator(".courier-notice")).to_contain_text("Its content is deleted")
    page.goto(f"{log[1]}?status=queued")
    page.get_by_label("Select bob@example.com").check()
    page.get_by_role("button", name="Act on the selected").click()
    page.get_by_role("button", name="Take back 1 message").click()
    expect(page.locator("h1")).to_have_text("Take back: 1 done, 0 not")
    page.goto(f"{log[1]}?status=queued")
    page.get_by_role("link", name="Act on all that match").click()
    page.get_by_role("button", name="Take back 1 message").click()

    expect(page.locator("main, body").first).to_contain_text("greta@example.org")


def test_looks_without_scripts(
    browsers: Browsers,
    log: tuple[Site, str],
    picture: Picture,
) -> None:
    """A question that is a disclosure stands where it was asked."""
    page = browsers(java_script_enabled=False).new_page()
    page.goto(log[1])
    row_of(page, "mo@example.com").get_by_role("link").click()
    page.locator("summary", has_text="Resend").click()
    picture(page, "log-actions-plain")

    expect(page.get_by_role("heading", name="Send this mail anew?")).to_be_visible()
