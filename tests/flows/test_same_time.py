"""Asking for a mail takes the same time for every address, whatever the SMTP server does."""

from __future__ import annotations

import hashlib
import itertools
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from typing import Any

import pytest

from flask_courier.testing import FaultServer
from tests.databases import every_database
from tests.delivery.mails import eventually
from tests.delivery.threads import embedded
from tests.observation import update
from tests.ranks import likelihood
from tests.site import Site
from tests.visitor import Visitor, delivered, request_mail

#: Who is asked for, and how their account is; there is none of the unknown.
PEOPLE: dict[str, dict[str, Any] | None] = {
    "known": {"email_verified_at": datetime(2026, 1, 1, tzinfo=timezone.utc)},
    "unknown": None,
    "inactive": {"is_active": False},
    "unverified": {},
    "limited": {},
}
#: Requests for each of them.
EACH = 100
#: Two sorts that are alike fall below this once in a million runs; nothing is tried again.
SIGNIFICANCE = 1e-6
UNLIMITED = {"COURIER_REQUESTER_LIMIT": "100000/minute"}


def addresses(who: str) -> list[str]:
    """All of one length, so that lengths make no difference."""
    return [f"{who:_<10}{number:03}@example.com" for number in range(EACH)]


def in_rounds() -> list[tuple[str, str]]:
    """Every request, one of each sort a round, each round in an order of its own."""
    rounds = zip(*([(who, address) for address in addresses(who)] for who in PEOPLE), strict=True)
    return [request for one in rounds for request in sorted(one, key=by_chance)]


def by_chance(request: tuple[str, str]) -> bytes:
    """Where a request stands in its round."""
    return hashlib.sha256(request[1].encode()).digest()


@pytest.fixture
def slow_server() -> Iterator[FaultServer]:
    """An SMTP server that needs two seconds for every answer."""
    with FaultServer(latency=2.0) as server:
        yield server


@pytest.fixture
def busy_site(sites: Callable[..., Site], slow_server: FaultServer) -> Iterator[Site]:
    """A site that knows them all, whose own worker has just begun to send."""
    settled = sites(**UNLIMITED)
    for who, values in PEOPLE.items():
        for address in [] if values is None else addresses(who):
            settled.add_user(address, **(values or {}))
    for address in addresses("limited"):
        request_mail(settled, "recovery", address)
    assert EACH == len(delivered(settled))
    update(settled, "courier_limit", count=1000)
    site = sites(COURIER_WORKER="thread", **UNLIMITED, **slow_server.config)
    for number in range(20):
        settled.add_user(f"warm-up{number}@example.com")
        Visitor(site).json("/account/recovery", email=f"warm-up{number}@example.com")
    eventually(True, lambda: len(slow_server.connections) > 0)  # noqa: FBT003 - what is waited for
    yield site
    embedded(site).stop()


@pytest.mark.slow
@every_database
def test_s02_same_time(busy_site: Site, slow_server: FaultServer) -> None:
    """500 requests for five sorts of addresses, interleaved: no sort is faster than another."""
    times: dict[str, list[float]] = {who: [] for who in PEOPLE}
    visitor = Visitor(busy_site, cookies=False)
    for who, address in in_rounds():
        begun = time.perf_counter()
        status, _ = visitor.json("/account/recovery", email=address)
        times[who].append(time.perf_counter() - begun)
        assert status == 202
    found = {
        pair: likelihood(times[pair[0]], times[pair[1]])
        for pair in itertools.combinations(PEOPLE, 2)
    }
    assert {} == {pair: p for pair, p in found.items() if p < SIGNIFICANCE}
    assert [EACH] * len(PEOPLE) == [len(measured) for measured in times.values()]
    # None of them waited for the server, which had more than one answer to give meanwhile.
    assert max(map(max, times.values())) < 2.0
    assert 1 <= len(slow_server.connections)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        # Signed ranks that sum up to 210, 110 and 105 of 210; mean 105, variance 20 * 21 * 41 / 24.
        (range(1, 41, 2), range(20), 8.857e-5),
        ([-1.0, 2.0, -3.0, 4.0, -5.0, 6.0, -7.0, 8.0, -9.0, 10.0] * 2, [0.0] * 20, 0.7082),
        ([1.0] * 30, [1.0] * 30, 1.0),
    ],
    ids=["apart", "interleaved", "one value"],
)
def test_rank_test(one: list[float], other: list[float], expected: float) -> None:
    """The rank test answers what the normal approximation gives by hand."""
    assert expected == pytest.approx(likelihood(one, other), rel=0.01)


def test_rank_test_sees_what_would_be_an_oracle() -> None:
    """A tenth more for one sort of addresses is seen, though one request in ten is very slow."""
    one, other = (
        [
            4.0 + number % 100 / 100 + 50 * (number % 10 == 0)
            for number in range(0, EACH * step, step)
        ]
        for step in (37, 53)
    )
    more = [value * 1.1 for value in other]
    assert likelihood(one, more) < SIGNIFICANCE < likelihood(one, other)
