"""The whole journey by JSON alone, on every database."""

from __future__ import annotations

from typing import Any

from tests.databases import every_database
from tests.site import PASSWORD, Site, path_of
from tests.visitor import ADA, Mail, Visitor, delivered

pytestmark = every_database

ACCEPTED = {
    "status": "accepted",
    "detail": "If there is such an account, a mail is on its way.",
}


def ask(site: Site, visitor: Visitor, kind: str) -> Mail:
    """Ask for a mail of ``kind`` and read it."""
    assert (202, ACCEPTED) == visitor.json(f"/account/{kind}", email=ADA)
    (mail,) = delivered(site)
    assert mail.link is not None
    assert mail.token is not None
    assert mail.code is not None
    return Mail(mail.link, mail.token, mail.code, mail.text)


def open_link(visitor: Visitor, link: str) -> tuple[int, Any]:
    """Fetch a link as a JSON client; answer the status and the JSON."""
    answer = visitor.get(path_of(link), headers={"Accept": "application/json"})
    return answer.status_code, answer.get_json()


def test_verification_by_link(site: Site) -> None:
    """A JSON client verifies with the token of the link."""
    user, visitor = site.add_user(), Visitor(site, cookies=False)
    mail = ask(site, visitor, "verification")
    assert (200, {"status": "open", "address": "a•••@example.com"}) == open_link(visitor, mail.link)

    status, done = visitor.json("/account/verification/confirm", token=mail.token)
    assert (200, "completed") == (status, done["status"])
    assert site.get_user(user).email_verified_at is not None


def test_verification_by_code(site: Site) -> None:
    """A JSON client turns the code into a token, and verifies with that."""
    user, visitor = site.add_user(), Visitor(site, cookies=False)
    mail = ask(site, visitor, "verification")
    status, right = visitor.json("/account/verification/code", email=ADA, code=mail.code)
    assert (200, "a•••@example.com", False) == (
        status,
        right["address"],
        right["token"] == mail.token,
    )

    status, done = visitor.json("/account/verification/confirm", token=right["token"])
    assert (200, "completed") == (status, done["status"])
    assert site.get_user(user).email_verified_at is not None


def test_recovery_by_link(site: Site) -> None:
    """A JSON client sets a new password with the token of the link; the old one is dead."""
    user, visitor = site.add_user(), Visitor(site, cookies=False)
    mail = ask(site, visitor, "recovery")
    assert (200, {"status": "open", "address": "a•••@example.com"}) == open_link(visitor, mail.link)

    done = visitor.json("/account/recovery/password", token=mail.token, password=PASSWORD)
    assert (200, {"status": "completed"}) == done
    account = site.get_user(user)
    assert (True, False) == (
        account.check_password(PASSWORD),
        account.check_password("the old password"),
    )


def test_recovery_by_code(site: Site) -> None:
    """A JSON client turns the code into a token, and sets a new password with that."""
    user, visitor = site.add_user(), Visitor(site, cookies=False)
    mail = ask(site, visitor, "recovery")
    status, right = visitor.json("/account/recovery/code", email=ADA, code=mail.code)
    assert (200, "a•••@example.com") == (status, right["address"])

    done = visitor.json("/account/recovery/password", token=right["token"], password=PASSWORD)
    assert (200, {"status": "completed"}) == done
    assert site.get_user(user).check_password(PASSWORD)


def test_notice(site: Site) -> None:
    """After a recovery by JSON its owner is told too."""
    site.add_user()
    visitor = Visitor(site, cookies=False)
    mail = ask(site, visitor, "recovery")
    visitor.json("/account/recovery/password", token=mail.token, password=PASSWORD)
    assert [("password_changed", ADA)] == [
        (notice.kind, notice.recipient) for notice in delivered(site)
    ]


def test_used_token(site: Site) -> None:
    """A token that was used is answered with a problem whose reason never changes."""
    site.add_user()
    visitor = Visitor(site, cookies=False)
    mail = ask(site, visitor, "recovery")
    visitor.json("/account/recovery/password", token=mail.token, password=PASSWORD)
    status, problem = visitor.json(
        "/account/recovery/password", token=mail.token, password=PASSWORD
    )
    assert (410, 410, "link_used") == (status, problem["status"], problem["reason"])


def test_form_description(site: Site) -> None:
    """A JSON client that reads a form's page is told which fields to send."""
    visitor = Visitor(site, cookies=False)
    pages = ["/account/recovery", "/account/recovery/code"]
    answers = [visitor.get(page, headers={"Accept": "application/json"}) for page in pages]
    assert [{"fields": ["email"]}, {"fields": ["email", "code"]}] == [
        answer.get_json() for answer in answers
    ]
