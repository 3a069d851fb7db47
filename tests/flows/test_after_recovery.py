"""What a recovery does, and does not do, to whoever is signed in, and where it leads."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import pytest
from flask import session as login_session
from sqlalchemy.orm import Session

from flask_courier import SQLAlchemyAccounts
from flask_courier.testing import form_data
from tests.databases import every_database
from tests.observation import dump
from tests.purposes import every_purpose, link_of, open_house
from tests.site import PASSWORD, Site, path_of
from tests.smtp_server import MailServer
from tests.visitor import ADA, FINAL, NO_LIMITS, Visitor, mailed

VERIFIED = datetime(2026, 1, 1, tzinfo=timezone.utc)
#: Where somebody would like a person to be led after the flow.
ELSEWHERE = (
    "//evil.example",
    "\\\\evil.example",
    "https:evil.example",
    "https://acme.example@evil.example/",
    "javascript:alert(1)",
)


class Revoking(SQLAlchemyAccounts):
    """A store that keeps what it was handed, and fails when told to."""

    def __init__(self, model: type[Any]) -> None:
        super().__init__(model)
        #: What the session it was handed was about to write, each time.
        self.seen: list[list[str]] = []
        self.fails = False

    def revoke_sessions(self, session: Session, account: Any) -> None:
        """End login sessions, as the parent does."""
        changed = session.is_modified(account)
        self.seen.append([account.email] if changed else [])
        if self.fails:
            raise KeyError(account.email)
        super().revoke_sessions(session, account)


@pytest.fixture
def store() -> list[Revoking]:
    """The store of the site."""
    return []


@pytest.fixture
def site(sites: Callable[..., Site], store: list[Revoking]) -> Site:
    """A site whose store tells when sessions were to end."""

    def make(model: type[Any]) -> Revoking:
        store.append(Revoking(model))
        return store[0]

    return sites(accounts=make, **NO_LIMITS)


def test_s12_no_login(site: Site) -> None:
    """After a recovery nobody is signed in: the answer sets no cookie, and takes the link's back.

    Not even where the host keeps a session for the browser; its login, second factor and all,
    comes after.
    """
    site.app.add_url_rule("/me", view_func=lambda: repr(dict(login_session)), endpoint="me")
    site.add_user()
    visitor = Visitor(site)
    done = visitor.press(visitor.follow(mailed(site, "recovery").link))
    (cookie,) = done.headers.getlist("Set-Cookie")
    assert (200, True, True, "{}") == (
        done.status_code,
        cookie.startswith("courier_recovery=;"),
        "Max-Age=0" in cookie,
        visitor.get("/me").text,
    )


@every_database
def test_s13_sessions_end_with_the_password(site: Site, store: list[Revoking]) -> None:
    """A recovery changes the security stamp, which login sessions rest on, with the password.

    The account is verified: no first proof ends them here.
    """
    identity = site.add_user(email_verified_at=VERIFIED)
    before = site.get_user(identity).security_stamp
    assert 200 == Visitor(site).redeem("recovery", mailed(site, "recovery").token)
    account = site.get_user(identity)
    assert (True, True) == (account.check_password(PASSWORD), before != account.security_stamp)
    assert [[ADA]] == store[0].seen


@every_database
def test_s13_one_transaction(site: Site, store: list[Revoking]) -> None:
    """Where sessions cannot be ended, nothing is done: no new password, and the link stays good."""
    site.add_user(email_verified_at=VERIFIED)
    token = mailed(site, "recovery").token
    before = dump(site)
    store[0].fails = True
    with pytest.raises(KeyError):
        Visitor(site).redeem("recovery", token)
    assert before == dump(site)
    store[0].fails = False
    assert 200 == Visitor(site).redeem("recovery", token)


@every_database
@every_purpose
def test_s08_asking_changes_nothing(sites: Callable[..., Site], purpose: str) -> None:
    """An account is as it was after requests, mails, opened links, bad codes and bad tokens."""
    site = open_house(sites)
    identity = site.add_user("grace@example.com")
    before = [row for row in site.rows("user") if row["id"] == identity]
    mail = link_of(site, purpose)
    accounts = site.rows("user")
    visitor = Visitor(site)
    for email in (ADA, "grace@example.com"):
        for flow in ("recovery", "verification", "sign-in"):
            assert 202 == visitor.json(f"/account/{flow}", email=email)[0]
            assert 422 == visitor.json(f"/account/{flow}/code", email=email, code="00000000")[0]
    site.deliver()
    visitor.follow(mail.link)
    for other in FINAL:
        assert 410 == visitor.redeem(other, f"{mail.token}A")
    assert accounts == site.rows("user")
    assert before == [row for row in site.rows("user") if row["id"] == identity]
    assert site.get_user(identity).check_password("the old password")


@every_purpose
@pytest.mark.parametrize("where", ELSEWHERE)
def test_s34_next(sites: Callable[..., Site], purpose: str, where: str) -> None:
    """No page is led astray by a request: there is no ``next``, where flows end is configured."""
    site = open_house(sites)
    visitor = Visitor(site)
    link, query = path_of(link_of(site, purpose).link), {"next": where}
    opened = visitor.get(link, query_string=query)
    page = visitor.get(opened.location, query_string=query)
    assert (FINAL[purpose], False) == (opened.location, "evil" in page.text)
    fields = {"password": PASSWORD, "confirm": PASSWORD} if 'name="confirm"' in page.text else {}
    hidden = form_data(page.text, **fields)
    done = visitor.post(FINAL[purpose], data={**hidden, "next": where}, query_string=query)
    assert (True, False) == (
        done.status_code in {200, 303},
        "evil" in f"{done.location} {done.text}",
    )


@every_purpose
def test_s30_flow_mail(
    sites: Callable[..., Site], mail_server: MailServer, mail_config: dict[str, Any], purpose: str
) -> None:
    """Every mail of every flow says that no person wrote it, so that no machine answers it."""
    site = open_house(sites, **mail_config)
    visitor = Visitor(site)
    assert 200 == visitor.redeem(purpose, link_of(site, purpose).token)
    site.deliver()
    assert mail_server.mails
    assert {"auto-generated"} == {mail["Auto-Submitted"] for mail in mail_server.mails}
