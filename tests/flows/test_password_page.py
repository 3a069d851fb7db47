"""The page for a new password: what it offers, and what it refuses."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable

import pytest

from flask_courier import ConfigError
from tests.site import Site, path_of
from tests.visitor import ADA, NO_LIMITS, Visitor, mailed

Sites = Callable[..., Site]

STRONG = "harbour violin teapot ninety"


@pytest.fixture
def calm_site(sites: Sites) -> Site:
    """A site without limits that asks for the highest score, with one account."""
    site = sites(COURIER_PASSWORD_STRENGTH=4, **NO_LIMITS)
    site.add_user(ADA)
    return site


@pytest.mark.parametrize(
    "password", ["passwordpassword", "123456789012", "ada@example.com", "Acme2026Acme"]
)
def test_easy_to_guess(calm_site: Site, password: str) -> None:
    """What a guesser tries first is refused, the account's own address too; the link stays good."""
    token = mailed(calm_site, "recovery").token
    visitor = Visitor(calm_site)
    status, problem = visitor.json("/account/recovery/password", token=token, password=password)
    assert (422, "invalid_input") == (status, problem["reason"])
    assert ["This password is easy to guess. Use a few unrelated words."] == (
        problem["errors"]["password"]
    )
    assert 200 == visitor.redeem("recovery", token, STRONG)


@pytest.mark.parametrize("password", [STRONG, STRONG * 30])
def test_hard_to_guess(calm_site: Site, password: str) -> None:
    """A few unrelated words will do, however many there are."""
    assert 200 == Visitor(calm_site).redeem(
        "recovery", mailed(calm_site, "recovery").token, password
    )


def test_strength_without_its_extra(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where zxcvbn is missing, the application does not start, and says what to install."""
    monkeypatch.setitem(sys.modules, "zxcvbn", None)  # what Python reads as: not to be found
    with pytest.raises(ConfigError, match=r"pip install \"flask-courier\[password\]\""):
        sites(COURIER_PASSWORD_STRENGTH=3)


def test_for_password_managers(calm_site: Site) -> None:
    """The account's name stands beside the new password, and is not sent with it."""
    page = Visitor(calm_site).follow(mailed(calm_site, "recovery").link).text
    (name,) = re.findall(r'<input [^>]*autocomplete="username"[^>]*>', page)
    assert (True, False) == (f'value="{ADA}"' in name, "name=" in name)
    assert 2 == page.count('autocomplete="new-password"')


def test_script_of_this_origin(calm_site: Site) -> None:
    """The page may run scripts of this origin and no others; no script stands in it."""
    page = Visitor(calm_site).follow(mailed(calm_site, "recovery").link)
    assert "default-src 'none'; script-src 'self'; " in page.headers["Content-Security-Policy"]
    assert [""] == re.findall(r"<script[^>]*>(.*?)</script>", page.text, re.DOTALL)


def test_script_after_a_mistake(calm_site: Site) -> None:
    """The page that is shown again may run them too."""
    visitor = Visitor(calm_site)
    page = visitor.follow(mailed(calm_site, "recovery").link)
    again = visitor.send(page, password="short", confirm="short")
    assert 422 == again.status_code
    assert "script-src 'self'" in again.headers["Content-Security-Policy"]


def test_no_script_elsewhere(calm_site: Site) -> None:
    """No other page of ours may run any."""
    mail = mailed(calm_site, "verification")
    pages = [
        Visitor(calm_site).get("/account/recovery"),
        Visitor(calm_site).get("/account/recovery/code"),
        Visitor(calm_site).follow(mail.link),
        Visitor(calm_site).get(path_of(mail.link) + "x"),
    ]
    for page in pages:
        assert "script-src" not in page.headers["Content-Security-Policy"]
        assert "<script" not in page.text
