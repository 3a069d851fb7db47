"""Names, subjects, contexts and addresses that would like to be more than text."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from flask_courier.core.errors import AddressError, ConfigError, ContextError
from flask_courier.core.messages import RecordedMessage
from tests.observation import dump, update
from tests.site import Site
from tests.smtp_server import MailServer
from tests.visitor import ADA, delivered, mailed, request_mail

MARK = "0123456789abcdef0123456789abcdef"
#: Link-like text, the placeholder's form, template syntax, HTML, and what headers are made of.
HOSTILE = (
    "https://acme.example/account/recovery/",
    f"https://acme.example/account/recovery/{MARK}t",
    f"{MARK}t",
    f"{MARK}c",
    "{{ link }}",
    "{{ code }}",
    "{% raw %}{{ link }}{% endraw %}",
    "{# link #}",
    "${link} %(link)s {link} {0.__class__}",
    "{{ self.__init__.__globals__ }}",
    "<a href='{{ link }}'>here</a>",
    "</title><script>alert(1)</script>",
    "=?utf-8?q?x=0D=0ABcc=3A_eve=40example.com?=",
)
TEMPLATE_KINDS = ("recovery", "verification")

Write = Callable[..., None]


@pytest.fixture
def write(mailing_site: Site, tmp_path: Path) -> Write:
    """Writes mail templates of the application's own, by kind."""
    folder = tmp_path / "templates" / "courier" / "mail"
    folder.mkdir(parents=True)
    mailing_site.app.template_folder = str(tmp_path / "templates")

    def write(kind: str, **parts: str) -> None:
        for part, source in parts.items():
            suffix = {"subject": ".subject.txt", "text": ".txt", "html": ".html"}[part]
            (folder / f"{kind}{suffix}").write_text(source, encoding="utf-8")

    return write


def send(site: Site, kind: str, **context: Any) -> None:
    """Queue a mail of the application's own."""
    with site.app.app_context():
        site.courier.send(kind, to=ADA, context=context)
        site.db.session.commit()


def occurrences(mail: RecordedMessage) -> tuple[int, ...]:
    """How often token and code stand in subject, text and HTML."""
    parts = (mail.subject, mail.text, mail.html or "")
    return tuple(part.count(secret or "-") for part in parts for secret in (mail.token, mail.code))


def outcome(site: Site) -> list[tuple[str, str | None]]:
    """Status and reason of every message, oldest first."""
    rows = sorted(site.rows("courier_message"), key=lambda row: str(row["id"]))
    return [(row["status"], row["reason"]) for row in rows]


@pytest.mark.parametrize("kind", TEMPLATE_KINDS)
@pytest.mark.parametrize("name", HOSTILE)
def test_sender_name(sites: Callable[..., Site], kind: str, name: str) -> None:
    """Whatever the site is called, token and code stand where the template put them only."""
    site = sites(COURIER_DEFAULT_SENDER=(name, "no-reply@acme.example"))
    site.add_user()
    request_mail(site, kind)
    (mail,) = delivered(site)
    assert (0, 0, 1, 1, 3, 1) == occurrences(mail)
    assert (True, True) == (name in mail.subject, "<script>" not in (mail.html or ""))


@pytest.mark.parametrize("name", HOSTILE)
def test_display_name(mailing_site: Site, write: Write, name: str) -> None:
    """A display name in a recovery mail receives neither token nor code."""
    source = "For {{ name() }}: {{ link }} or {{ code }}"
    write("recovery", subject="For {{ name() }}", text=source, html=source)
    mailing_site.app.jinja_env.globals["name"] = lambda: name
    mailing_site.add_user()
    request_mail(mailing_site, "recovery")
    (mail,) = delivered(mailing_site)
    assert (0, 0, 1, 1, 1, 1) == occurrences(mail)
    assert (f"For {name}", True) == (mail.subject, mail.text.startswith(f"For {name}: https://"))


