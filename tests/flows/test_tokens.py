"""Tokens: what they open, for how long, and what ends them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from tests.databases import every_database
from tests.observation import age, update
from tests.site import SECRET, Site
from tests.smtp_server import MailServer
from tests.visitor import ADA, NO_LIMITS, USED, Visitor, delivered, mailed, request_mail

KINDS = ("recovery", "verification")
LIFETIMES = {"recovery": timedelta(minutes=30), "verification": timedelta(hours=24)}
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
NEWER = "a-newer-secret-key-that-is-long-enough"

each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def rotated(sites: Callable[..., Site]) -> Callable[[], Site]:
    """Makes the same site after a new SECRET_KEY, the old one still accepted."""
    return lambda: sites(SECRET_KEY=NEWER, SECRET_KEY_FALLBACKS=[SECRET], **NO_LIMITS)


@pytest.fixture
def renewed(sites: Callable[..., Site]) -> Callable[[], Site]:
    """Makes the same site when the old SECRET_KEY is dropped."""
    return lambda: sites(SECRET_KEY=NEWER, **NO_LIMITS)


def change(site: Site, **values: Any) -> None:
    """Change every account, as its host would."""
    with site.app.app_context():
        site.db.session.execute(sa.update(site.user).values(**values))
        site.db.session.commit()


def send_again(site: Site) -> None:
    """Put the message back in the queue, as if its worker had died before it wrote the result."""
    update(site, "courier_message", status="queued", sent_at=None)


@each_kind
def test_s06_works_once(site: Site, kind: str) -> None:
    """A token completes its flow once."""
    site.add_user()
    token = mailed(site, kind).token
    assert [200, USED[kind]] == [Visitor(site).redeem(kind, token) for _ in range(2)]


@every_database
@each_kind
def test_s07_lives(site: Site, kind: str) -> None:
    """A token is good until its lifetime is over."""
    site.add_user()
    token = mailed(site, kind).token
    age(site, "courier_token", LIFETIMES[kind] - timedelta(minutes=1))
    assert 200 == Visitor(site).redeem(kind, token)


@every_database
@each_kind
def test_s07_dies_of_age(site: Site, kind: str) -> None:
    """A token that is exactly as old as its lifetime is refused."""
    site.add_user()
    token = mailed(site, kind).token
    age(site, "courier_token", LIFETIMES[kind])
    assert 410 == Visitor(site).redeem(kind, token)


@each_kind
def test_s07_dies_while_its_form_is_open(site: Site, kind: str) -> None:
    """A token that runs out under an open form is refused when the form is sent."""
    site.add_user()
    visitor = Visitor(site)
    page = visitor.follow(mailed(site, kind).link)
    age(site, "courier_token", LIFETIMES[kind])
    fields = {"password": "long enough it is", "confirm": "long enough it is"}
    assert 410 == visitor.send(page, **(fields if kind == "recovery" else {})).status_code


def test_recovery_dies_with_the_password(site: Site) -> None:
    """A recovery token ends when the host changes the password."""
    site.add_user()
    token = mailed(site, "recovery").token
    change(site, password_hash="another")
    assert 410 == Visitor(site).redeem("recovery", token)


def test_verification_survives_a_password_change(site: Site) -> None:
    """A verification token outlives a password change of the host."""
    site.add_user()
    token = mailed(site, "verification").token
    change(site, password_hash="another")
    assert 200 == Visitor(site).redeem("verification", token)


@each_kind
def test_dies_with_the_address(site: Site, kind: str) -> None:
    """A token ends when the account's address changes."""
    site.add_user()
    token = mailed(site, kind).token
    change(site, email="grace@example.com")
    assert 410 == Visitor(site).redeem(kind, token)


@each_kind
def test_dies_with_the_security_stamp(site: Site, kind: str) -> None:
    """A token ends when the host ends everything of the account."""
    site.add_user()
    token = mailed(site, kind).token
    change(site, security_stamp="another")
    assert 410 == Visitor(site).redeem(kind, token)


@each_kind
def test_inactive(site: Site, kind: str) -> None:
    """A token of an account that was switched off is refused."""
    user = site.add_user()
    token = mailed(site, kind).token
    change(site, is_active=False)
    assert 410 == Visitor(site).redeem(kind, token)
    assert site.get_user(user).check_password("the old password")


@each_kind
def test_deleted_account(site: Site, kind: str) -> None:
    """A token of an account that is gone is refused."""
    site.add_user()
    token = mailed(site, kind).token
    with site.app.app_context():
        site.db.session.execute(sa.delete(site.user))
        site.db.session.commit()
    assert 410 == Visitor(site).redeem(kind, token)


def test_success_ends_the_others(sites: Callable[..., Site]) -> None:
    """A recovery ends every other recovery token of the account."""
    site = sites(**NO_LIMITS)
    site.add_user()
    first, second = (mailed(site, "recovery").token for _ in range(2))
    assert [200, 410] == [Visitor(site).redeem("recovery", token) for token in (first, second)]


def test_success_spares_other_accounts(sites: Callable[..., Site]) -> None:
    """A verification leaves the tokens of other accounts alone."""
    site = sites(**NO_LIMITS)
    site.add_user()
    site.add_user("grace@example.com")
    tokens = [mailed(site, "verification", email).token for email in (ADA, "grace@example.com")]
    assert [200, 200] == [Visitor(site).redeem("verification", token) for token in tokens]


