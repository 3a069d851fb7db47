"""Account pages in the visitor's language."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jinja2
import pytest
from jinja2 import pass_context
from werkzeug.test import TestResponse

from tests.catalogue import BRACKETED, LANGUAGES, compiled, outside_brackets, put_brackets
from tests.flows.test_email_change import NEW, change_mail
from tests.flows.test_email_undo import notice
from tests.site import PASSWORD, Site
from tests.visitor import ADA, NO_LIMITS, Visitor, delivered, mailed, not_me_link, request_mail

MakeSite = Callable[..., Site]
HEADING = "Reset your password"
#: Nobody's language, an address, and what stands in a code's place are no sentences of ours.
NO_WORDS = re.compile(r"[a-z]?•••@\S+|[0-9()•.,:;]+")


def asking(language: str) -> dict[str, dict[str, str]]:
    """How a browser asks for a page in ``language``."""
    return {"headers": {"Accept-Language": language}}


class Reader(Visitor):
    """A visitor whose browser asks for one language, always."""

    def __init__(self, site: Site, language: str, **options: Any) -> None:
        super().__init__(site, **options)
        self._headers = {"Accept-Language": language}

    def get(self, path: str, **options: Any) -> TestResponse:
        """Open a page."""
        headers = {**self._headers, **options.pop("headers", {})}
        return super().get(path, headers=headers, **options)

    def post(self, path: str, **options: Any) -> TestResponse:
        """Send what is given."""
        headers = {**self._headers, **options.pop("headers", {})}
        return super().post(path, headers=headers, **options)


@pytest.fixture
def bracketed(sites: MakeSite, tmp_path: Path) -> Site:
    """A site that knows a language in which every sentence of ours is between brackets."""
    put_brackets(tmp_path)
    site = sites(root_path=str(tmp_path), COURIER_SIGN_IN=True, **NO_LIMITS)
    identity = site.add_user(ADA)
    site.courier.sign_in(lambda _account: None)
    site.courier.current_account(lambda: site.db.session.get(site.user, identity))
    site.courier.recent_authentication(lambda _account: True)
    return site


def every_page(site: Site, reader: Reader) -> Iterator[TestResponse]:
    """Each account page, and each as it is when something is wrong."""
    for name in ("recovery", "verification", "sign-in", "email"):
        first = f"/account/{name}"
        yield reader.get(first)
        yield reader.fill(first, email="none")
        yield reader.get(f"{first}/code")
        yield reader.fill(f"{first}/code", email="", code="")
        yield reader.fill(f"{first}/code", email=ADA, code="1")
        yield reader.get(f"{first}/forged")
    for kind in ("verification", "recovery", "sign_in"):
        mail = mailed(site, kind)
        form = reader.follow(mail.link)
        yield form
        yield reader.send(form, form_token="old")
        fields: dict[str, str] = {}
        if kind == "recovery":
            yield reader.send(form, password="short", confirm="other")
            yield reader.send(form, password="x" * 1025, confirm="")
            fields = {"password": PASSWORD, "confirm": PASSWORD}
        yield reader.send(reader.follow(mail.link), **fields)
        dead = reader.get(mail.link)
        yield dead
        yield reader.get(mail.link.replace("recovery", "sign-in"))
    site.deliver()
    link = change_mail(site).link
    assert link is not None
    yield reader.follow(link)
    yield reader.send(reader.follow(link))
    undo = notice(site).link
    assert undo is not None
    yield reader.follow(undo)
    yield reader.send(reader.follow(undo))
    not_me = not_me_link(mailed(site, "recovery").text)
    yield reader.follow(not_me)
    yield reader.send(reader.follow(not_me))
    yield reader.post("/account/recovery", headers={"Sec-Fetch-Site": "cross-site"})
    yield reader.post("/account/recovery", data="x" * 40_000)
    yield reader.post("/account/recovery", data="x", content_type="text/plain")


def test_every_sentence_is_in_the_catalogue(bracketed: Site) -> None:
    """No page says anything that is not in the catalogue; nor does it in another language."""
    seen = 0
    for page in every_page(bracketed, Reader(bracketed, BRACKETED)):
        if page.status_code in (303, 404):
            continue
        seen += 1
        rest = NO_WORDS.sub("", outside_brackets(page.text).replace(NEW, "").replace(ADA, ""))
        assert "" == rest.strip(), page.text
        assert f'<html lang="{BRACKETED}" dir="rtl"' in page.text
    assert 40 <= seen


def problems(reader: Reader) -> Iterator[TestResponse]:
    """What JSON clients are told is wrong."""
    yield reader.post("/account/recovery", json={"email": "none"})
    yield reader.post("/account/recovery", json=[])
    yield reader.post("/account/recovery/code", json={"email": ADA, "code": "1"})
    yield reader.post("/account/recovery/password", json={"token": "x", "password": "short"})
    yield reader.post("/account/recovery", json={}, headers={"Origin": "https://evil.example"})


def test_problems(bracketed: Site) -> None:
    """A problem has its title, detail and errors in the client's language, its reason never."""
    english = [p.get_json() for p in problems(Reader(bracketed, "en"))]
    found = [p.get_json() for p in problems(Reader(bracketed, BRACKETED))]
    assert [body["reason"] for body in english] == [body["reason"] for body in found]
    for body in found:
        errors = [text for texts in body.get("errors", {}).values() for text in texts]
        said = [body["title"], body["detail"], *errors]
        assert [""] * len(said) == [outside_brackets(text) for text in said]


