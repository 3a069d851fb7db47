"""A new address: asked for, confirmed where it is read, and only then applied."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from typing import Any

import pytest

from flask_courier import AddressError, SetupError, SQLAlchemyAccounts
from flask_courier.core.messages import RecordedMessage
from tests.databases import every_database
from tests.observation import update
from tests.site import RequiredMethods, Site, path_of
from tests.visitor import ADA, NO_LIMITS, Visitor, delivered, mailed, request_mail

NEW = "ada@new.example"
VERIFIED = datetime(2026, 1, 1, tzinfo=timezone.utc)
PAGE = "/account/email"


@pytest.fixture
def open_site(sites: Callable[..., Site]) -> Site:
    """A site without limits, whose Ada is signed in for everybody who asks."""
    site = sites(**NO_LIMITS)
    identity = site.add_user(ADA)

    @site.courier.current_account
    def current() -> Any:
        return site.db.session.get(site.user, identity)

    @site.courier.recent_authentication
    def recent(_account: Any) -> bool:
        return True

    return site


def ask(site: Site, new: str = NEW, email: str = ADA) -> None:
    """Ask for a new address through the public call."""
    with site.app.app_context():
        account = site.db.session.execute(
            site.db.select(site.user).where(site.user.email == email)
        ).scalar_one()
        site.courier.request_email_change(account, new)
        site.db.session.commit()


def change_mail(site: Site, new: str = NEW, email: str = ADA) -> RecordedMessage:
    """Ask for a new address, and read the mail that goes there."""
    ask(site, new, email)
    (mail,) = [found for found in delivered(site) if found.kind == "email_change"]
    return mail


def confirm(site: Site, token: str | None) -> tuple[int, Any]:
    """Confirm by JSON; answer the status and the JSON."""
    return Visitor(site).json("/account/email/confirm", token=token)


def addresses(site: Site) -> list[str]:
    """Every account's address, in the order of their ids."""
    return [row["email"] for row in sorted(site.rows("user"), key=lambda row: int(row["id"]))]


@every_database
def test_s18_applied_once_confirmed(open_site: Site) -> None:
    """The account keeps its address until the link in the mail to the new one is used."""
    mail = change_mail(open_site)
    assert (NEW, [ADA]) == (mail.recipient, addresses(open_site))
    assert 200 == confirm(open_site, mail.token)[0]
    (row,) = open_site.rows("user")
    assert (NEW, True) == (row["email"], row["email_verified_at"] is not None)


@every_database
def test_s21_old_address_is_told(open_site: Site) -> None:
    """After the change the old address gets a mail with a link that takes it back."""
    confirm(open_site, change_mail(open_site).token)
    (notice,) = delivered(open_site)
    assert ("email_changed", ADA) == (notice.kind, notice.recipient)
    assert notice.link is not None
    assert path_of(notice.link).startswith("/account/email-undo/")
    assert ("a•••@new.example" in notice.text, NEW in notice.text) == (True, False)


def test_rollback_asks_for_nothing(open_site: Site) -> None:
    """The request joins the caller's transaction."""
    with open_site.app.app_context():
        account = open_site.db.session.get(open_site.user, 1)
        open_site.courier.request_email_change(account, NEW)
        open_site.db.session.rollback()
    assert [] == open_site.rows("courier_message")


def test_page(open_site: Site) -> None:
    """Who is signed in asks on a page, and confirms with the code from the mail."""
    visitor = Visitor(open_site)
    asked = visitor.fill(PAGE, email=NEW)
    assert (303, f"{PAGE}/code") == (asked.status_code, path_of(asked.location))
    (mail,) = delivered(open_site)
    button = visitor.fill(f"{PAGE}/code", email=NEW, code=mail.code or "")
    assert "a•••@new.example" in button.text
    assert 200 == visitor.send(button).status_code
    assert [NEW] == addresses(open_site)


def test_code_without_cookies(open_site: Site) -> None:
    """A browser that keeps no cookies completes the change with the code."""
    visitor = Visitor(open_site, cookies=False)
    visitor.fill(PAGE, email=NEW)
    (mail,) = delivered(open_site)
    assert (
        200
        == visitor.send(visitor.fill(f"{PAGE}/code", email=NEW, code=mail.code or "")).status_code
    )
    assert [NEW] == addresses(open_site)


def test_page_needs_its_hooks(site: Site) -> None:
    """Without a way to tell who is signed in, and since when, there is no such page."""
    site.add_user(ADA)
    site.courier.current_account(lambda: None)
    assert 404 == Visitor(site).get(PAGE).status_code


