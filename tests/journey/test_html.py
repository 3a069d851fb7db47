"""The whole journey in HTML, over a real SMTP server, on every database."""

from __future__ import annotations

import re
from email.message import EmailMessage
from email.utils import parsedate_to_datetime
from uuid import UUID

import pytest

from tests.databases import every_database
from tests.observation import dump
from tests.site import Site
from tests.smtp_server import PASSWORD as SMTP_PASSWORD
from tests.smtp_server import USERNAME, MailServer
from tests.visitor import ADA, Visitor

pytestmark = every_database

#: As the account has it; people type it in lower case.
STORED = "Ada.Lovelace@example.com"
TYPED = STORED.lower()


def part(mail: EmailMessage, subtype: str) -> str:
    """The text or the HTML of a mail."""
    body = mail.get_body((subtype,))
    assert body is not None
    content: str = body.get_content()
    return content.replace("\r\n", "\n")


def link_in(mail: EmailMessage) -> str:
    """The link that stands in the text of a mail."""
    (link,) = re.findall(r"https://acme\.example/account/\w+/\S+", part(mail, "plain"))
    assert isinstance(link, str)
    return link


def code_in(mail: EmailMessage) -> str:
    """The code that stands on a line of its own."""
    (code,) = re.findall(r"^[0-9]{8}$", part(mail, "plain"), re.MULTILINE)
    assert isinstance(code, str)
    return code


def ask(site: Site, server: MailServer, kind: str, visitor: Visitor) -> EmailMessage:
    """Ask for a mail on the page, have it delivered, and read it."""
    asked = visitor.fill(f"/account/{kind}", email=TYPED)
    assert (303, f"/account/{kind}/code") == (asked.status_code, asked.location)
    assert {"sent": 1} == site.deliver()
    return server.mails[-1]


def recover(site: Site, server: MailServer) -> None:
    """Set a new password by the link of a mail."""
    visitor = Visitor(site)
    page = visitor.follow(link_in(ask(site, server, "recovery", visitor)))
    visitor.send(page, password="a brand new password", confirm="a brand new password")


def test_verification_by_link(mailing_site: Site, mail_server: MailServer) -> None:
    """The link of a verification mail leads to one button, which verifies the address."""
    user, visitor = mailing_site.add_user(STORED), Visitor(mailing_site)
    page = visitor.follow(link_in(ask(mailing_site, mail_server, "verification", visitor)))
    assert "A•••@example.com" in page.text
    assert mailing_site.get_user(user).email_verified_at is None

    done = visitor.send(page)
    assert (200, True) == (done.status_code, "Your address is verified" in done.text)
    assert mailing_site.get_user(user).email_verified_at is not None


def test_verification_by_code(mailing_site: Site, mail_server: MailServer) -> None:
    """The code of a verification mail verifies in a browser that keeps no cookies."""
    user, visitor = mailing_site.add_user(STORED), Visitor(mailing_site, cookies=False)
    code = code_in(ask(mailing_site, mail_server, "verification", visitor))

    button = visitor.fill("/account/verification/code", email=TYPED, code=code)
    done = visitor.send(button)
    assert (200, True) == (done.status_code, "Your address is verified" in done.text)
    assert mailing_site.get_user(user).email_verified_at is not None


def test_recovery_by_link(mailing_site: Site, mail_server: MailServer) -> None:
    """The link of a recovery mail sets a new password, and the old one is dead."""
    user, visitor = mailing_site.add_user(STORED), Visitor(mailing_site)
    page = visitor.follow(link_in(ask(mailing_site, mail_server, "recovery", visitor)))
    assert "A•••@example.com" in page.text

    done = visitor.send(page, password="a brand new password", confirm="a brand new password")
    assert (200, True) == (done.status_code, "Your password has been changed" in done.text)
    account = mailing_site.get_user(user)
    assert account.check_password("a brand new password")
    assert not account.check_password("the old password")


def test_recovery_by_code(mailing_site: Site, mail_server: MailServer) -> None:
    """The code of a recovery mail sets a new password in a browser that keeps no cookies."""
    user, visitor = mailing_site.add_user(STORED), Visitor(mailing_site, cookies=False)
    code = code_in(ask(mailing_site, mail_server, "recovery", visitor))

    form = visitor.fill("/account/recovery/code", email=TYPED, code=code)
    done = visitor.send(form, password="a brand new password", confirm="a brand new password")
    assert (200, True) == (done.status_code, "Your password has been changed" in done.text)
    assert mailing_site.get_user(user).check_password("a brand new password")


