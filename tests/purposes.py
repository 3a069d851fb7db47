"""A link of every purpose, at a site that has all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import request

from flask_courier.core.messages import RecordedMessage
from tests.site import Site
from tests.visitor import (
    ADA,
    FINAL,
    NO_LIMITS,
    Mail,
    Visitor,
    delivered,
    mailed,
    not_me_link,
    token_of,
)

NEW = "ada@new.example"
#: The cookie of whoever is signed in.
LOGIN = "login"

every_purpose = pytest.mark.parametrize("purpose", FINAL)


def open_house(sites: Callable[..., Site], **config: Any) -> Site:
    """A site without limits where Ada has an account; every completed flow changes its row."""
    site = sites(**{"COURIER_SIGN_IN": True, **NO_LIMITS, **config})
    identity = site.add_user(ADA)

    @site.courier.current_account
    def current() -> Any:
        signed_in = LOGIN in request.cookies
        return site.db.session.get(site.user, identity) if signed_in else None

    @site.courier.recent_authentication
    def recent(_account: Any) -> bool:
        return True

    @site.courier.sign_in
    def begin(account: Any) -> None:
        account.name = "is signed in"
        site.db.session.commit()

    return site


def signed_in(site: Site) -> Visitor:
    """Ada, in a browser where she is signed in."""
    visitor = Visitor(site)
    visitor.client.set_cookie(LOGIN, "ada", domain="acme.example")
    return visitor


def link_of(site: Site, purpose: str) -> Mail:
    """Have Ada sent a link of this purpose."""
    if purpose in {"recovery", "verification", "sign_in"}:
        return mailed(site, purpose)
    if purpose == "not_me":
        text = mailed(site, "recovery").text
        link = not_me_link(text)
        return Mail(link, token_of(link), "", text)
    if purpose == "email_undo":
        change = link_of(site, "email_change")
        assert 200 == Visitor(site).redeem("email_change", change.token)
        return _read(site, "email_changed")
    _ask(site, purpose)
    return _read(site, purpose)


def _ask(site: Site, purpose: str) -> None:
    with site.app.app_context():
        account = site.db.session.execute(site.db.select(site.user)).scalars().first()
        if purpose == "invitation":
            site.courier.invite(account)
        else:
            site.courier.request_email_change(account, NEW)
        site.db.session.commit()


def _read(site: Site, kind: str) -> Mail:
    mail: RecordedMessage
    (mail,) = [found for found in delivered(site) if found.kind == kind]
    assert mail.link is not None
    return Mail(mail.link, token_of(mail.link), mail.code or "", mail.text)
