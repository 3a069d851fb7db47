"""Mail that can do nothing any more: it neither counts as live nor leaves anything of worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.databases import every_database
from tests.site import Site
from tests.smtp_server import MailServer
from tests.visitor import ADA, Visitor, delivered, mailed, request_mail

pytestmark = every_database


@pytest.fixture
def ada(site: Site) -> int:
    """An account."""
    return site.add_user(ADA)


def test_a_dead_link_does_not_hold_the_next_mail_back(site: Site, ada: int) -> None:
    """After a password change elsewhere, a second request within the minute is mailed."""
    mailed(site, "recovery")
    with site.app.app_context():
        user = site.db.session.get(site.user, ada)
        assert user is not None
        user.set_password("changed at the settings page")
        site.db.session.commit()
    request_mail(site, "recovery")

    assert 1 == len(delivered(site))


def test_a_live_link_holds_the_next_mail_back(site: Site, ada: int) -> None:
    """With a working link out, a second request within the minute is suppressed."""
    del ada
    mailed(site, "recovery")
    request_mail(site, "recovery")

    assert [] == delivered(site)
    assert "recipient_limit" in [row["reason"] for row in site.rows("courier_message")]


def test_a_rejected_mail_leaves_no_open_token(mailing_site: Site, mail_server: MailServer) -> None:
    """The token of a mail that the server rejected is consumed with it."""
    mailing_site.add_user(ADA)
    mail_server.answers["RCPT"] = "550 5.1.1 no such user"
    request_mail(mailing_site, "recovery")
    mailing_site.deliver()

    tokens = mailing_site.rows("courier_token")
    assert {("recovery", None, "undelivered"), ("not_me", None, "undelivered")} == {
        (token["purpose"], token["seed"], token["ended_as"]) for token in tokens
    }
    assert all(token["consumed_at"] for token in tokens)


def test_an_account_in_unicode_is_found(site: Site) -> None:
    """An address stored with a Unicode domain is found by either way of writing it."""
    site.add_user("user@bücher.example")
    for written in ("user@bücher.example", "USER@xn--bcher-kva.example"):
        request_mail(site, "verification", written)

    statuses = [row["reason"] for row in site.rows("courier_message")]
    assert [None, None] == statuses
    assert {"sent": 1, "suppressed": 1} == site.deliver()
    reasons = {row["reason"] for row in site.rows("courier_message")}
    assert {None, "recipient_limit"} == reasons


def test_a_code_in_the_subject_is_masked_in_the_list(site: Site, tmp_path: Path) -> None:
    """A subject that shows the code is listed with dots."""
    folder = tmp_path / "templates" / "courier" / "mail"
    folder.mkdir(parents=True)
    (folder / "recovery.subject.txt").write_text("Your code is {{ code }}")
    site.app.template_folder = str(tmp_path / "templates")
    site.add_user(ADA)
    mailed(site, "recovery")
    site.courier.log_access(lambda _permission: True)

    listed = Visitor(site).get("/courier/", headers={"Accept": "application/json"}).get_json()

    assert ["Your code is ••••••••"] == [entry["subject"] for entry in listed["messages"]]
