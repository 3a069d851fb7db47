"""POSTs that somebody else's page made, and forms that belong to another link."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator

import pytest
from flask import Flask
from flask_wtf import CSRFProtect

from flask_courier import Courier
from flask_courier.core.tokens import _form_signer
from flask_courier.state import state_of
from flask_courier.testing import form_data
from tests.databases import every_database
from tests.observation import dump
from tests.site import PASSWORD, PUBLIC_URL, Site, make_site
from tests.visitor import ADA, FINAL, NO_LIMITS, Visitor, mailed

ASK = "/account/recovery"
FINAL_FIELDS = {"password": PASSWORD, "confirm": PASSWORD}
EXPIRED = "This page stood open too long."

FormToken = Callable[[Site], "str | None"]


@pytest.fixture
def site(sites: Callable[..., Site]) -> Site:
    """A site with every page that takes a form from whoever comes."""
    return sites(COURIER_SIGN_IN=True)


def current(site: Site) -> str:
    """A form token of the page that asks for recovery."""
    return form_data(Visitor(site).get(ASK).text)["form_token"]


def aged(site: Site, seconds: int) -> str:
    """The same token, made ``seconds`` ago."""
    signer = _form_signer([state_of(site.app).keys.current.forms])
    binding = signer.unsign(current(site))
    moment = int(time.time()) - seconds
    signer.get_timestamp = lambda: moment  # type: ignore[method-assign]  # a clock that was right
    return signer.sign(binding).decode()


def of_another_key(site: Site) -> str:
    """A token of the same form on another site."""
    url = site.app.config["SQLALCHEMY_DATABASE_URI"]
    return current(make_site(url, create=False, SECRET_KEY="the-secret-key-of-somebody-else"))


BAD_TOKENS: dict[str, FormToken] = {
    "missing": lambda _site: None,
    "empty": lambda _site: "",
    "junk": lambda _site: "junk.junk.junk",
    "not ASCII": lambda _site: "\u00e9.\u00e9.\u00e9",
    "half a pair": lambda _site: "\ud800".encode("utf-8", "replace").decode(),
    "tampered": lambda site: f"{current(site)[:-2]}AA",
    "an hour and a minute old": lambda site: aged(site, 3660),
    "of another form": lambda site: form_data(Visitor(site).get(f"{ASK}/code").text)["form_token"],
    "of the other flow": lambda site: form_data(Visitor(site).get("/account/verification").text)[
        "form_token"
    ],
    "of another site": of_another_key,
}


@pytest.mark.parametrize("make", BAD_TOKENS.values(), ids=BAD_TOKENS.keys())
def test_s35_form_token(site: Site, make: FormToken) -> None:
    """A form without a good token of its own is shown again with an explanation."""
    token = make(site)
    data = {"email": ADA} if token is None else {"email": ADA, "form_token": token}
    before = dump(site)
    answer = Visitor(site).post(ASK, data=data)
    assert (422, True, before) == (answer.status_code, EXPIRED in answer.text, dump(site))


def test_form_token_in_json(site: Site) -> None:
    """A form without a token that is to be answered in JSON gets a reason that never changes."""
    headers = {"Accept": "application/json"}
    answer = Visitor(site).post(ASK, data={"email": ADA}, headers=headers)
    problem = answer.get_json()
    assert (422, "form_expired", ["form_token"]) == (
        answer.status_code,
        problem["reason"],
        [*problem["errors"]],
    )


def test_form_shown_again(site: Site) -> None:
    """The form that is shown again carries a good token, and the address that was typed."""
    visitor = Visitor(site)
    refused = visitor.post(ASK, data={"email": ADA, "form_token": "junk"})
    assert ADA == form_data(refused.text)["email"]
    assert 303 == visitor.send(refused).status_code


def test_form_token_of_an_hour(site: Site) -> None:
    """A form that stood open for most of an hour is accepted."""
    data = {"email": ADA, "form_token": aged(site, 3540)}
    assert 303 == Visitor(site).post(ASK, data=data).status_code


def test_form_after_rotation(sites: Callable[..., Site], site: Site) -> None:
    """A form that was open while the SECRET_KEY was rotated is accepted."""
    token, old = current(site), site.app.config["SECRET_KEY"]
    rotated = sites(SECRET_KEY="a-newer-secret-key-that-is-long", SECRET_KEY_FALLBACKS=[old])
    answer = Visitor(rotated).post(ASK, data={"email": ADA, "form_token": token})
    assert 303 == answer.status_code


CROSS_SITE: dict[str, dict[str, str]] = {
    "cross-site": {"Sec-Fetch-Site": "cross-site"},
    "same-site": {"Sec-Fetch-Site": "same-site"},
    "foreign origin": {"Origin": "https://eve.example"},
    "sub-domain": {"Origin": "https://eve.acme.example"},
    "other port": {"Origin": "https://acme.example:8443"},
    "cleartext": {"Origin": "http://acme.example"},
    "opaque": {"Origin": "null"},
    "empty": {"Origin": ""},
    "prefix": {"Origin": "https://acme.example.eve.example"},
}


@pytest.mark.parametrize("headers", CROSS_SITE.values(), ids=CROSS_SITE.keys())
def test_s35_cross_site(site: Site, headers: dict[str, str]) -> None:
    """What another site's page sends is refused, as a form and as JSON."""
    data, before, visitor = {"email": ADA, "form_token": current(site)}, dump(site), Visitor(site)
    for path in (ASK, f"{ASK}/code", *FINAL.values()):
        page = visitor.post(path, data=data, headers=headers)
        problem = visitor.post(path, json=data, headers=headers)
        assert (403, True) == (page.status_code, "sent from another site" in page.text)
        assert (403, "cross_site") == (problem.status_code, problem.get_json()["reason"])
    assert before == dump(site)