def test_page_needs_a_login(open_site: Site) -> None:
    """Nobody who is signed in: 401, in JSON with a reason."""
    open_site.courier.current_account(lambda: None)
    status, problem = Visitor(open_site).json(PAGE, email=NEW)
    assert (401, "not_signed_in") == (status, problem["reason"])
    assert 401 == Visitor(open_site).get(PAGE).status_code


@pytest.mark.parametrize("verdict", [False, None, 1, "yes"])
def test_s21_page_needs_a_fresh_login(open_site: Site, verdict: object) -> None:
    """Anything but True refuses; text is where a browser goes to sign in again."""
    open_site.courier.recent_authentication(lambda _account: verdict)
    page = Visitor(open_site).get(PAGE)
    status, problem = Visitor(open_site).json(PAGE, email=NEW)
    assert (403, "reauthentication_required") == (status, problem["reason"])
    if isinstance(verdict, str):
        assert (303, verdict) == (page.status_code, page.location)
    else:
        assert 403 == page.status_code
    assert [] == open_site.rows("courier_message")


def test_form_is_bound_to_its_account(open_site: Site) -> None:
    """A form that was opened in one login session cannot be sent in another's."""
    other = open_site.add_user("mallory@example.com")
    visitor = Visitor(open_site)
    form = visitor.get(PAGE)
    open_site.courier.current_account(lambda: open_site.db.session.get(open_site.user, other))
    assert 422 == visitor.send(form, email=NEW).status_code
    assert [] == open_site.rows("courier_message")


@every_database
def test_taken_address_gets_no_mail(open_site: Site) -> None:
    """An address of another account is answered alike, gets no mail, and the log says why."""
    open_site.add_user(NEW.upper())
    visitor = Visitor(open_site)
    free = visitor.fill(PAGE, email="ada@free.example")
    assert ["ada@free.example"] == [mail.recipient for mail in delivered(open_site)]
    taken = visitor.fill(PAGE, email=NEW)
    assert (free.status_code, free.text) == (taken.status_code, taken.text)
    assert [] == delivered(open_site)
    reasons = {row["recipient"]: row["reason"] for row in open_site.rows("courier_message")}
    assert "address_taken" == reasons[NEW]


@every_database
def test_taken_meanwhile(open_site: Site) -> None:
    """An address that another account got meanwhile is refused, and nothing is written."""
    mail = change_mail(open_site)
    open_site.add_user(NEW)
    before = open_site.rows("courier_token")
    status, problem = confirm(open_site, mail.token)
    assert (410, "link_changed") == (status, problem["reason"])
    assert ([ADA, NEW], before) == (addresses(open_site), open_site.rows("courier_token"))


@every_database
def test_one_address_for_two_accounts_at_once(open_site: Site) -> None:
    """Of two accounts that confirm the same new address at once, one gets it."""
    open_site.add_user("grace@example.com")
    mails = [change_mail(open_site), change_mail(open_site, email="grace@example.com")]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda mail: confirm(open_site, mail.token)[0], mails))
    assert [200, 410] == sorted(answers)
    assert 1 == addresses(open_site).count(NEW)


@every_database
def test_newest_of_two_applies(open_site: Site) -> None:
    """Of two pending changes only the one that was asked for last can be confirmed."""
    first, second = change_mail(open_site), change_mail(open_site, "ada@newer.example")
    status, problem = confirm(open_site, first.token)
    assert (410, "link_replaced") == (status, problem["reason"])
    assert 200 == confirm(open_site, second.token)[0]
    assert ["ada@newer.example"] == addresses(open_site)


@every_database
def test_newest_counts_before_it_is_sent(open_site: Site) -> None:
    """The older change is dead as soon as the newer one is asked for."""
    first = change_mail(open_site)
    ask(open_site, "ada@newer.example")
    assert 410 == confirm(open_site, first.token)[0]
    assert [ADA] == addresses(open_site)


@every_database
@pytest.mark.parametrize("newer", ["taken@example.com", "free@example.com"])
def test_a_newer_change_ends_the_older(open_site: Site, newer: str) -> None:
    """Whether another account has the newer address cannot be told from what becomes of the older.

    Nor from a third change, which goes out whatever became of the second.
    """
    open_site.add_user("taken@example.com")
    first = change_mail(open_site)
    ask(open_site, newer)
    delivered(open_site)
    assert "link_replaced" == confirm(open_site, first.token)[1]["reason"]
    assert 200 == confirm(open_site, change_mail(open_site, "ada@third.example").token)[0]


@every_database
@pytest.mark.parametrize("newer", ["taken@example.com", "free@example.com"])
def test_a_newer_change_counts(sites: Callable[..., Site], newer: str) -> None:
    """Nor can it be told from the day's mails that are left for other addresses."""
    site = sites(COURIER_RECIPIENT_LIMIT="1/minute 3/day")
    site.add_user(ADA)
    site.add_user("taken@example.com")
    for address in (newer, newer, NEW, newer, NEW):
        ask(site, address)
        delivered(site)
    rows = sorted(site.rows("courier_message"), key=lambda row: str(row["id"]))
    assert [True, False, True, True, False] == [
        row["reason"] not in {"recipient_limit", "day_limit"} for row in rows
    ]


