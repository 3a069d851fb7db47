"""The mails of an hour: bounded for everybody together, with a share for recovery."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.databases import every_database
from tests.observation import age, update
from tests.queue_rows import ago
from tests.site import Site
from tests.visitor import NO_LIMITS, Visitor, request_mail

Sites = Callable[..., Site]

PEOPLE = [f"p{number}@example.com" for number in range(12)]


@pytest.fixture
def small_site(sites: Sites) -> Site:
    """A site that sends ten mails an hour, with a dozen accounts."""
    site = sites(COURIER_HOURLY_BUDGET=10, **NO_LIMITS)
    for email in PEOPLE:
        site.add_user(email)
    return site


def ask(site: Site, kind: str, people: list[str]) -> dict[str, int]:
    """Ask for a mail to each, deliver what is due; answer the counts by status."""
    for email in people:
        request_mail(site, kind, email)
    return site.deliver()


def reasons(site: Site) -> list[str | None]:
    """Why messages wait."""
    rows = site.rows("courier_message")
    return [row["reason"] for row in rows if row["status"] == "queued"]


@every_database
def test_share_for_recovery(small_site: Site) -> None:
    """Other mail leaves the last fifth, which recovery then has."""
    assert {"sent": 8} == ask(small_site, "verification", PEOPLE)
    assert {"sent": 2} == ask(small_site, "recovery", PEOPLE[:3])
    assert ["hourly_budget"] * 5 == reasons(small_site)


@every_database
def test_next_hour(small_site: Site) -> None:
    """What is over the budget waits, uses up no attempt, and goes out in the next hour."""
    ask(small_site, "verification", PEOPLE)
    assert {} == small_site.deliver()
    assert {0, 1} == {row["attempts"] for row in small_site.rows("courier_message")}
    age(small_site, "courier_limit", timedelta(hours=1))
    update(small_site, "courier_message", next_attempt_at=ago(seconds=1))
    assert {"sent": 4} == small_site.deliver()


def test_recovery_overtakes(small_site: Site) -> None:
    """Where all are in the queue together, recovery goes first."""
    for email in PEOPLE:
        request_mail(small_site, "verification", email)
    assert {"sent": 10} == ask(small_site, "recovery", PEOPLE[:10])
    assert {"verification"} == {
        row["kind"] for row in small_site.rows("courier_message") if row["status"] == "queued"
    }


def test_refusals_cost_nothing(small_site: Site) -> None:
    """Addresses without an account take nothing of it."""
    made_up = [f"nobody{number}@example.com" for number in range(30)]
    assert 30 == ask(small_site, "verification", made_up)["suppressed"]
    assert {"sent": 8} == ask(small_site, "verification", PEOPLE[:8])


@every_database
def test_parallel_workers(small_site: Site) -> None:
    """Several workers together send no more."""
    for email in PEOPLE:
        request_mail(small_site, "verification", email)
    with ThreadPoolExecutor(4) as pool:
        counts = [one.result() for one in [pool.submit(small_site.deliver) for _ in range(4)]]
    assert 8 == sum(count.get("sent", 0) for count in counts)


def test_log_says_so(small_site: Site) -> None:
    """The delivery log says why a mail waits."""
    small_site.courier.log_access(lambda _permission: True)
    ask(small_site, "verification", PEOPLE)
    rows = small_site.rows("courier_message")
    waiting = next(row for row in rows if row["reason"] == "hourly_budget")
    page = Visitor(small_site).get(f"/courier/messages/{waiting['id']}").text
    assert "as COURIER_HOURLY_BUDGET allows" in page
