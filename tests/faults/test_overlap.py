"""A session between two mails: the next one is announced while the last result is written."""

from __future__ import annotations

import pytest

from flask_courier.testing import HOLD, FaultServer
from tests.databases import IMPATIENT, locked
from tests.faults.scene import DEADLINE, MakeSite, addresses, at_work, column, copies, queue, settle

TWO = addresses(2)


def test_final_dot_waits_for_the_result_before(sites: MakeSite) -> None:
    """While the database is busy the next mail is announced, and not finished."""
    with FaultServer() as server, at_work(sites, server, COURIER_SMTP_CONNECTIONS=1) as site:
        first = server.on("DOT", HOLD, times=1)
        queue(site, TWO)
        first.wait_for(1, DEADLINE)
        with locked(site.url):
            first.release()
            server.wait_until(lambda it: it.replies[354] == 2, DEADLINE)
            with pytest.raises(TimeoutError):
                server.wait_for(2, timeout=0.5)
            assert 1 == len(server.messages)
        settle(site)
        assert dict.fromkeys(TWO, 1) == copies(server)
        assert {1} == {message.connection for message in server.messages}


@pytest.mark.slow
def test_database_that_is_busy_for_long(sites: MakeSite) -> None:
    """A mail whose dot would wait for too long is left without it, and sent once, later."""
    config = {"COURIER_SMTP_CONNECTIONS": 1, **IMPATIENT}
    with FaultServer() as server, at_work(sites, server, **config) as site:
        first = server.on("DOT", HOLD, times=1)
        queue(site, TWO)
        first.wait_for(1, DEADLINE)
        with locked(site.url):
            first.release()
            server.wait_until(lambda it: it.replies[354] == 2, DEADLINE)
            server.wait_until(lambda it: not it.connections[0].is_open, timeout=30)
            assert 1 == len(server.messages)
        settle(site)
        assert dict.fromkeys(TWO, 1) == copies(server)
        assert {"accepted": 2, "lease_lost": 1} == column(site, "courier_attempt", "cause")
        assert {1: 2} == column(site, "courier_message", "attempts")
