"""Many at one account, one token or one limit at the same moment, on every database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa

from flask_courier.core.messages import RecordedMessage
from tests.databases import every_database
from tests.purposes import every_purpose, link_of, open_house
from tests.site import PASSWORD, Site
from tests.visitor import (
    ADA,
    DONE_BEFORE,
    NO_LIMITS,
    USED,
    Visitor,
    delivered,
    mailed,
    request_mail,
)

pytestmark = every_database

T = TypeVar("T")

ROUNDS = 60
MANY = 50
OLD = "user{}@example.com"
NEW = "moved{}@example.com"


@pytest.fixture
def busy_site(sites: Callable[..., Site]) -> Site:
    """A site whose limits nobody meets."""
    return sites(**NO_LIMITS)


def at_once(*jobs: Callable[[], T]) -> list[T]:
    """Start all ``jobs`` in the same moment, each in its thread; answer what they answer."""
    barrier = Barrier(len(jobs), timeout=30)

    def run(job: Callable[[], T]) -> T:
        barrier.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


def two_tokens_each(site: Site, kind: str) -> dict[str, list[str]]:
    """Two open tokens for each of ``ROUNDS`` accounts, by the account's address."""
    tokens: dict[str, list[str]] = {OLD.format(number): [] for number in range(ROUNDS)}
    for address in tokens:
        site.add_user(address)
    for _ in range(2):
        for address in tokens:
            request_mail(site, kind, address)
        for mail in delivered(site):
            tokens[mail.recipient].append(mail.token or "")
    return tokens


def move(site: Site, old: str, new: str) -> int:
    """The host changes an address, which is unverified from then on; 0 says it worked."""
    user = site.user
    with site.app.app_context():
        change = sa.update(user).where(user.email == old).values(email=new, email_verified_at=None)
        site.db.session.execute(change)
        site.db.session.commit()
    return 0


@pytest.mark.parametrize("kind", ["verification", pytest.param("recovery", marks=pytest.mark.slow)])
def test_two_tokens_and_a_new_address(busy_site: Site, kind: str) -> None:
    """Two tokens and an address change at once: no error, one success, no wrong address marked."""
    tokens = two_tokens_each(busy_site, kind)
    for number in range(ROUNDS):
        old, new = OLD.format(number), NEW.format(number)
        first, second = tokens[old]
        first_answer, second_answer, _ = at_once(
            partial(Visitor(busy_site).redeem, kind, first),
            partial(Visitor(busy_site).redeem, kind, second),
            partial(move, busy_site, old, new),
        )
        answers = sorted([first_answer, second_answer])
        assert answers in ([200, 410], [200, DONE_BEFORE], [410, 410])
    accounts = [(user["email"], user["email_verified_at"]) for user in busy_site.rows("user")]
    # A verification that came first was undone with the address; one that came later was refused.
    assert sorted((NEW.format(number), None) for number in range(ROUNDS)) == sorted(accounts)


@every_purpose
def test_s06_one_of_fifty(sites: Callable[..., Site], purpose: str) -> None:
    """Of fifty simultaneous POSTs of one token exactly one succeeds, and all get an answer."""
    site = open_house(sites)
    token = link_of(site, purpose).token
    before = site.rows("user")
    answers = at_once(*[partial(Visitor(site).redeem, purpose, token)] * MANY)
    # Busy is an answer too: nothing was done, and trying again will do.
    assert (1, set()) == (answers.count(200), set(answers) - {200, 503, USED[purpose]})
    assert before != site.rows("user")


@pytest.mark.parametrize("kind", ["verification", "recovery"])
def test_s06_one_token_twice(busy_site: Site, kind: str) -> None:
    """Of two simultaneous POSTs of one token exactly one succeeds."""
    busy_site.add_user()
    for number in range(8):
        with busy_site.app.app_context(), busy_site.db.engine.begin() as connection:
            connection.execute(sa.update(busy_site.user).values(email_verified_at=None))
        token = mailed(busy_site, kind).token
        password = f"{PASSWORD} {number}"
        answers = at_once(
            partial(Visitor(busy_site).redeem, kind, token, password),
            partial(Visitor(busy_site).redeem, kind, token, password),
        )
        assert [200, USED[kind]] == sorted(answers)


def test_two_links_of_one_account(busy_site: Site) -> None:
    """Of two recovery links of one account, sent at once, exactly one sets its password."""
    user = busy_site.add_user()
    first, second = (mailed(busy_site, "recovery").token for _ in range(2))
    answers = at_once(
        partial(Visitor(busy_site).redeem, "recovery", first, "the first new password"),
        partial(Visitor(busy_site).redeem, "recovery", second, "the second new password"),
    )
    winner = ("first", "second")[answers.index(200)]
    assert [200, 410] == sorted(answers)
    assert busy_site.get_user(user).check_password(f"the {winner} new password")


def test_s17_guesses_while_mail_is_asked_for(busy_site: Site) -> None:
    """However many guess at once, and whatever mail is asked for meanwhile, five are looked at."""
    busy_site.add_user()
    mail = mailed(busy_site, "recovery")
    wrong = "00000000" if mail.code != "00000000" else "11111111"

    def guess(code: str) -> int:
        return Visitor(busy_site).json("/account/recovery/code", email=ADA, code=code)[0]

    def ask() -> int:
        return Visitor(busy_site).json("/account/recovery", email=ADA)[0]

    jobs: list[Callable[[], int]] = [partial(guess, mail.code), ask, partial(guess, wrong)]
    answers = at_once(*jobs * 8)
    assert (8, set()) == (answers.count(202), set(answers) - {200, 202, 422})
    assert answers.count(200) <= 5
    assert 200 == Visitor(busy_site).redeem("recovery", mail.token)
    # Of the new mails the newest one's code would be right, and no guess is left for it.
    newest = delivered(busy_site)
    assert [422] * len(newest) == [guess(found.code or "") for found in newest]


def test_s17_all_guess_at_once(busy_site: Site) -> None:
    """Fifty people who all know the right code get five answers that say so."""
    busy_site.add_user()
    code = mailed(busy_site, "recovery").code
    fields = {"email": ADA, "code": code}
    guess = partial(Visitor(busy_site).json, "/account/recovery/code", **fields)
    answers = [status for status, _ in at_once(*[guess] * MANY)]
    assert [200] * 5 + [422] * (MANY - 5) == sorted(answers)


def test_s11_stranger_in_parallel(sites: Callable[..., Site]) -> None:
    """While strangers ask without end, one mail goes out, and the owner's link works."""
    site = sites(COURIER_REQUESTER_LIMIT=NO_LIMITS["COURIER_REQUESTER_LIMIT"])
    site.add_user()
    ask = partial(Visitor(site).json, "/account/recovery", email=ADA)
    found: list[list[RecordedMessage]] = [[]]

    def work() -> tuple[int, Any]:
        found[0] = delivered(site)
        return 202, None

    answers = at_once(*[ask] * 24, work)
    assert {202} == {status for status, _ in answers}
    (mail,) = [*found[0], *delivered(site)]
    assert 200 == Visitor(site).redeem("recovery", mail.token or "")
