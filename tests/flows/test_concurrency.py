"""Several people at one account at the same moment, on every database."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import TypeVar

import pytest
import sqlalchemy as sa

from tests.databases import every_database
from tests.site import PASSWORD, Site
from tests.visitor import NO_LIMITS, Visitor, delivered, mailed, request_mail

pytestmark = every_database

T = TypeVar("T")

ROUNDS = 60
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
        assert sorted([first_answer, second_answer]) in ([200, 410], [410, 410])
    accounts = [(user["email"], user["email_verified_at"]) for user in busy_site.rows("user")]
    # A verification that came first was undone with the address; one that came later was refused.
    assert sorted((NEW.format(number), None) for number in range(ROUNDS)) == sorted(accounts)


@pytest.mark.parametrize("kind", ["verification", "recovery"])
def test_one_token_twice(busy_site: Site, kind: str) -> None:
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
        assert [200, 410] == sorted(answers)


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