@pytest.mark.parametrize("language", LANGUAGES)
def test_language(site: Site, language: str) -> None:
    """A page is in the language that the browser asks for, and says which and how it runs."""
    page = Visitor(site).get("/account/recovery", **asking(language))
    direction = "rtl" if language == "ar" else "ltr"
    mark = f'lang="{language}" dir="{direction}"'
    assert (True, True, True, [language]) == (
        f"<h1>{compiled(language).gettext(HEADING)}</h1>" in page.text,
        f"<html {mark} " in page.text,
        f'<div class="courier courier-account" {mark}>' in page.text,
        page.headers.getlist("Content-Language"),
    )


@pytest.mark.parametrize(
    ("asked", "language"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("it,fr;q=0.5,de;q=0.4", "fr"),
        ("de;q=0,fr;q=0.1", "fr"),
        ("it", "en"),
        ("*", "en"),
        ("", "en"),
        ("\"'<script>;q=nan", "en"),
        ("de;q=nan, fr", "fr"),
        ("a" * 2_000, "en"),
        (",".join(["it;q=0.1"] * 500 + ["ja"]), "ja"),
        ("é", "en"),
    ],
)
def test_accept_language(site: Site, asked: str, language: str) -> None:
    """The most welcome language that there is; English where a browser asks for none of them."""
    page = Visitor(site).get("/account/recovery", **asking(asked))
    assert (200, language) == (page.status_code, page.headers["Content-Language"])


@pytest.mark.parametrize("path", ["/account/recovery", "/account/recovery/forged"])
def test_caches_are_told(site: Site, path: str) -> None:
    """An answer depends on the language that was asked for, and says so."""
    page = Visitor(site).get(path, **asking("de"))
    assert ["Accept", "Accept-Language"] == page.headers.getlist("Vary")


def test_answer_without_words(site: Site) -> None:
    """An answer without words of ours, a redirect or Flask's own 404, names no language."""
    visitor = Reader(site, "ar")
    found = visitor.fill("/account/recovery", email=ADA), visitor.get("/account/email")
    expected = [(303, None), (404, None)]
    assert expected == [(one.status_code, one.headers.get("Content-Language")) for one in found]


def test_application_says_the_language(site: Site) -> None:
    """What ``@courier.language`` answers comes first; where it answers None, the browser's does."""
    said: list[str | None] = ["fr-CA"]
    site.courier.language(lambda: said[0])
    first = Visitor(site).get("/account/recovery", **asking("de"))
    said[0] = None
    then = Visitor(site).get("/account/recovery", **asking("de"))
    found = [page.headers["Content-Language"] for page in (first, then)]
    assert ["fr", "de"] == found


def test_log_is_english(site: Site) -> None:
    """The delivery log, and what it refuses, are in English whatever the browser asks for."""
    site.courier.log_access(lambda _permission: True)
    for path in ("/courier/", "/courier/?status=none"):
        page = Visitor(site).get(path, **asking("ar"))
        assert '<html lang="en" dir="ltr"' in page.text


def in_layout(sites: MakeSite, layout: str) -> Site:
    """A site whose account pages are set in its own layout."""
    site = sites(COURIER_BASE_TEMPLATE="layout.html")
    with site.app.app_context():
        present = site.app.jinja_env.loader
        assert present is not None
        added = jinja2.DictLoader({"layout.html": layout + "{% block content %}{% endblock %}"})
        site.app.jinja_env.loader = jinja2.ChoiceLoader([added, present])
    return site


def test_card_in_the_applications_layout(sites: MakeSite) -> None:
    """In a layout of the application's the card says itself what language it is in."""
    page = Visitor(in_layout(sites, "<html lang='xx'>")).get("/account/recovery", **asking("ar"))
    assert (True, True) == (
        "<html lang='xx'>" in page.text,
        'courier-account" lang="ar" dir="rtl">' in page.text,
    )


def test_words_of_the_applications_layout(sites: MakeSite) -> None:
    """A layout's own sentences go through the application's own ``_()``, as on its other pages."""
    site = in_layout(sites, "<nav>{{ _('Home') }} {{ _('Hi %(who)s', who='Ada') }}</nav>")

    @pass_context
    def theirs(_context: object, message: str, **values: str) -> str:
        return message.replace("Home", "Startseite").replace("Hi", "Servus") % values

    site.app.jinja_env.globals["_"] = theirs
    page = Visitor(site).get("/account/recovery", **asking("de"))
    assert (True, True) == (
        "<nav>Startseite Servus Ada</nav>" in page.text,
        f"<h1>{compiled('de').gettext(HEADING)}</h1>" in page.text,
    )


def test_words_of_a_layout_without_gettext(sites: MakeSite) -> None:
    """Without a ``_()`` of the application's, a layout's sentences stay as they are written."""
    site = in_layout(sites, "<nav>{{ _('Home') }}</nav>")
    assert "<nav>Home</nav>" in Visitor(site).get("/account/recovery", **asking("de")).text


@pytest.mark.parametrize("language", LANGUAGES)
def test_same_answer(site: Site, language: str) -> None:
    """Known and unknown addresses get one answer in every language, and one page after it."""
    site.add_user(ADA)
    found = set()
    for email in (ADA, "bob@example.com"):
        reader = Reader(site, language)
        told = reader.post("/account/recovery", json={"email": email})
        reader.fill("/account/recovery", email=email)
        page = reader.get("/account/recovery/code")
        text = re.sub(r'name="form_token"[^>]*>', "", page.text)
        found.add((told.text, tuple(told.headers), text, page.headers["Content-Language"]))
    assert 1 == len(found)


def test_mail_after_many_requests(site: Site) -> None:
    """A request has its own language, also where one client asks in several."""
    site.add_user(ADA)
    visitor = Visitor(site)
    for language in ("de", "ar", "de"):
        page = visitor.get("/account/recovery", **asking(language))
        assert language == page.headers["Content-Language"]
    request_mail(site, "recovery")
    assert ["Reset your Acme password"] == [mail.subject for mail in delivered(site)]