@each_kind
def test_s33_other_purpose(site: Site, kind: str) -> None:
    """A token of one flow is refused by the other."""
    site.add_user()
    token = mailed(site, kind).token
    other = next(name for name in KINDS if name != kind)
    assert 410 == Visitor(site).redeem(other, token)
    assert 200 == Visitor(site).redeem(kind, token)


@each_kind
def test_s33_other_application(sites: Callable[..., Site], kind: str) -> None:
    """A token is refused by an application with another key, though it has the same database."""
    site = sites()
    site.add_user()
    token = mailed(site, kind).token
    other = sites(SECRET_KEY="the-secret-key-of-somebody-else")
    assert 410 == Visitor(other).redeem(kind, token)


def test_tampered(site: Site) -> None:
    """A token with any one character changed is refused."""
    site.add_user()
    token = mailed(site, "recovery").token
    visitor = Visitor(site)
    for place, character in enumerate(token):
        # Half the alphabet away: that flips a bit which the base64 of either part really carries.
        other = "A" if character == "." else ALPHABET[ALPHABET.index(character) ^ 32]
        assert 410 == visitor.redeem("recovery", f"{token[:place]}{other}{token[place + 1 :]}")
    assert (66, 200) == (len(token), visitor.redeem("recovery", token))


def test_truncated(site: Site) -> None:
    """A token that lost its end or its beginning, or was repeated, is refused."""
    site.add_user()
    token = mailed(site, "recovery").token
    visitor = Visitor(site)
    pieces = [token[:length] for length in range(1, len(token))]
    pieces += [token[length:] for length in range(1, len(token))]
    answers = {visitor.redeem("recovery", piece) for piece in [*pieces, token * 2, f"{token}A"]}
    assert ({410}, 200) == (answers, visitor.redeem("recovery", token))


def test_s31_newest_key_signs(rotated: Callable[[], Site], renewed: Callable[[], Site]) -> None:
    """After a rotation new tokens are of the new key alone."""
    site = rotated()
    site.add_user()
    token = mailed(site, "recovery").token
    assert 200 == Visitor(renewed()).redeem("recovery", token)


@each_kind
def test_fallback_key_verifies(site: Site, rotated: Callable[[], Site], kind: str) -> None:
    """After a rotation older tokens still work while their key is among the fallbacks."""
    site.add_user()
    token = mailed(site, kind).token
    assert 200 == Visitor(rotated()).redeem(kind, token)


def test_fallback_key_knows_codes(site: Site, rotated: Callable[[], Site]) -> None:
    """After a rotation the code of an older mail still works."""
    user = site.add_user()
    code = mailed(site, "recovery").code
    visitor = Visitor(rotated())
    status, right = visitor.json("/account/recovery/code", email=ADA, code=code)
    assert (200, 200) == (status, visitor.redeem("recovery", right["token"], "brand new password"))
    assert site.get_user(user).check_password("brand new password")


@each_kind
def test_s31_dropped_key(site: Site, renewed: Callable[[], Site], kind: str) -> None:
    """A token whose key was dropped is refused."""
    site.add_user()
    token = mailed(site, kind).token
    assert 410 == Visitor(renewed()).redeem(kind, token)


def test_retry_after_rotation(site: Site, rotated: Callable[[], Site]) -> None:
    """A message that is sent again after a rotation carries the same bytes."""
    site.add_user()
    request_mail(site, "recovery")
    (first,) = delivered(site)
    send_again(site)
    (second,) = delivered(rotated())
    assert (first.token, first.code, first.text, first.html) == (
        second.token,
        second.code,
        second.text,
        second.html,
    )


def test_prepared_again(site: Site, renewed: Callable[[], Site]) -> None:
    """A message whose key was dropped before its retry is prepared anew, with a good token."""
    site.add_user()
    request_mail(site, "recovery")
    (first,) = delivered(site)
    send_again(site)
    later = renewed()
    (second,) = delivered(later)
    assert first.token != second.token
    assert [410, 200] == [
        Visitor(later).redeem("recovery", mail.token or "") for mail in (first, second)
    ]


@every_database
def test_renewal(mailing_site: Site, mail_server: MailServer) -> None:
    """A message that had to wait gets a token with its full lifetime at the attempt."""
    mailing_site.add_user()
    mail_server.answers["RCPT"] = "450 4.2.1 try again later"
    request_mail(mailing_site, "recovery")
    assert {"queued": 1} == mailing_site.deliver()
    age(mailing_site, "courier_token", timedelta(minutes=25))
    due_now(mailing_site)
    mail_server.answers.clear()
    assert {"sent": 1} == mailing_site.deliver()
    tokens = {row["purpose"]: row for row in mailing_site.rows("courier_token")}
    token = tokens["recovery"]
    assert LIFETIMES["recovery"] == rounded(token["expires_at"] - token["issued_at"])
    issued = token["issued_at"].replace(tzinfo=timezone.utc)
    assert datetime.now(timezone.utc) - issued < timedelta(minutes=5)


def due_now(site: Site) -> None:
    """Let the wait before the next attempt be over."""
    update(site, "courier_message", next_attempt_at=site.rows("courier_message")[0]["created_at"])


def rounded(duration: timedelta) -> timedelta:
    """``duration`` to the second: its two ends are two looks at a clock."""
    return timedelta(seconds=round(duration.total_seconds()))