def test_twenty_new_addresses_a_day(sites: Callable[..., Site]) -> None:
    """Who is signed in cannot have more than twenty mails a day sent to whom they like."""
    site = sites()
    site.add_user(ADA)
    for number in range(21):
        ask(site, f"stranger{number}@example.net")
        delivered(site)
    reasons = [row["reason"] for row in site.rows("courier_message") if row["status"] != "sent"]
    assert ["day_limit"] == [reason for reason in reasons if reason != "superseded"]


def test_same_address_gets_no_mail(open_site: Site) -> None:
    """The account's own verified address needs no change."""
    update(open_site, "user", email_verified_at=open_site.rows("user")[0]["email_verified_at"])
    Visitor(open_site).redeem("recovery", mailed(open_site, "recovery").token)
    delivered(open_site)
    ask(open_site, ADA)
    assert [] == delivered(open_site)
    assert "address_unchanged" in [row["reason"] for row in open_site.rows("courier_message")]


@pytest.mark.parametrize("spelling", [ADA, "Ada@Example.com"])
def test_first_proof_is_no_change(open_site: Site, spelling: str) -> None:
    """The address of an account that was never verified is proved by verification alone.

    That drops what a stranger made the account with, which no change of address does.
    """
    ask(open_site, spelling)
    assert [] == delivered(open_site)
    (row,) = open_site.rows("courier_message")
    assert "address_unchanged" == row["reason"]


@every_database
@pytest.mark.parametrize("way", ["asked for", "mailed"])
@pytest.mark.parametrize("stamp", ["security_stamp", "no_stamp"])
def test_recovery_ends_a_pending_change(sites: Callable[..., Site], way: str, stamp: str) -> None:
    """A change that an intruder has asked for comes to nothing once the owner recovers.

    Also where the model has no security stamp, and where its mail was still waiting.
    """
    site = sites(
        accounts=lambda model: SQLAlchemyAccounts(model, security_stamp=stamp), **NO_LIMITS
    )
    site.add_user(ADA)
    recovery = mailed(site, "recovery").token
    token = change_mail(site, "mallory@example.net").token if way == "mailed" else None
    if way == "asked for":
        ask(site, "mallory@example.net")
    assert 200 == Visitor(site).redeem("recovery", recovery)
    kinds = [mail.kind for mail in delivered(site)]
    assert (["password_changed"], 410) == (kinds, confirm(site, token)[0])
    assert [ADA] == addresses(site)


@pytest.mark.parametrize("kind", ["recovery", "verification"])
def test_older_links_die_with_the_address(open_site: Site, kind: str) -> None:
    """Mail that went to the old address opens nothing once the account has a new one."""
    old = mailed(open_site, kind)
    confirm(open_site, change_mail(open_site).token)
    assert 410 == Visitor(open_site).redeem(kind, old.token)


@pytest.mark.parametrize(
    "change", [{"is_active": False}, {"security_stamp": "another"}, {"password_hash": "another"}]
)
def test_dies_with_its_account(open_site: Site, change: dict[str, Any]) -> None:
    """The link is dead once the account is switched off, or has another password or stamp."""
    mail = change_mail(open_site)
    update(open_site, "user", **change)
    assert 410 == confirm(open_site, mail.token)[0]


def test_bad_address(open_site: Site) -> None:
    """What is no address is refused by the call and by the page."""
    with pytest.raises(AddressError):
        ask(open_site, "nobody")
    assert 422 == Visitor(open_site).fill(PAGE, email="nobody").status_code


def test_store_without_addresses(sites: Callable[..., Site]) -> None:
    """A store that cannot change addresses says which method it lacks."""
    site = sites(accounts=RequiredMethods)
    site.add_user(ADA)
    with pytest.raises(SetupError, match=r"change_address\(session, account, address\)"):
        ask(site)


@every_database
def test_other_spelling(open_site: Site) -> None:
    """A verified address in another spelling is a change as any other."""
    update(open_site, "user", email_verified_at=VERIFIED)
    mail = change_mail(open_site, "Ada@example.com")
    assert 200 == confirm(open_site, mail.token)[0]
    assert ["Ada@example.com"] == addresses(open_site)


def test_s18_recovery_goes_to_the_confirmed_address(open_site: Site) -> None:
    """While a change is pending, recovery goes where the account's mail is read."""
    change_mail(open_site)
    request_mail(open_site, "recovery")
    assert [ADA] == [mail.recipient for mail in delivered(open_site)]
