"""The owner of an account says that a mail was somebody else's doing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from tests.databases import every_database
from tests.site import PASSWORD, PUBLIC_URL, SECRET, Site, path_of
from tests.visitor import (
    ADA,
    FINAL,
    NO_LIMITS,
    Visitor,
    delivered,
    mailed,
    not_me_link,
    request_mail,
    token_of,
)


def disown(site: Site, text: str) -> tuple[int, Any]:
    """Say so by JSON with the link in a mail's text; answer the status and the JSON."""
    return Visitor(site).json("/account/not-me/confirm", token=token_of(not_me_link(text)))


@pytest.fixture
def calm_site(sites: Callable[..., Site]) -> Site:
    """A site without limits, with one account."""
    site = sites(**NO_LIMITS)
    site.add_user(ADA)
    return site


@every_database
@pytest.mark.parametrize("kind", ["recovery", "verification"])
def test_open_links_end(calm_site: Site, kind: str) -> None:
    """Every open link of the account ends, and says why."""
    first, mail = mailed(calm_site, "recovery"), mailed(calm_site, kind)
    assert 200 == disown(calm_site, mail.text)[0]
    status, problem = Visitor(calm_site).json(
        FINAL["recovery"], token=first.token, password=PASSWORD
    )
    assert (410, "link_disowned") == (status, problem["reason"])


@every_database
def test_sessions_end(calm_site: Site) -> None:
    """The security stamp is another one afterwards; the password stays."""
    (before,) = calm_site.rows("user")
    disown(calm_site, mailed(calm_site, "recovery").text)
    (after,) = calm_site.rows("user")
    assert before["security_stamp"] != after["security_stamp"]
    assert before["password_hash"] == after["password_hash"]


def test_mail_that_waits_is_withdrawn(calm_site: Site) -> None:
    """What was asked for before and has not gone out is never sent."""
    mail = mailed(calm_site, "recovery")
    request_mail(calm_site, "recovery")
    disown(calm_site, mail.text)
    assert [] == delivered(calm_site)


def test_by_form(calm_site: Site) -> None:
    """The link leads to one button, and the answer offers a new password."""
    visitor = Visitor(calm_site)
    page = visitor.follow(not_me_link(mailed(calm_site, "recovery").text))
    done = visitor.send(page)
    assert (200, True) == (done.status_code, 'href="/account/recovery"' in done.text)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_safe_methods(calm_site: Site, method: str) -> None:
    """Fetching the link ends nothing."""
    mail = mailed(calm_site, "recovery")
    Visitor(calm_site).client.open(
        path_of(not_me_link(mail.text)), method=method, base_url=PUBLIC_URL
    )
    assert 200 == Visitor(calm_site).redeem("recovery", mail.token)


def test_once(calm_site: Site) -> None:
    """The link works once."""
    mail = mailed(calm_site, "recovery")
    assert [200, 410] == [disown(calm_site, mail.text)[0], disown(calm_site, mail.text)[0]]


def test_too_late_by_form(calm_site: Site) -> None:
    """Whoever comes too late for this link is shown what is left: a new password."""
    text = mailed(calm_site, "recovery").text
    disown(calm_site, text)
    page = Visitor(calm_site).follow(not_me_link(text))
    assert (410, True) == (page.status_code, 'href="/account/recovery"' in page.text)


def test_opens_nothing_else(calm_site: Site) -> None:
    """The token of "this was not me" sets no password."""
    token = token_of(not_me_link(mailed(calm_site, "recovery").text))
    status, problem = Visitor(calm_site).json(FINAL["recovery"], token=token, password=PASSWORD)
    assert (410, "link_wrong_purpose") == (status, problem["reason"])


def test_s20_notice_after_the_fact(calm_site: Site) -> None:
    """The mail about a changed password has such a link too."""
    Visitor(calm_site).redeem("recovery", mailed(calm_site, "recovery").token)
    (notice,) = delivered(calm_site)
    assert ("password_changed", 200) == (notice.kind, disown(calm_site, notice.text)[0])


@every_database
def test_freeze(sites: Callable[..., Site]) -> None:
    """With COURIER_NOT_ME_FREEZE the account gets no recovery mail for that long; the log says."""
    site = sites(COURIER_NOT_ME_FREEZE=timedelta(hours=1), **NO_LIMITS)
    site.add_user(ADA)
    disown(site, mailed(site, "recovery").text)
    request_mail(site, "recovery")
    assert [] == delivered(site)
    assert "frozen" in [row["reason"] for row in site.rows("courier_message")]


def test_freeze_outlasts_the_key(sites: Callable[..., Site]) -> None:
    """A new SECRET_KEY does not lift it, as long as the old one is a fallback."""
    frozen = {"COURIER_NOT_ME_FREEZE": timedelta(hours=1), **NO_LIMITS}
    site = sites(**frozen)
    site.add_user(ADA)
    disown(site, mailed(site, "recovery").text)
    renewed = sites(
        SECRET_KEY="another-key-that-is-long-enough", SECRET_KEY_FALLBACKS=[SECRET], **frozen
    )
    request_mail(renewed, "recovery")
    assert [] == delivered(renewed)


def test_no_freeze_by_default(calm_site: Site) -> None:
    """Without the key the owner gets a new recovery mail at once."""
    disown(calm_site, mailed(calm_site, "recovery").text)
    mail = mailed(calm_site, "recovery")
    assert 200 == Visitor(calm_site).redeem("recovery", mail.token)