@pytest.mark.parametrize(
    "headers",
    [{"Sec-Fetch-Site": "same-origin", "Origin": PUBLIC_URL}, {"Sec-Fetch-Site": "none"}, {}],
    ids=["own page", "typed address", "old browser"],
)
def test_own_site(site: Site, headers: dict[str, str]) -> None:
    """What our own page sends is accepted."""
    data = {"email": ADA, "form_token": current(site)}
    assert 303 == Visitor(site).post(ASK, data=data, headers=headers).status_code


def test_s35_plain_text_form(site: Site) -> None:
    """A foreign form that dresses JSON up as plain text is refused."""
    body = b'{"email": "ada@example.com", "x": "="}'
    answer = Visitor(site).post(ASK, data=body, content_type="text/plain")
    assert (415, []) == (answer.status_code, site.rows("courier_message"))


@every_database
def test_s33_cookie_of_another_link(sites: Callable[..., Site]) -> None:
    """A form that was opened by one link is refused when the cookie is another link's."""
    site = sites(**NO_LIMITS)
    owners = [site.add_user(), site.add_user("grace@example.com")]
    visitor = Visitor(site)
    page = visitor.follow(mailed(site, "recovery").link)
    visitor.follow(mailed(site, "recovery", "grace@example.com").link)
    answer = visitor.send(page, **FINAL_FIELDS)
    assert (422, True) == (answer.status_code, "Open the link again" in answer.text)
    assert [True, True] == [
        site.get_user(owner).check_password("the old password") for owner in owners
    ]


def test_s35_planted_cookie(site: Site) -> None:
    """A stranger's link that a page planted shows whose account it is, masked."""
    site.add_user("eve@example.net")
    page = Visitor(site).follow(mailed(site, "verification", "eve@example.net").link)
    assert (200, True, False) == (
        page.status_code,
        "e•••@example.net" in page.text,
        "eve@example.net" in page.text,
    )


def test_s33_form_of_one_link_with_the_token_of_another(sites: Callable[..., Site]) -> None:
    """The hidden token of a form cannot be exchanged for that of another link."""
    site = sites(**NO_LIMITS)
    site.add_user()
    other = site.add_user("grace@example.com")
    visitor = Visitor(site, cookies=False)
    page = visitor.fill(f"{ASK}/code", email=ADA, code=mailed(site, "recovery").code)
    token = mailed(site, "recovery", "grace@example.com").token
    assert 422 == visitor.send(page, token=token, **FINAL_FIELDS).status_code
    assert site.get_user(other).check_password("the old password")


def test_no_session(site: Site) -> None:
    """The account forms set no session cookie, and the link's cookie is the only one."""
    site.add_user()
    visitor = Visitor(site)
    visitor.fill(ASK, email=ADA)
    assert not visitor.client._cookies
    opened = visitor.get(mailed(site, "verification").link)
    (cookie,) = opened.headers.getlist("Set-Cookie")
    assert re.fullmatch(
        r"courier_verification=[\w.-]{66}; Expires=[^;]+; Max-Age=600; Secure; HttpOnly; "
        r"Path=/account/verification; SameSite=Lax",
        cookie,
    )


def test_referrer(site: Site) -> None:
    """The address of a link goes to nobody in a Referer, and is kept in no cache."""
    site.add_user()
    opened = Visitor(site).get(mailed(site, "recovery").link)
    page = Visitor(site).get(ASK)
    assert ("no-referrer", "no-store", "same-origin", "no-store") == (
        opened.headers["Referrer-Policy"],
        opened.headers["Cache-Control"],
        page.headers["Referrer-Policy"],
        page.headers["Cache-Control"],
    )


def test_junk_link_sets_no_cookie(site: Site) -> None:
    """A link that is not authentic and open sets no cookie."""
    answers = [Visitor(site).get(f"{ASK}/{token}") for token in ("junk", "a" * 22 + "." + "b" * 43)]
    assert [(410, [])] * 2 == [
        (answer.status_code, answer.headers.getlist("Set-Cookie")) for answer in answers
    ]


@pytest.fixture(params=["before us", "after us"])
def protected(request: pytest.FixtureRequest, site: Site) -> Iterator[Site]:
    """The site under Flask-WTF's protection, with a POST route of its own and one in the log."""
    app, protection = Flask("tests.protected"), CSRFProtect()
    app.config.update(site.app.config)
    site.db.init_app(app)
    if request.param == "before us":
        protection.init_app(app)
    courier = Courier(app, site.db, user_model=site.user)
    if request.param == "after us":
        protection.init_app(app)
    for path, endpoint in (("/probe", "courier_log.probe"), ("/own", "own")):
        app.add_url_rule(path, endpoint, lambda: "done", methods=["POST"])
    courier.log_access(lambda _permission: True)
    yield Site(app, site.db, site.user, courier)
    with app.app_context():
        site.db.engine.dispose()


def test_protection_of_the_host(protected: Site) -> None:
    """A host's CSRFProtect, whenever it was set up, lets the account forms through."""
    visitor = Visitor(protected)
    assert 303 == visitor.fill(ASK, email=ADA).status_code
    assert 202 == visitor.json(ASK, email=ADA)[0]


def test_protection_of_the_log(protected: Site) -> None:
    """A host's CSRFProtect still guards the delivery log, and the host's own pages."""
    visitor = Visitor(protected)
    assert [400, 400] == [visitor.post(path).status_code for path in ("/probe", "/own")]
