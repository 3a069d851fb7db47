"""Links that no longer work say why to whoever has a real one, and offer a new mail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from flask_courier import link_refused
from tests.databases import every_database
from tests.observation import age, update
from tests.site import PASSWORD, Site, path_of
from tests.visitor import ADA, FINAL, NO_LIMITS, Visitor, delivered, mailed


@pytest.fixture
def calm_site(sites: Callable[..., Site]) -> Site:
    """A site without limits, with one account."""
    site = sites(**NO_LIMITS)
    site.add_user(ADA)
    return site


def reason(site: Site, kind: str, token: str) -> str:
    """Why a token is refused, in JSON."""
    fields = {"password": PASSWORD} if kind == "recovery" else {}
    status, problem = Visitor(site).json(FINAL[kind], token=token, **fields)
    assert status == 410
    found: str = problem["reason"]
    return found


@every_database
def test_expired(calm_site: Site) -> None:
    """An expired link says so."""
    mail = mailed(calm_site, "recovery")
    age(calm_site, "courier_token", timedelta(days=2))
    assert "link_expired" == reason(calm_site, "recovery", mail.token)


def test_used(calm_site: Site) -> None:
    """A used link says so."""
    mail = mailed(calm_site, "recovery")
    Visitor(calm_site).redeem("recovery", mail.token)
    assert "link_used" == reason(calm_site, "recovery", mail.token)


def test_replaced(calm_site: Site) -> None:
    """What an older link was for was done with a newer one."""
    older, newer = mailed(calm_site, "recovery"), mailed(calm_site, "recovery")
    Visitor(calm_site).redeem("recovery", newer.token)
    assert "link_replaced" == reason(calm_site, "recovery", older.token)


def test_changed(calm_site: Site) -> None:
    """A link ends with the password it would have replaced, and says so."""
    mail = mailed(calm_site, "recovery")
    update(calm_site, "user", password_hash="another")
    assert "link_changed" == reason(calm_site, "recovery", mail.token)


def test_wrong_purpose(calm_site: Site) -> None:
    """A link at another flow's page is shown the way to its own."""
    mail = mailed(calm_site, "recovery")
    assert "link_wrong_purpose" == reason(calm_site, "verification", mail.token)
    page = Visitor(calm_site).get(f"/account/verification/{mail.token}")
    assert (410, True) == (page.status_code, f'href="{path_of(mail.link)}"' in page.text)


def test_forged(calm_site: Site) -> None:
    """Whoever has no authentic token gets one text and no button that mails an account."""
    token = mailed(calm_site, "recovery").token
    forged = token[:-4] + ("AAAA" if token[-4:] != "AAAA" else "BBBB")
    page = Visitor(calm_site).get(f"/account/recovery/{forged}")
    assert (410, False) == (page.status_code, "<form" in page.text)
    assert "link_invalid" == reason(calm_site, "recovery", forged)


@every_database
def test_new_mail(calm_site: Site) -> None:
    """One button sends a new mail to the same account, whose address the page does not show."""
    old = mailed(calm_site, "recovery")
    age(calm_site, "courier_token", timedelta(days=2))
    visitor = Visitor(calm_site)
    page = visitor.get(path_of(old.link))
    assert (410, False) == (page.status_code, "example.com" in page.text)
    assert 303 == visitor.send(page).status_code
    (mail,) = delivered(calm_site)
    assert ("recovery", ADA) == (mail.kind, mail.recipient)
    assert 200 == visitor.redeem("recovery", mail.token or "")


def test_new_mail_needs_a_real_token(calm_site: Site) -> None:
    """A forged token in the button's form sends nothing."""
    mailed(calm_site, "recovery")
    status, problem = Visitor(calm_site).json("/account/recovery/again", token="forged")
    assert (410, "link_invalid") == (status, problem["reason"])
    assert [] == delivered(calm_site)


@pytest.mark.parametrize("page", ["recovery", "verification", "sign-in"])
def test_typed_in_address_leads_to_the_first_page(sites: Callable[..., Site], page: str) -> None:
    """Whoever opens the page of a new mail by its address is led to where a mail is asked for."""
    answer = Visitor(sites(COURIER_SIGN_IN=True)).get(f"/account/{page}/again")
    assert (303, f"/account/{page}") == (answer.status_code, answer.headers["Location"])


def test_used_verification(calm_site: Site) -> None:
    """A verification link that was used answers 200: the address is verified."""
    mail = mailed(calm_site, "verification")
    Visitor(calm_site).redeem("verification", mail.token)
    page = Visitor(calm_site).get(path_of(mail.link))
    assert (200, True) == (page.status_code, "Your address is verified" in page.text)
    answer = Visitor(calm_site).json(FINAL["verification"], token=mail.token)
    assert (200, {"status": "already_verified"}) == answer


def test_signal(calm_site: Site) -> None:
    """The application hears of a refused link without its token."""
    heard: list[dict[str, Any]] = []

    def listen(_sender: object, **told: Any) -> None:
        heard.append(told)

    mail = mailed(calm_site, "recovery")
    Visitor(calm_site).redeem("recovery", mail.token)
    with link_refused.connected_to(listen):
        reason(calm_site, "recovery", mail.token)
    assert 1 == len(heard)
    assert mail.token not in repr(heard)
