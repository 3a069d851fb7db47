"""Accounts that somebody else may have made: invitation, first proof, and links of support."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone

import pytest

from flask_courier import SetupError
from flask_courier.core.messages import RecordedMessage
from tests.databases import every_database
from tests.observation import dump, update
from tests.site import PASSWORD, PUBLIC_URL, Site
from tests.visitor import ADA, FINAL, NO_LIMITS, Visitor, delivered, mailed, token_of


@pytest.fixture
def calm_site(sites: Callable[..., Site]) -> Site:
    """A site without limits."""
    return sites(**NO_LIMITS)


@every_database
def test_verification_drops_the_password(calm_site: Site) -> None:
    """A stranger's password and sessions end with the owner's first proof, who sets a new one."""
    identity = calm_site.add_user(ADA)
    before = calm_site.get_user(identity).security_stamp
    mail = mailed(calm_site, "verification")
    status, body = Visitor(calm_site).json(FINAL["verification"], token=mail.token)
    assert (200, True) == (status, body["password_required"])
    account = calm_site.get_user(identity)
    assert (False, True) == (
        account.check_password("the old password"),
        account.security_stamp != before,
    )
    assert 200 == Visitor(calm_site).redeem("recovery", body["token"])
    assert calm_site.get_user(identity).check_password(PASSWORD)


def test_by_form(calm_site: Site) -> None:
    """A browser is shown the password form at once."""
    identity = calm_site.add_user(ADA)
    visitor = Visitor(calm_site)
    form = visitor.send(visitor.follow(mailed(calm_site, "verification").link))
    assert 'autocomplete="new-password"' in form.text
    visitor.send(form, password=PASSWORD, confirm=PASSWORD)
    assert calm_site.get_user(identity).check_password(PASSWORD)


def test_same_browser_keeps_the_password(calm_site: Site) -> None:
    """Whoever signed up in this very browser keeps the password they chose."""
    identity = calm_site.add_user(ADA)

    @calm_site.app.post("/sign-up")
    def sign_up() -> str:
        user = calm_site.db.session.get(calm_site.user, identity)
        calm_site.courier.request_verification(user)
        calm_site.db.session.commit()
        return "welcome"

    visitor = Visitor(calm_site)
    visitor.post("/sign-up")
    (mail,) = delivered(calm_site)
    status, body = visitor.json(FINAL["verification"], token=mail.token)
    assert (200, False) == (status, "password_required" in body)
    assert calm_site.get_user(identity).check_password("the old password")


def test_recovery_verifies(calm_site: Site) -> None:
    """The first recovery proves the address as well."""
    identity = calm_site.add_user(ADA)
    Visitor(calm_site).redeem("recovery", mailed(calm_site, "recovery").token)
    assert calm_site.get_user(identity).email_verified_at is not None


def invited(site: Site, identity: int) -> list[RecordedMessage]:
    """Invite an account; answer the mails that this sends."""
    with site.app.app_context():
        site.courier.invite(site.db.session.get(site.user, identity))
        site.db.session.commit()
    return delivered(site)


@every_database
def test_invitation(calm_site: Site) -> None:
    """The owner of a new account sets its first password, which verifies the address."""
    identity = calm_site.add_user(ADA)
    (mail,) = invited(calm_site, identity)
    answer = Visitor(calm_site).json(
        "/account/invitation/password", token=mail.token, password=PASSWORD
    )
    account = calm_site.get_user(identity)
    assert ("invitation", 200) == (mail.kind, answer[0])
    assert (True, True) == (account.check_password(PASSWORD), account.email_verified_at is not None)


def test_no_second_invitation(calm_site: Site) -> None:
    """Whoever has verified the address gets no invitation."""
    identity = calm_site.add_user(ADA)
    Visitor(calm_site).redeem("recovery", mailed(calm_site, "recovery").token)
    delivered(calm_site)
    assert [] == invited(calm_site, identity)


@every_database
def test_invitation_ends_with_the_first_proof(calm_site: Site) -> None:
    """Whoever verified the address and keeps the password has no second way in for a week."""
    identity = calm_site.add_user(ADA)
    (mail,) = invited(calm_site, identity)
    update(calm_site, "user", email_verified_at=datetime.now(timezone.utc))
    assert 410 == Visitor(calm_site).redeem("invitation", mail.token or "")
    assert calm_site.get_user(identity).check_password("the old password")


def test_s19_second_factor_of_an_invited_account(calm_site: Site) -> None:
    """An account that got a second factor before its invitation was used must pass it."""
    identity = calm_site.add_user(ADA)
    (mail,) = invited(calm_site, identity)
    calm_site.courier.second_factor(lambda _account: False)
    assert 403 == Visitor(calm_site).redeem("invitation", mail.token or "")
    assert calm_site.get_user(identity).check_password("the old password")


def test_invitation_needs_a_key(calm_site: Site) -> None:
    """An account that is not flushed has no reference yet; the error says what to call."""
    with calm_site.app.app_context(), pytest.raises(SetupError, match=r"db\.session\.flush\(\)"):
        calm_site.courier.invite(calm_site.user(email=ADA))


def support_link(site: Site, identity: int, expires: timedelta) -> str:
    """A link that support hands over."""
    with site.app.app_context():
        account = site.db.session.get(site.user, identity)
        link = site.courier.recovery_link(account, expires=expires, actor="grace")
        site.db.session.commit()
    return link


@every_database
def test_support_link(calm_site: Site) -> None:
    """It sets a password, is never mailed nor stored, and the log says who made it."""
    identity = calm_site.add_user(ADA)
    link = support_link(calm_site, identity, timedelta(minutes=10))
    assert link.startswith(f"{PUBLIC_URL}/account/recovery/")
    stored = repr(dump(calm_site))
    assert (False, True, []) == (
        token_of(link) in stored,
        "grace" in stored,
        delivered(calm_site),
    )
    assert 200 == Visitor(calm_site).redeem("recovery", token_of(link))
    assert calm_site.get_user(identity).check_password(PASSWORD)


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(days=1, seconds=1)])
def test_support_link_is_short_lived(calm_site: Site, expires: timedelta) -> None:
    """A second at least and a day at most."""
    identity = calm_site.add_user(ADA)
    with pytest.raises(ValueError, match="a day at most"):
        support_link(calm_site, identity, expires)
