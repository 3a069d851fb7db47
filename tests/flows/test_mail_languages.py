"""Mail in the language of whoever reads it: caught with the request, kept until it is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import jinja2
import pytest

from flask_courier.core.messages import RecordedMessage
from tests.catalogue import BRACKETED, LANGUAGES, compiled, outside_brackets, put_brackets
from tests.databases import every_database
from tests.delivery.mails import only
from tests.observation import update
from tests.site import PASSWORD, Site
from tests.smtp_server import MailServer
from tests.visitor import ADA, NO_LIMITS, Visitor, delivered

NEW = "ada@new.example"
SUBJECT = "Reset your %(site)s password"
KINDS = {
    "recovery",
    "verification",
    "sign_in",
    "email_change",
    "email_changed",
    "password_changed",
    "invitation",
}


def asking(language: str) -> dict[str, str]:
    """How a browser asks for ``language``."""
    return {"Accept-Language": language}


def subject(language: str) -> str:
    """The subject of a recovery mail."""
    return compiled(language).gettext(SUBJECT) % {"site": "Acme"}


def ask(site: Site, language: str, kind: str = "recovery") -> None:
    """Ask for a mail in a browser that asks for ``language``."""
    answer = Visitor(site).post(f"/account/{kind}", json={"email": ADA}, headers=asking(language))
    assert 202 == answer.status_code


def in_request(site: Site, language: str, call: Callable[[Any], object]) -> None:
    """Have the application do ``call`` with Ada's account in a request for ``language``."""
    with site.app.test_request_context(headers=asking(language)):
        query = site.db.select(site.user)
        call(site.db.session.execute(query).scalar_one())
        site.db.session.commit()


def token_of(mails: list[RecordedMessage], kind: str) -> str | None:
    """The token in the mail of ``kind``."""
    return next(mail.token for mail in mails if mail.kind == kind)


def complete(site: Site, path: str, headers: dict[str, str], token: str | None) -> None:
    """Complete a flow by JSON."""
    body = {"token": token, "password": PASSWORD}
    answer = Visitor(site).post(f"/account/{path}", json=body, headers=headers)
    assert 200 == answer.status_code


def every_mail(site: Site, language: str) -> list[RecordedMessage]:
    """A mail of each kind, asked for in ``language``."""
    headers = asking(language)
    for kind in ("recovery", "sign-in", "verification"):
        ask(site, language, kind)
    in_request(site, language, site.courier.invite)
    mails = delivered(site)
    complete(site, "recovery/password", headers, token_of(mails, "recovery"))
    in_request(site, language, lambda account: site.courier.request_email_change(account, NEW))
    mails += delivered(site)
    complete(site, "email/confirm", headers, token_of(mails, "email_change"))
    return mails + delivered(site)


def worded(text: str) -> str:
    """What in ``text`` is neither a sentence of the catalogue nor a value of this mail's."""
    rest = re.sub(r"https://acme\.example\S*", "", outside_brackets(text))
    return re.sub(r"Acme|&nbsp;|\b\d{8}\b", "", rest).strip()


@pytest.fixture
def open_site(sites: Callable[..., Site], tmp_path: Path) -> Site:
    """A site without limits and with Ada, that knows a language between brackets."""
    put_brackets(tmp_path)
    site = sites(root_path=str(tmp_path), COURIER_SIGN_IN=True, **NO_LIMITS)
    site.add_user(ADA)
    return site