@pytest.mark.parametrize("text", HOSTILE)
def test_context(mailing_site: Site, mail_server: MailServer, write: Write, text: str) -> None:
    """What the application puts in a context arrives as it was, in every part."""
    write("welcome", subject="{{ text }}", text="{{ text }}", html="<p>{{ text }}</p>")
    send(mailing_site, "welcome", text=text)
    assert {"sent": 1} == mailing_site.deliver()
    (mail,) = mail_server.mails
    plain, html = (mail.get_body((subtype,)) for subtype in ("plain", "html"))
    assert plain is not None
    assert html is not None
    # A long word is folded onto a line of its own, behind a space (RFC 5322 section 2.2.3).
    assert text == plain.get_content().strip() == mail["Subject"].strip()
    assert ("<script>" in html.get_content(), None) == (False, mail["Bcc"])


def test_context_named_like_a_token(mailing_site: Site, write: Write) -> None:
    """A context cannot bring a link of its own into a mail that carries a token."""
    write("welcome", subject="Hello", text="{{ link }} {{ code }}")
    send(mailing_site, "welcome", link="their link", code="their code")
    (mail,) = delivered(mailing_site)
    assert ("their link their code", None, None) == (mail.text, mail.token, mail.code)


def test_stored_content(mailing_site: Site) -> None:
    """What is stored has a placeholder of 128 bits, another one for each mail."""
    for name in ("ada", "grace"):
        mailing_site.add_user(f"{name}@example.com")
        request_mail(mailing_site, "recovery", f"{name}@example.com")
    delivered(mailing_site)
    marks = {row["placeholder"] for row in mailing_site.rows("courier_content")}
    assert (2, True) == (len(marks), all(re.fullmatch("[0-9a-f]{32}", mark) for mark in marks))


@pytest.mark.parametrize("part", ["text", "html"])
@pytest.mark.parametrize("kind", TEMPLATE_KINDS)
def test_template_without_credentials(
    mailing_site: Site, mail_server: MailServer, write: Write, kind: str, part: str
) -> None:
    """A part of the application's own that shows neither link nor code is never sent."""
    write(kind, **{part: "Nothing to see here, {{ address }}"})
    mailing_site.add_user()
    request_mail(mailing_site, kind)
    assert ({"abandoned": 1}, []) == (mailing_site.deliver(), mail_server.envelopes)
    assert [("abandoned", "template")] == outcome(mailing_site)
    (row,) = mailing_site.rows("courier_message")
    assert "shows neither {{ link }} nor {{ code }}" in row["last_error"]
    assert [] == mailing_site.rows("courier_token")


def test_code_alone(mailing_site: Site, write: Write) -> None:
    """A template that shows the code alone is enough."""
    write("recovery", text="{{ code }}", html="<b>{{ code }}</b>")
    mailing_site.add_user()
    request_mail(mailing_site, "recovery")
    (mail,) = delivered(mailing_site)
    assert (0, 0, 0, 1, 0, 1) == occurrences(mail)


def test_own_subject(mailing_site: Site, mail_server: MailServer, write: Write) -> None:
    """The application can say what the subject is; the rest stays as it was."""
    write("recovery", subject="{{ code }} is your code for {{ site }}")
    mailing_site.add_user()
    mail = mailed(mailing_site, "recovery")
    assert f"{mail.code} is your code for Acme" == mail_server.mails[0]["Subject"]
    assert "To choose a new password" in mail.text
    assert mail.code not in repr(dump(mailing_site))


@pytest.mark.parametrize("source", ["{{ 1 / 0 }}", "{{ missing.name }}", "{% if %}", "{{ 1 +"])
def test_template_that_fails(
    mailing_site: Site, mail_server: MailServer, write: Write, source: str
) -> None:
    """A template that cannot be rendered keeps its own message back, and no other."""
    write("broken", subject="Hello", text=source)
    write("welcome", subject="Hello", text="Welcome")
    send(mailing_site, "broken")
    send(mailing_site, "welcome")
    assert {"sent": 1} == mailing_site.deliver()
    assert (1, ("sent", None)) == (len(mail_server.envelopes), outcome(mailing_site)[1])


