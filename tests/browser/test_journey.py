"""The journey of one account, as a person goes through it in Chromium."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import RunningSite

pytestmark = pytest.mark.browser

ADDRESS = "ada@example.com"
FIRST, SECOND, THIRD = "the first password", "the second password", "the third password"
#: Seconds; an anonymous request waits up to two before the embedded worker sees it.
PATIENCE = 20.0

Picture = Callable[[Page, str], None]


def sign_up(page: Page, site: RunningSite) -> None:
    """Become a member."""
    page.goto(f"{site.url}/sign-up")
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("E-mail").fill(ADDRESS)
    page.get_by_label("Password").fill(FIRST)
    page.locator("main form button").click()


def sign_in(page: Page, site: RunningSite, password: str) -> None:
    """Begin a login session."""
    page.goto(f"{site.url}/sign-in")
    page.get_by_label("E-mail").fill(ADDRESS)
    page.get_by_label("Password").fill(password)
    page.locator("main form button").click()


def forget_password(page: Page, site: RunningSite) -> None:
    """Ask for a recovery mail."""
    page.goto(f"{site.url}/account/recovery")
    page.get_by_label("E-mail address").fill(ADDRESS)
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()


def choose(page: Page, password: str) -> None:
    """Type a new password twice."""
    page.get_by_label("New password", exact=True).fill(password)
    page.get_by_label("New password, once more").fill(password)
    page.get_by_role("button", name="Change the password").click()


def link_in(text: str) -> str:
    """The link of ours that stands in a mail."""
    found = re.search(r"http://\S+/account/(?:recovery|verification)/\S+", text)
    assert found is not None
    return found[0]


def code_in(text: str) -> str:
    """The code that stands on a line of its own in a mail."""
    found = re.search(r"^\s*(\d{8})\s*$", text, re.MULTILINE)
    assert found is not None
    return found[1]


@pytest.fixture
def page(browsers: Callable[..., BrowserContext]) -> Page:
    """A browser that keeps cookies."""
    return browsers().new_page()


@pytest.fixture
def member(page: Page, example: RunningSite) -> RunningSite:
    """The example site after Ada has signed up and verified her address."""
    sign_up(page, example)
    mail = example.mail.wait_for(timeout=PATIENCE)
    page.goto(link_in(mail.text))
    page.get_by_role("button", name="Yes, this is my address").click()
    return example


def test_verification_by_link(page: Page, example: RunningSite, picture: Picture) -> None:
    """Signing up mails a link over STARTTLS and AUTH, and the link verifies the address."""
    sign_up(page, example)
    mail = example.mail.wait_for(timeout=PATIENCE)
    picture(page, "check-your-mail")
    page.goto(link_in(mail.text))
    picture(page, "confirm")
    page.get_by_role("button", name="Yes, this is my address").click()
    sign_in(page, example, FIRST)

    assert ("TLSv1.3", True) == (mail.tls_version, mail.signed_in)
    expect(page.locator("main")).to_contain_text("verified")
    picture(page, "account")


def test_recovery_by_link(page: Page, member: RunningSite, picture: Picture) -> None:
    """The link of a recovery mail sets a new password, which signs in; the old one does not."""
    forget_password(page, member)
    mail = member.mail.wait_for(lambda mail: "/recovery/" in mail.text, timeout=PATIENCE)
    page.goto(link_in(mail.text))
    assert f"{member.url}/account/recovery/password" == page.url
    picture(page, "new-password")
    choose(page, SECOND)
    sign_in(page, member, FIRST)
    expect(page.locator("main")).to_contain_text("do not belong together")
    sign_in(page, member, SECOND)

    expect(page).to_have_url(f"{member.url}/account")


def test_recovery_by_code_without_cookies(
    page: Page, member: RunningSite, browsers: Callable[..., BrowserContext]
) -> None:
    """In a browser that takes no cookies, the code sets the new password."""
    other = browsers(cookies=False).new_page()
    forget_password(other, member)
    mail = member.mail.wait_for(lambda mail: "/recovery/" in mail.text, timeout=PATIENCE)
    other.get_by_label("E-mail address").fill(ADDRESS)
    other.get_by_label("Code or link from the mail").fill(code_in(mail.text))
    other.get_by_role("button", name="Continue").click()
    choose(other, THIRD)
    assert [] == other.context.cookies()
    sign_in(page, member, THIRD)

    expect(page).to_have_url(f"{member.url}/account")


def test_delivery_log_shows_what_was_sent(
    page: Page, member: RunningSite, picture: Picture
) -> None:
    """An admin finds the mail in the delivery log, with the server's words and no live link."""
    member.make_admin(ADDRESS)
    sign_in(page, member, FIRST)
    page.goto(f"{member.url}/courier/")
    picture(page, "log-list")
    page.get_by_role("link", name=ADDRESS).first.click()
    picture(page, "log-message")

    expect(page.locator("body")).to_contain_text("250")
    expect(page.locator("body")).to_contain_text("••••••••")
    page.get_by_role("link", name="HTML", exact=True).click()
    frame = page.frame_locator("iframe")
    expect(frame.locator("body")).to_contain_text("••••••••")


def test_log_is_closed_to_members(page: Page, member: RunningSite) -> None:
    """For a member who is no admin, the delivery log does not exist."""
    sign_in(page, member, FIRST)

    answer = page.goto(f"{member.url}/courier/")

    assert answer is not None
    assert 404 == answer.status


def open_password_page(page: Page, site: RunningSite) -> None:
    """Follow the link of a recovery mail."""
    forget_password(page, site)
    mail = site.mail.wait_for(lambda mail: "/recovery/" in mail.text, timeout=PATIENCE)
    page.goto(link_in(mail.text))


def test_password_is_shown(page: Page, member: RunningSite, picture: Picture) -> None:
    """A button shows what was typed, and hides it again before it is sent."""
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    open_password_page(page, member)
    field, button = page.locator("#courier-password"), page.get_by_role("button", name="Show what")
    field.fill(SECOND)
    button.click()
    expect(field).to_have_attribute("type", "text")
    expect(button).to_have_attribute("aria-pressed", "true")
    picture(page, "password-shown")
    button.click()
    expect(field).to_have_attribute("type", "password")
    button.click()
    page.get_by_label("New password, once more").fill("another")
    page.get_by_role("button", name="Change the password").click()
    expect(page.get_by_role("alert")).to_contain_text("not the same")
    expect(field).to_have_attribute("type", "password")
    assert [] == [text for text in said if "Content Security Policy" in text]


def test_without_scripts(
    page: Page, member: RunningSite, browsers: Callable[..., BrowserContext]
) -> None:
    """With scripts off there is no such button, and the new password is set."""
    other = browsers(java_script_enabled=False).new_page()
    open_password_page(other, member)
    expect(other.get_by_role("button", name="Show what")).to_have_count(0)
    choose(other, SECOND)
    sign_in(page, member, SECOND)

    expect(page).to_have_url(f"{member.url}/account")
