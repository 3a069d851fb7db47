"""The old address takes a change back, and nobody who has the new one can prevent it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from flask_courier.core.messages import RecordedMessage
from tests.databases import every_database
from tests.flows.test_email_change import NEW, VERIFIED, addresses, ask, change_mail, confirm
from tests.observation import age, update
from tests.queue_rows import ago
from tests.site import Site, path_of
from tests.visitor import (
    ADA,
    NO_LIMITS,
    Visitor,
    delivered,
    mailed,
    not_me_link,
    token_of,
)

THIRD = "mallory@third.example"


@pytest.fixture
def moved(sites: Callable[..., Site]) -> Site:
    """A site whose Ada has a new address; the notice to the old one waits."""
    site = sites(**NO_LIMITS)
    site.add_user(ADA)
    confirm(site, change_mail(site).token)
    return site


def notice(site: Site) -> RecordedMessage:
    """The mail to the old address."""
    (mail,) = [found for found in delivered(site) if found.kind == "email_changed"]
    return mail


def undo(site: Site, mail: RecordedMessage) -> int:
    """Take the change back by JSON; answer the status."""
    return Visitor(site).json("/account/email-undo/confirm", token=mail.token)[0]


@every_database
def test_old_address_comes_back(moved: Site) -> None:
    """One POST gives the account its old address back, verified, and ends its sessions."""
    before = moved.rows("user")[0]["security_stamp"]
    mail = notice(moved)
    page = Visitor(moved).follow(mail.link or "")
    assert ("a•••@example.com" in page.text, [NEW]) == (True, addresses(moved))
    assert 200 == undo(moved, mail)
    (row,) = moved.rows("user")
    assert (ADA, True, True) == (
        row["email"],
        row["email_verified_at"] is not None,
        row["security_stamp"] != before,
    )


def test_by_form(moved: Site) -> None:
    """The link leads to one button, which offers a new password afterwards."""
    visitor = Visitor(moved)
    done = visitor.send(visitor.follow(notice(moved).link or ""))
    assert (200, True) == (done.status_code, 'href="/account/recovery"' in done.text)
    assert [ADA] == addresses(moved)


def test_once(moved: Site) -> None:
    """The link works once."""
    mail = notice(moved)
    assert [200, 410] == [undo(moved, mail), undo(moved, mail)]


@pytest.mark.parametrize(("days", "status"), [(6, 200), (8, 410)])
def test_seven_days(moved: Site, days: int, status: int) -> None:
    """It is good for seven days."""
    mail = notice(moved)
    age(moved, "courier_token", timedelta(days=days))
    assert status == undo(moved, mail)


@every_database
def test_open_links_of_the_new_address_end(moved: Site) -> None:
    """What the new address was sent opens nothing any more."""
    mail = notice(moved)
    recovery = mailed(moved, "recovery", NEW)
    assert 200 == undo(moved, mail)
    assert 410 == Visitor(moved).redeem("recovery", recovery.token)


@every_database
def test_an_intruder_who_moves_on(moved: Site) -> None:
    """After a second change the first address still takes all back; the second cannot answer."""
    first = notice(moved)
    confirm(moved, change_mail(moved, THIRD, NEW).token)
    second = notice(moved)
    assert [THIRD] == addresses(moved)
    assert (200, [ADA]) == (undo(moved, first), addresses(moved))
    assert (410, [ADA]) == (undo(moved, second), addresses(moved))


@every_database
def test_a_later_undo_spares_the_earlier(moved: Site) -> None:
    """Taking the second change back leaves the link that takes the first one back."""
    first = notice(moved)
    confirm(moved, change_mail(moved, THIRD, NEW).token)
    second = notice(moved)
    assert (200, [NEW]) == (undo(moved, second), addresses(moved))
    assert (200, [ADA]) == (undo(moved, first), addresses(moved))


@every_database
def test_a_pending_change_ends(moved: Site) -> None:
    """A further change that the intruder has asked for cannot be confirmed after the undo."""
    first = notice(moved)
    pending = change_mail(moved, THIRD, NEW)
    assert 200 == undo(moved, first)
    assert (410, [ADA]) == (confirm(moved, pending.token)[0], addresses(moved))


def test_a_change_that_waits_is_withdrawn(moved: Site) -> None:
    """A further change that was asked for and not yet mailed is never mailed."""
    first = notice(moved)
    ask(moved, THIRD, NEW)
    assert (200, []) == (undo(moved, first), delivered(moved))


@every_database
def test_a_notice_that_waits_is_not_sent(moved: Site) -> None:
    """An intruder who moves on gets no link back from a notice that waited while all was undone."""
    first = notice(moved)
    confirm(moved, change_mail(moved, THIRD, NEW).token)
    assert (200, [], [ADA]) == (undo(moved, first), delivered(moved), addresses(moved))
    assert "undone" in [row["reason"] for row in moved.rows("courier_message")]


@every_database
def test_an_earlier_notice_that_waits_is_sent(moved: Site) -> None:
    """Taking the second change back leaves the owner the notice of the first, though it waited."""
    update(moved, "courier_message", next_attempt_at=ago(hours=-1))
    confirm(moved, change_mail(moved, THIRD, NEW).token)
    assert (200, [NEW]) == (undo(moved, notice(moved)), addresses(moved))
    update(moved, "courier_message", next_attempt_at=ago(seconds=1))
    assert (200, [ADA]) == (undo(moved, notice(moved)), addresses(moved))


@every_database
@pytest.mark.parametrize("way", ["undone", "disowned"])
def test_s21_a_dead_link_asks_for_no_new_change(moved: Site, way: str) -> None:
    """Who read the mail at the new address cannot have it sent again: that takes a fresh login."""
    first, pending = notice(moved), change_mail(moved, THIRD, NEW)
    if way == "undone":
        assert 200 == undo(moved, first)
    else:
        token = token_of(not_me_link(mailed(moved, "recovery", NEW).text))
        assert 200 == Visitor(moved).json("/account/not-me/confirm", token=token)[0]
    before, page = addresses(moved), Visitor(moved).follow(pending.link or "")
    again = Visitor(moved).post("/account/email/again", json={"token": pending.token})
    assert (410, False, 405) == (page.status_code, "<form" in page.text, again.status_code)
    assert ([], before) == (delivered(moved), addresses(moved))


@every_database
def test_proved_meanwhile(moved: Site) -> None:
    """An old address that another account has proved to be its own is not taken from it."""
    mail = notice(moved)
    moved.add_user(ADA, email_verified_at=VERIFIED)
    assert (410, [NEW, ADA]) == (undo(moved, mail), addresses(moved))


@every_database
@pytest.mark.parametrize("spelling", [ADA, "Ada@Example.com"])
def test_an_intruder_who_sits_on_the_address(moved: Site, spelling: str) -> None:
    """An account that was made with the old address, and never proved it, is not in the way."""
    mail = notice(moved)
    identity = moved.add_user(spelling)
    assert (200, [ADA, f"{spelling}.invalid"]) == (undo(moved, mail), addresses(moved))
    assert moved.get_user(identity).check_password("the old password")
    assert "address_vacated" in [row["what"] for row in moved.rows("courier_event")]


@every_database
def test_a_freeze_by_the_intruder_ends(sites: Callable[..., Site]) -> None:
    """An owner who has taken the change back gets a recovery mail, whatever was said meanwhile."""
    site = sites(COURIER_NOT_ME_FREEZE=timedelta(hours=1), **NO_LIMITS)
    site.add_user(ADA)
    confirm(site, change_mail(site).token)
    mail = notice(site)
    token = token_of(not_me_link(mailed(site, "recovery", NEW).text))
    assert 200 == Visitor(site).json("/account/not-me/confirm", token=token)[0]
    assert 200 == undo(site, mail)
    assert 200 == Visitor(site).redeem("recovery", mailed(site, "recovery").token)


def test_account_that_is_switched_off(moved: Site) -> None:
    """It works for an account that was switched off, and does not switch it on."""
    mail = notice(moved)
    update(moved, "user", is_active=False)
    assert 200 == undo(moved, mail)
    (row,) = moved.rows("user")
    assert (ADA, False) == (row["email"], bool(row["is_active"]))


def test_new_password_spares_it(moved: Site) -> None:
    """An intruder who changes password and sessions does not end it."""
    mail = notice(moved)
    update(moved, "user", password_hash="the intruder's", security_stamp="the intruder's")
    assert (200, [ADA]) == (undo(moved, mail), addresses(moved))


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_safe_methods(moved: Site, method: str) -> None:
    """Fetching the link takes nothing back."""
    link = path_of(notice(moved).link or "")
    Visitor(moved).client.open(link, method=method, base_url="https://acme.example")
    assert [NEW] == addresses(moved)


@every_database
def test_at_once(moved: Site) -> None:
    """Of twenty simultaneous POSTs one succeeds."""
    mail = notice(moved)
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: undo(moved, mail), range(20)))
    assert (1, {200, 410}) == (answers.count(200), set(answers) - {503})