def test_missing_template(mailing_site: Site, mail_server: MailServer, write: Write) -> None:
    """A kind without templates is released unattempted, and goes out when they are there."""
    send(mailing_site, "welcome")
    assert ({}, []) == (mailing_site.deliver(), mail_server.envelopes)
    (row,) = mailing_site.rows("courier_message")
    assert ("queued", "unknown_kind", 0) == (row["status"], row["reason"], row["attempts"])
    write("welcome", subject="Hello", text="Welcome")
    update(mailing_site, "courier_message", next_attempt_at=row["created_at"])
    assert {"sent": 1} == mailing_site.deliver()


@pytest.mark.parametrize("character", ["\r\n", "\n", "\r", "\0"])
@pytest.mark.parametrize("address", ["ada@example.com{}", "ada{}@example.com", "{}ada@example.com"])
def test_s29_address(site: Site, address: str, character: str) -> None:
    """An address with CR, LF or NUL is refused by every public call, and queues nothing."""
    hostile = address.format(f"{character}Bcc: eve@example.com{character}")
    with site.app.app_context():
        calls = (site.courier.request_recovery, site.courier.request_verification)
        for call in (*calls, lambda to: site.courier.send("welcome", to=to)):
            with pytest.raises(AddressError):
                call(hostile)
        site.db.session.commit()
    assert [] == site.rows("courier_message")


@pytest.mark.parametrize("character", ["\r\n", "\n", "\r"])
def test_s29_line_break_in_a_subject(
    mailing_site: Site, mail_server: MailServer, write: Write, character: str
) -> None:
    """Line breaks in a context become spaces in the subject, not headers."""
    write("welcome", subject="Hello {{ name }}", text="Welcome")
    send(mailing_site, "welcome", name=f"Ada{character}Bcc: eve@example.com")
    mailing_site.deliver()
    (mail,) = mail_server.mails
    assert ("Hello Ada Bcc: eve@example.com", None) == (mail["Subject"], mail["Bcc"])
    assert [[ADA]] == [envelope.rcpt_tos for envelope in mail_server.envelopes]


def test_nul_in_a_context(site: Site) -> None:
    """A context with NUL is refused before it is queued."""
    with site.app.app_context(), pytest.raises(ContextError, match="NUL"):
        site.courier.send("welcome", to=ADA, context={"name": "Ada\0Lovelace"})


def test_nul_in_a_template(mailing_site: Site, mail_server: MailServer, write: Write) -> None:
    """A subject that a template put NUL into never reaches the wire."""
    write("welcome", subject="Hello\0there", text="Welcome")
    send(mailing_site, "welcome")
    mailing_site.deliver()
    assert [] == mail_server.envelopes


@pytest.mark.parametrize("character", ["\r\n", "\n", "\r", "\0"])
def test_header(sites: Callable[..., Site], character: str) -> None:
    """A header of the configuration with CR, LF or NUL stops the start."""
    with pytest.raises(ConfigError, match="COURIER_SMTP_HEADERS"):
        sites(COURIER_SMTP_HEADERS={"X-Team": f"accounts{character}Bcc: eve@example.com"})


@pytest.mark.parametrize("character", ["\r\n", "\n", "\r"])
def test_stored_address(mailing_site: Site, mail_server: MailServer, character: str) -> None:
    """An address that the host itself stored with a line break never reaches the wire."""
    user = mailing_site.add_user()
    mailing_site.add_user("grace@example.com")
    with mailing_site.app.app_context():
        account = mailing_site.db.session.get(mailing_site.user, user)
        mailing_site.courier.request_verification(account)
        assert account is not None
        account.email = f"ada@example.com>{character}RCPT TO:<eve@example.com"
        mailing_site.db.session.commit()
    request_mail(mailing_site, "verification", "grace@example.com")
    mailing_site.deliver()
    assert [["grace@example.com"]] == [mail.rcpt_tos for mail in mail_server.envelopes]
