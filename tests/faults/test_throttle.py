"""A server that takes only so much: the worker finds out how much, and stays just below."""

from __future__ import annotations

import pytest

from flask_courier.testing import FaultServer
from tests.faults.scene import (
    DEADLINE,
    MakeSite,
    addresses,
    at_work,
    column,
    copies,
    counts,
    queue,
    wait_until,
)

#: Seconds that a worker gets to find the limit, and seconds that are then counted.
SETTLING = 14.0
COUNTED = 12.0


@pytest.mark.slow
@pytest.mark.parametrize("limit", [20, 100])
def test_rate_settles_below_the_limit(sites: MakeSite, limit: int) -> None:
    """Above N a second the server says 454: it ends up with 0.9 N to N, and no attempt is used."""
    backlog = addresses(int(limit * (SETTLING + COUNTED) * 1.1), domains=50)
    with FaultServer(rate_limit=limit, brief=True) as server, at_work(sites, server) as site:
        queue(site, backlog)
        server.wait_for(1, DEADLINE)
        begin = server.messages[0].at + SETTLING
        end = begin + COUNTED
        server.wait_until(lambda it: it.messages[-1].at > begin, timeout=60)
        refused = server.replies[454]
        server.wait_until(lambda it: it.messages[-1].at > end, timeout=60)
        counted = sum(1 for message in server.messages if begin < message.at <= end)
        assert refused > 0
        # What the server has saved up when the count begins, at most a second's worth, is on top.
        assert 0.9 * limit * COUNTED <= counted <= limit * (COUNTED + 1)
        # At the limit itself, every other message would be refused.
        assert server.replies[454] - refused <= counted / 20
        assert {"sent", "queued", "processing"} >= counts(site).keys()
        assert {0, 1} >= set(column(site, "courier_message", "attempts"))
        assert {1} == set(copies(server).values())


@pytest.mark.slow
def test_throttled_for_a_moment(sites: MakeSite) -> None:
    """Mail that was refused with 454 goes out by itself, without an attempt for the refusal."""
    backlog = addresses(30)
    with FaultServer() as server, at_work(sites, server) as site:
        rule = server.on(
            "DOT", "454 4.7.0 Throttling failure: Maximum sending rate exceeded.", nth=5
        )
        queue(site, backlog)
        wait_until(lambda: {"sent": len(backlog)} == counts(site))
        assert 1 == rule.hits
        assert {"throttled": 1, "accepted": len(backlog)} == column(
            site, "courier_attempt", "outcome"
        )
        assert {1} == set(column(site, "courier_message", "attempts"))


@pytest.mark.slow
def test_fewer_connections_than_wanted(sites: MakeSite) -> None:
    """Where two connections are allowed, eight sessions become two, and all mail goes out."""
    backlog = addresses(300)
    with (
        FaultServer(max_connections=2, latency=0.01) as server,
        at_work(sites, server, COURIER_SMTP_CONNECTIONS=8) as site,
    ):
        queue(site, backlog)
        server.wait_for(100, DEADLINE)
        refused = server.replies[421]
        wait_until(lambda: {"sent": len(backlog)} == counts(site))
        assert 0 < refused <= 16
        assert refused == server.replies[421]
        assert dict.fromkeys(backlog, 1) == copies(server)
        assert {1} == set(column(site, "courier_message", "attempts"))
        late = {message.connection for message in server.messages[100:]}
        assert 1 <= len(late) <= 2
