"""A login session ends with what it was begun on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from flask_courier import SetupError
from tests.databases import every_database
from tests.observation import update
from tests.site import SECRET, Site
from tests.visitor import ADA, NO_LIMITS, Visitor, mailed, not_me_link, token_of


def session_id(site: Site, identity: int) -> str:
    """What a login session of the account keeps."""
    with site.app.app_context():
        found: str = site.courier.session_id(site.db.session.get(site.user, identity))
        return found


def load(site: Site, name: str) -> Any:
    """The address of the account that a login session is of, or None."""
    with site.app.app_context():
        account = site.courier.load_account(name)
        return None if account is None else account.email


@every_database
def test_as_long_as_nothing_changes(site: Site) -> None:
    """A login session is of its account, whatever the account's owner does beside."""
    name = session_id(site, site.add_user(ADA))
    update(site, "user", name="Ada", email_verified_at=None)
    assert ADA == load(site, name)


@pytest.mark.parametrize("change", ["password_hash", "security_stamp"])
def test_ends_with(site: Site, change: str) -> None:
    """It ends with the password and with the security stamp."""
    name = session_id(site, site.add_user(ADA))
    update(site, "user", **{change: "another"})
    assert load(site, name) is None


def test_ends_with_the_account(site: Site) -> None:
    """An account that is switched off has no login session."""
    name = session_id(site, site.add_user(ADA))
    update(site, "user", is_active=False)
    assert load(site, name) is None


@every_database
def test_ends_with_a_recovery(sites: Callable[..., Site]) -> None:
    """A recovery ends it in its own transaction."""
    site = sites(**NO_LIMITS)
    name = session_id(site, site.add_user(ADA))
    Visitor(site).redeem("recovery", mailed(site, "recovery").token)
    assert load(site, name) is None


def test_ends_when_it_was_not_me(sites: Callable[..., Site]) -> None:
    """So does "this was not me"."""
    site = sites(**NO_LIMITS)
    name = session_id(site, site.add_user(ADA))
    token = token_of(not_me_link(mailed(site, "recovery").text))
    status, _ = Visitor(site).json("/account/not-me/confirm", token=token)
    assert (200, None) == (status, load(site, name))


def test_outlives_a_rotated_key(sites: Callable[..., Site], site: Site) -> None:
    """It goes on under a new SECRET_KEY as long as the old one is a fallback."""
    name = session_id(site, site.add_user(ADA))
    rotated = {"SECRET_KEY": "a-newer-secret-key-that-is-long"}
    assert ADA == load(sites(**rotated, SECRET_KEY_FALLBACKS=[SECRET]), name)
    assert load(sites(**rotated), name) is None


MARK = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    "name",
    ["", ".", "1", "1.", f".{MARK}", f"1.{MARK}", f"x.{MARK}", "1.\ud800", f"{'9' * 99}.{MARK}"],
)
def test_made_up(site: Site, name: str) -> None:
    """What ``session_id`` did not make is of nobody."""
    site.add_user(ADA)
    assert load(site, name) is None


def test_of_another_account(site: Site) -> None:
    """The mark of one account is worth nothing with the key of another."""
    ada, bob = site.add_user(ADA), site.add_user("bob@example.com", password_hash=None)
    mark = session_id(site, ada).partition(".")[2]
    assert load(site, f"{bob}.{mark}") is None


def test_without_a_key(site: Site) -> None:
    """An account that has no key yet has no login session, and the call says what to do."""
    with site.app.app_context(), pytest.raises(SetupError, match=r"flush\(\) before session_id"):
        site.courier.session_id(site.user(email=ADA))
