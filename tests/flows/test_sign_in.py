"""Signing in by mail, and the second factor that stands before whatever opens an account."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_courier import SetupError
from tests.databases import every_database
from tests.site import PASSWORD, Site
from tests.visitor import ADA, FINAL, NO_LIMITS, Visitor, mailed, request_mail


@pytest.fixture
def signed_in() -> list[str]:
    """The addresses of whoever was signed in."""
    return []


@pytest.fixture
def mail_site(sites: Callable[..., Site], signed_in: list[str]) -> Site:
    """A site that signs people in by mail."""
    site = sites(COURIER_SIGN_IN=True, **NO_LIMITS)
    site.add_user(ADA)

    @site.courier.sign_in
    def begin(account: Any) -> None:
        signed_in.append(account.email)

    return site


def test_off_by_default(site: Site) -> None:
    """Without COURIER_SIGN_IN there is no such page, and the call says what to set."""
    site.add_user(ADA)
    assert 404 == Visitor(site).get("/account/sign-in").status_code
    with pytest.raises(SetupError, match="COURIER_SIGN_IN"):
        request_mail(site, "sign_in")


@every_database
def test_link(mail_site: Site, signed_in: list[str]) -> None:
    """The link signs its account in, once."""
    token = mailed(mail_site, "sign_in").token
    visitor = Visitor(mail_site)
    assert [200, 410] == [visitor.redeem("sign_in", token), visitor.redeem("sign_in", token)]
    assert [ADA] == signed_in


def test_code(mail_site: Site, signed_in: list[str]) -> None:
    """So does the code, without cookies too."""
    visitor = Visitor(mail_site, cookies=False)
    code = mailed(mail_site, "sign_in").code
    button = visitor.fill("/account/sign-in/code", email=ADA, code=code)
    assert (303, [ADA]) == (visitor.send(button).status_code, signed_in)


def test_opening_the_link_signs_nobody_in(mail_site: Site, signed_in: list[str]) -> None:
    """A GET of the link, by a scanner or by a person, begins nothing."""
    page = Visitor(mail_site).follow(mailed(mail_site, "sign_in").link)
    assert (200, []) == (page.status_code, signed_in)


def test_missing_hook_costs_no_link(sites: Callable[..., Site], signed_in: list[str]) -> None:
    """A site that forgot ``@courier.sign_in`` is told so, and the link still works afterwards."""
    site = sites(COURIER_SIGN_IN=True, **NO_LIMITS)
    site.add_user(ADA)
    token = mailed(site, "sign_in").token
    with pytest.raises(SetupError, match=r"@courier\.sign_in"):
        Visitor(site).redeem("sign_in", token)
    site.courier.sign_in(lambda account: signed_in.append(account.email))
    assert (200, [ADA]) == (Visitor(site).redeem("sign_in", token), signed_in)


@pytest.mark.parametrize("kind", ["sign_in", "recovery"])
@pytest.mark.parametrize("verdict", [False, None, 1])
def test_s19_second_factor(mail_site: Site, kind: str, verdict: object) -> None:
    """What the ``second_factor`` hook does not answer True for is refused; the link stays good."""
    mail = mailed(mail_site, kind)
    mail_site.courier.second_factor(lambda _account: verdict)
    visitor = Visitor(mail_site)
    assert 403 == visitor.follow(mail.link).status_code
    status, problem = visitor.json(FINAL[kind], token=mail.token, password=PASSWORD)
    assert (403, "second_factor_required") == (status, problem["reason"])
    mail_site.courier.second_factor(lambda _account: True)
    assert 200 == visitor.redeem(kind, mail.token)


@pytest.mark.parametrize("kind", ["sign_in", "recovery"])
def test_second_factor_elsewhere(mail_site: Site, kind: str) -> None:
    """A browser is sent to the application's own page for it, and can come back."""
    passed: list[str] = []
    mail_site.courier.second_factor(lambda _account: bool(passed) or "/second-factor")
    visitor, mail = Visitor(mail_site), mailed(mail_site, kind)
    away = visitor.follow(mail.link)
    assert (303, "/second-factor") == (away.status_code, away.location)
    passed.append("totp")
    assert 200 == visitor.get(FINAL[kind]).status_code


def test_s19_second_factor_after_a_code(mail_site: Site) -> None:
    """A right code leads no further than the link does."""
    mail_site.courier.second_factor(lambda _account: "/second-factor")
    code = mailed(mail_site, "recovery").code
    away = Visitor(mail_site).fill("/account/recovery/code", email=ADA, code=code)
    assert (303, "/second-factor") == (away.status_code, away.location)
