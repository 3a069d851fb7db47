"""The journey: what a member does who joins, forgets her password twice, and what an admin sees."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from example_app.demo.browser import Browser
from example_app.demo.terminal import StepFailedError
from example_app.mail_server import MailServer, ReceivedMail

#: Seconds that a mail may take from the click to the mailbox; the worker looks every five or so.
_MAIL_PATIENCE = 30.0
#: Seconds that the log may take to show what the mail server has just said.
_LOG_PATIENCE = 5.0
_LINK = re.compile(r"https?://\S+/account/(?:recovery|verification)/(?P<token>\S+)")
_CODE = re.compile(r"^\d{8,12}$", re.MULTILINE)
_BOOKS = (
    ("The Old Man and the Sea", "Ernest Hemingway"),
    ("To the Lighthouse", "Virginia Woolf"),
    ("The Summer Book", "Tove Jansson"),
)

Step = tuple[str, Callable[[], "str | None"]]


@dataclass(frozen=True)
class Login:
    """Who signs in, and with what."""

    email: str
    password: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(12))


class Journey:
    """Everything that the demo shows; each method is one step and answers a note, or None."""

    def __init__(self, site: str, mail_server: MailServer, *, member: Login, admin: Login) -> None:
        self.member = member
        self._admin = admin
        self._mail_server = mail_server
        self._desk, self._phone, self._office = Browser(site), Browser(site), Browser(site)
        self._library = Browser(site, cookies=False)
        self._old = member
        self._mails: list[ReceivedMail] = []

    def steps(self) -> Iterator[Step]:
        """The steps, in order."""
        yield "Ada opens the site", self._open_site
        yield "She joins the club", self._join
        yield "The verification mail arrives", self._receive_verification
        yield "She signs in: not verified yet", self._sign_in_unverified
        yield "She opens the link in the mail and confirms", self._verify
        yield "She puts books on the shelf", self._put_books
        yield "She signs in on her phone too, and out at her desk", self._move_to_phone

        yield "She has forgotten her password and asks for a mail", self._ask_for_recovery
        yield "The recovery mail arrives", self._receive_recovery
        yield "She opens the link and chooses a new password", self._recover_by_link
        yield "A mail tells her of the change", self._receive_notice
        yield "The old password is refused", self._try_old_password
        yield "The new one works", self._sign_in_at_desk
        yield "Her phone has been signed out", self._look_at_phone
        yield "The link is spent", self._open_spent_link

        yield "In a library, without cookies, she asks again", self._ask_in_library
        yield "The recovery mail arrives", self._receive_recovery
        yield "She types the code and chooses another password", self._recover_by_code
        yield "A mail tells her of the change", self._receive_notice
        yield "Back at her desk, that one works", self._sign_in_at_desk

        yield "For Ada there is no delivery log", self._look_for_log
        yield "An admin opens it: every mail is there", self._open_log
        yield "It holds no link and no code that a mail carried", self._search_log

    def _open_site(self) -> None:
        self._desk.open("/")
        self._desk.expect("A reading club by the water")

    def _join(self) -> None:
        self._desk.follow("Join the club")
        self._desk.press("Join", name="Ada", email=self.member.email, password=self.member.password)
        self._desk.expect("Check your mail")

    def _receive_verification(self) -> str:
        return self._receive("Verify your e-mail address")

    def _sign_in_unverified(self) -> None:
        self._sign_in(self._desk)
        self._desk.expect_text("not verified yet")

    def _verify(self) -> None:
        self._desk.open(self._link().group())
        self._desk.expect("Confirm your address")
        self._desk.press("Yes, this is my address")
        self._desk.expect("Hello, Ada")
        self._desk.expect_text("verified")

    def _put_books(self) -> None:
        for title, author in _BOOKS:
            self._desk.open("/")
            self._desk.press("Put it on the shelf", title=title, author=author)
            self._desk.expect_text(title)

    def _move_to_phone(self) -> None:
        self._sign_in(self._phone)
        self._desk.press("Sign out")
        self._desk.expect("A reading club by the water")

    def _ask_for_recovery(self) -> None:
        self._ask(self._desk)

    def _receive_recovery(self) -> str:
        return self._receive("Reset your Harbour password")

    def _recover_by_link(self) -> None:
        self._desk.open(self._link().group())
        self._choose_password(self._desk)

    def _receive_notice(self) -> str:
        return self._receive("Your Harbour password was changed")

    def _try_old_password(self) -> None:
        self._desk.open("/sign-in")
        self._desk.press("Sign in", email=self._old.email, password=self._old.password)
        self._desk.expect("Welcome back", status=422)

    def _sign_in_at_desk(self) -> None:
        self._sign_in(self._desk)
        self._desk.expect_text("verified")

    def _look_at_phone(self) -> None:
        self._phone.open("/account")
        self._phone.expect("Welcome back")

    def _open_spent_link(self) -> None:
        self._phone.open(self._link().group())
        self._phone.expect("This link has been used", status=410)

    def _ask_in_library(self) -> None:
        self._ask(self._library)

    def _recover_by_code(self) -> None:
        self._library.press("Continue", email=self.member.email, code=self._code())
        self._choose_password(self._library)

    def _look_for_log(self) -> None:
        self._desk.open("/courier/")
        self._desk.expect("Not Found", status=404)

    def _open_log(self) -> str:
        self._sign_in(self._office, self._admin)
        deadline = time.monotonic() + _LOG_PATIENCE
        accepted = -1
        while accepted != len(self._mails) and time.monotonic() < deadline:
            self._office.open("/courier/")
            accepted = self._office.expect("Delivery log").texts.count(
                "Accepted by the SMTP server"
            )
        if accepted != len(self._mails):
            raise StepFailedError(f"expected {len(self._mails)} mails accepted, saw {accepted}")
        return f"{accepted} mails"

    def _search_log(self) -> str:
        """Read the list, every message and every preview."""
        hidden = [secret for mail in self._mails for secret in secrets_in(mail)]
        urls = [url for _, url in self._office.page.links if "/messages/" in url]
        pages = [self._office.page]
        for url in urls:
            pages += [self._office.open(url), self._office.open(f"{url}/preview")]
        for page in pages:
            if page.status != 200 or any(secret in page.html for secret in hidden):
                raise StepFailedError(f"expected no link and no code, saw one in {page}")
        return f"{len(pages)} pages"

    def _sign_in(self, browser: Browser, login: Login | None = None) -> None:
        login = login or self.member
        browser.open("/sign-in")
        browser.press("Sign in", email=login.email, password=login.password)
        browser.expect_text(login.email)

    def _ask(self, browser: Browser) -> None:
        browser.open("/sign-in")
        browser.follow("Forgot your password?")
        browser.press("Send the mail", email=self.member.email)
        browser.expect("Check your mail")

    def _choose_password(self, browser: Browser) -> None:
        browser.expect("Choose a new password")
        self._old, self.member = self.member, Login(self.member.email)
        new = self.member.password
        browser.press("Change the password", password=new, confirm=new)
        browser.expect("Welcome back")

    def _receive(self, subject: str) -> str:
        """Wait for the next mail, which must be this one."""
        mail = self._mail_server.wait_for(timeout=_MAIL_PATIENCE, after=len(self._mails))
        self._mails.append(mail)
        if not mail.subject.startswith(subject) or mail.recipients != (self.member.email,):
            raise StepFailedError(f"expected a mail “{subject}…” to Ada, saw “{mail.subject}”")
        if mail.tls_version is None or not mail.signed_in:
            raise StepFailedError("expected STARTTLS and AUTH, saw a mail that came without")
        return f"{mail.tls_version}, signed in"

    def _link(self) -> re.Match[str]:
        found = [match for mail in self._mails for match in _LINK.finditer(mail.text)]
        if not found:
            raise StepFailedError("expected a link in the mail, saw none")
        return found[-1]

    def _code(self) -> str:
        found = _CODE.findall(self._mails[-1].text)
        if len(found) != 1:
            raise StepFailedError(f"expected one code in the mail, saw {len(found)}")
        return str(found[0])


def secrets_in(mail: ReceivedMail) -> list[str]:
    """The tokens and codes that a mail carries."""
    tokens = [match["token"] for match in _LINK.finditer(mail.text)]
    return [*tokens, *_CODE.findall(mail.text)]