def test_every_sentence_is_in_the_catalogue(open_site: Site) -> None:
    """No part of any mail says anything that is not in the catalogue."""
    mails = every_mail(open_site, BRACKETED)
    assert KINDS == {mail.kind for mail in mails}
    for mail in mails:
        assert mail.html is not None
        assert ["", "", ""] == [worded(part) for part in (mail.subject, mail.text, mail.html)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_frame(open_site: Site, language: str) -> None:
    """Each HTML part says what language it is in and how it runs, where mail programs keep it."""
    direction, start = ("rtl", "right") if language == "ar" else ("ltr", "left")
    for mail in every_mail(open_site, language):
        html = str(mail.html)
        assert f'<html lang="{language}" dir="{direction}">' in html
        assert f'class="page" lang="{language}" dir="{direction}"' in html
        assert 3 == html.count(f'align="{start}"')
        assert 0 == html.count('align="left"' if start == "right" else 'align="right"')


def test_link_and_code_run_from_left_to_right(open_site: Site) -> None:
    """In a mail that runs from right to left, link, code, address and site's URL do not."""
    ask(open_site, "ar")
    (mail,) = delivered(open_site)
    html = str(mail.html)
    for value in (mail.link, mail.code, ADA, "https://acme.example"):
        assert f'<bdi dir="ltr">{value}</bdi>' in html


@every_database
def test_captured_with_the_request(sites: Callable[..., Site]) -> None:
    """The language is kept with the message, for a worker that runs later and elsewhere."""
    site = sites(**NO_LIMITS)
    site.add_user(ADA)
    ask(site, "it, ja;q=0.8")
    assert "ja" == only(site)["locale"]
    elsewhere = sites(site.url, create=False, **NO_LIMITS)
    assert [subject("ja")] == [mail.subject for mail in delivered(elsewhere)]


@pytest.mark.parametrize(
    ("account", "browser", "mail"),
    [
        ("fr", "de", "fr"),
        ("fr_CA", "de", "fr"),
        ("ar-EG", "de", "ar"),
        (None, "de", "de"),
        ("", "de", "de"),
        ("it", "de", "de"),
        ("no tag", "de", "de"),
        ("x" * 60, "it", "en"),
        (None, "it", "en"),
    ],
)
def test_account_comes_first(
    sites: Callable[..., Site], account: str | None, browser: str, mail: str
) -> None:
    """What the account says comes before what the browser asks for; then English."""
    site = sites(**NO_LIMITS)
    site.add_user(ADA, locale=account)
    ask(site, browser)
    (first,) = delivered(site)
    complete(site, "recovery/password", asking(browser), first.token)
    (notice,) = delivered(site)
    changed = compiled(mail).gettext("Your %(site)s password was changed") % {"site": "Acme"}
    assert (subject(mail), changed) == (first.subject, notice.subject)


@pytest.mark.parametrize(
    "asked", ["", "*", "a" * 2_000, "\"'<script>;q=nan", "-".join(["de"] * 90)]
)
def test_malformed(site: Site, asked: str) -> None:
    """A header that makes no sense is no language: the mail is in English."""
    site.add_user(ADA)
    ask(site, asked)
    assert (None, [subject("en")]) == (
        only(site)["locale"],
        [mail.subject for mail in delivered(site)],
    )


def test_tag_of_an_older_release(site: Site) -> None:
    """A message that was queued with a tag as browsers send it gets the language it names."""
    site.add_user(ADA)
    ask(site, "en")
    update(site, "courier_message", locale="de-AT")
    assert [subject("de")] == [mail.subject for mail in delivered(site)]


def test_outside_a_request(site: Site) -> None:
    """Outside a request nobody asks for a language: the account says it, or it is English."""
    identity = site.add_user(ADA)
    with site.app.app_context():
        site.courier.request_verification(site.db.session.get(site.user, identity))
        site.db.session.commit()
    assert (None, ["Verify your e-mail address for Acme"]) == (
        only(site)["locale"],
        [mail.subject for mail in delivered(site)],
    )


def test_application_says_the_language(site: Site) -> None:
    """What ``@courier.language`` answers is caught with the request, before the browser's word."""
    site.add_user(ADA)
    site.courier.language(lambda: "es-MX")
    ask(site, "de")
    assert [subject("es")] == [mail.subject for mail in delivered(site)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_on_the_wire(mailing_site: Site, mail_server: MailServer, language: str) -> None:
    """Subject and text arrive as they were written, in every language."""
    mailing_site.add_user(ADA)
    ask(mailing_site, language)
    assert {"sent": 1} == mailing_site.deliver()
    mail: EmailMessage = mail_server.mails[-1]
    body = mail.get_body(("plain",))
    assert body is not None
    text = " ".join(body.get_content().split())
    heading = compiled(language).gettext("Reset your password")
    assert (subject(language), True) == (mail["Subject"], text.startswith(heading))


@pytest.fixture
def own_site(open_site: Site) -> Site:
    """A site with a mail of its own, which says in what language it is."""
    templates = {
        "mail/hello.subject.txt": "{{ lang }} {{ dir }} {{ _('Continue') }}",
        "mail/hello.txt": "{{ _('Hello %(name)s', name=name) }} {{ gettext('Hi') }}",
    }
    present = open_site.app.jinja_env.loader
    assert present is not None
    open_site.app.jinja_env.loader = jinja2.ChoiceLoader([jinja2.DictLoader(templates), present])
    open_site.app.jinja_env.globals["gettext"] = lambda message: f"theirs: {message}"
    return open_site


@pytest.mark.parametrize(
    ("asked", "locale", "expected"),
    [
        ("ar", None, "ar rtl متابعة"),
        ("ar", "de-AT", "de ltr Weiter"),
        ("ar", "it", "ar rtl متابعة"),
        ("it", None, "en ltr Continue"),
    ],
)
def test_mail_of_the_applications_own(
    own_site: Site, asked: str, locale: str | None, expected: str
) -> None:
    """The application's own mail is told its language: what the call says, or the request.

    What no catalogue of ours has stays as it is written, and its own ``gettext`` is left alone.
    """
    context = {"name": "Ada"}
    in_request(
        own_site,
        asked,
        lambda _: own_site.courier.send("mail/hello", to=ADA, context=context, locale=locale),
    )
    (mail,) = delivered(own_site)
    assert (expected, "Hello Ada theirs: Hi") == (mail.subject, mail.text)