def test_s14_notice(mailing_site: Site, mail_server: MailServer) -> None:
    """After a recovery its owner is told, at the stored address, and not what the password is.

    The mail opens no account.
    """
    mailing_site.add_user(STORED)
    recover(mailing_site, mail_server)
    assert {"sent": 1} == mailing_site.deliver()
    notice = mail_server.mails[-1]
    assert ("Your Acme password was changed", STORED) == (notice["Subject"], notice["To"])
    links = re.findall(r"https://acme\.example/\S+", part(notice, "plain"))
    found = [re.sub(r"[\w.-]{66}$", "<token>", link) for link in links]
    site = "https://acme.example/account"
    assert [f"{site}/recovery", f"{site}/not-me/<token>"] == found
    assert "a brand new password" not in notice.as_string()


def test_s28_mail_goes_to_the_stored_address(mailing_site: Site, mail_server: MailServer) -> None:
    """A mail goes to the stored address, with link and code in a text and in an HTML part."""
    mailing_site.add_user(STORED)
    mail = ask(mailing_site, mail_server, "recovery", Visitor(mailing_site))
    assert ("multipart/alternative", "Reset your Acme password", STORED) == (
        mail.get_content_type(),
        mail["Subject"],
        mail["To"],
    )
    assert "auto-generated" == mail["Auto-Submitted"]
    html = part(mail, "html")
    assert (True, True) == (link_in(mail) in html, code_in(mail) in html)


@pytest.mark.parametrize("tail", ["", ".", ">", ">."])
def test_s27_link_on_the_wire(mailing_site: Site, mail_server: MailServer, tail: str) -> None:
    """A link comes whole through the folding of the wire, and works with what mail programs add."""
    mailing_site.add_user(STORED)
    visitor = Visitor(mailing_site)
    mail = ask(mailing_site, mail_server, "recovery", visitor)
    for subtype in ("plain", "html"):
        (token,) = set(re.findall(r"/account/recovery/([\w.~-]+)", part(mail, subtype)))
        assert 303 == visitor.get(f"/account/recovery/{token}{tail}").status_code
    raw = mail_server.envelopes[-1].original_content or b""
    assert max(map(len, raw.split(b"\r\n"))) <= 998


def test_envelope(mailing_site: Site, mail_server: MailServer) -> None:
    """The envelope names the sender and the stored address, after one login over TLS."""
    mailing_site.add_user(STORED)
    ask(mailing_site, mail_server, "verification", Visitor(mailing_site))
    (envelope,) = mail_server.envelopes
    assert ("no-reply@acme.example", [STORED]) == (envelope.mail_from, envelope.rcpt_tos)
    assert [(USERNAME, SMTP_PASSWORD)] == mail_server.logins
    (attempt,) = mailing_site.rows("courier_attempt")
    assert attempt["tls_version"].startswith("TLSv1.")


def test_date(mailing_site: Site, mail_server: MailServer) -> None:
    """The Date field of a mail is when it was prepared, to the second."""
    mailing_site.add_user(STORED)
    mail = ask(mailing_site, mail_server, "recovery", Visitor(mailing_site))
    (row,) = mailing_site.rows("courier_message")
    prepared = row["prepared_at"].replace(microsecond=0, tzinfo=None)
    assert prepared == parsedate_to_datetime(mail["Date"]).replace(tzinfo=None)


def test_row_ids(mailing_site: Site, mail_server: MailServer) -> None:
    """No mail carries the id of any row, in its Message-ID or elsewhere."""
    mailing_site.add_user(STORED)
    recover(mailing_site, mail_server)
    mailing_site.deliver()
    rows = [row for table in dump(mailing_site).values() for row in table]
    ids = {value for row in rows for value in row.values() if isinstance(value, UUID)}
    spellings = {text for found in ids for text in (str(found), found.hex, str(found.int))}
    sent = b"".join(envelope.original_content or b"" for envelope in mail_server.envelopes)
    assert (2, True) == (len(mail_server.envelopes), len(ids) >= 2)
    assert [] == [text for text in spellings if text.encode() in sent.lower()]


def test_message_id(mailing_site: Site, mail_server: MailServer) -> None:
    """The Message-ID is random, under the sender's domain, and the log knows it."""
    mailing_site.add_user(STORED)
    mail = ask(mailing_site, mail_server, "recovery", Visitor(mailing_site))
    assert re.fullmatch(r"<[0-9a-f]{32}@acme\.example>", mail["Message-ID"])
    (row,) = mailing_site.rows("courier_message")
    assert mail["Message-ID"] == row["message_id_header"]


def test_unknown_address(mailing_site: Site, mail_server: MailServer) -> None:
    """Nobody gets a mail for an address that no account has."""
    mailing_site.add_user(STORED)
    Visitor(mailing_site).fill("/account/recovery", email=ADA)
    mailing_site.deliver()
    assert [] == mail_server.envelopes
    (row,) = mailing_site.rows("courier_message")
    assert ("suppressed", "no_account") == (row["status"], row["reason"])
