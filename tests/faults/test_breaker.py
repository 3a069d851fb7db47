"""When mail waits for its server, and whose fault never makes it wait."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from flask_courier.core.causes import CAUSES
from flask_courier.testing import DROP, RESET, Fault, FaultServer
from tests.faults.scene import (
    DEADLINE,
    LOGIN,
    MakeSite,
    addresses,
    at_work,
    column,
    copies,
    counts,
    hurry,
    is_idle,
    is_open,
    messages,
    opened,
    probe_again,
    queue,
    queue_recoveries,
    settle,
    transport,
    wait_until,
)
from tests.site import Site

#: Probes of a fault that lasts; every one stands for an interval of up to an hour.
PROBES = 8
EVERYBODY = addresses(20)
STRANGER = "eve@elsewhere.example"


# A login that is refused


@pytest.mark.parametrize("connections", [1, 8])
def test_wrong_password_for_a_long_time(sites: MakeSite, connections: int) -> None:
    """Every interval of the breaker sees one AUTH, nothing is abandoned, no attempt is used."""
    with (
        FaultServer(security="starttls", login=LOGIN) as server,
        at_work(sites, server, COURIER_SMTP_CONNECTIONS=connections) as site,
    ):
        server.on("AUTH", "535 5.7.8 authentication failed")
        queue(site, EVERYBODY)
        opened(site)
        # Sessions that were opening together when the first was refused are of one interval.
        begun = len(server.logins)
        assert begun <= connections
        for _ in range(PROBES):
            probe_again(site)
        assert begun + PROBES == len(server.logins)
        assert {"queued": len(EVERYBODY)} == counts(site)
        assert {0} == set(column(site, "courier_message", "attempts"))


def test_wrong_password_in_plain_words(sites: MakeSite) -> None:
    """The breaker's row says what is wrong: the cause in plain words, beside the server's own."""
    with (
        FaultServer(security="starttls", login=LOGIN) as server,
        at_work(sites, server) as site,
    ):
        server.on("AUTH", "535 5.7.8 authentication failed")
        queue(site, EVERYBODY)
        opened(site)
        row = transport(site)
        assert ("open", "login_refused") == (row["breaker"], row["cause"])
        assert CAUSES["login_refused"].meaning == row["reason"]
        assert "5.7.8 authentication failed" == row["last_error"]


def test_waits_of_a_wrong_password(sites: MakeSite) -> None:
    """A wrong password is tried after one minute, then after ever longer, up to an hour."""
    with (
        FaultServer(security="starttls", login=LOGIN) as server,
        at_work(sites, server, COURIER_SMTP_CONNECTIONS=1) as site,
    ):
        server.on("AUTH", "535 5.7.8 authentication failed")
        queue(site, EVERYBODY)
        opened(site)
        waits = [waited(site)]
        for _ in range(PROBES):
            probe_again(site)
            waits.append(waited(site))
    for number, wait in enumerate(waits):
        plain = min(60.0 * 2**number, 3600.0)
        assert 0.75 * plain - 5 <= wait <= 1.25 * plain + 5


def waited(site: Site) -> float:
    """Seconds from the last attempt to the next probe."""
    last = max(row["started_at"] for row in site.rows("courier_attempt"))
    wait: float = (transport(site)["next_probe_at"] - last).total_seconds()
    return wait


def test_all_goes_out_after_the_fix(sites: MakeSite) -> None:
    """When the server takes the password again, the next probe finds out, and all mail goes."""
    with (
        FaultServer(security="starttls", login=LOGIN) as server,
        at_work(sites, server) as site,
    ):
        rule = server.on("AUTH", "535 5.7.8 authentication failed")
        queue(site, EVERYBODY)
        opened(site)
        probe_again(site)
        rule.remove()
        settle(site)
        assert dict.fromkeys(EVERYBODY, 1) == copies(server)
        assert ("closed", 0, None) == tuple(
            transport(site)[name] for name in ("breaker", "faults", "reason")
        )
        assert {1} == set(column(site, "courier_message", "attempts"))


def test_another_password_starts_anew(sites: MakeSite) -> None:
    """With another password in the URI mail goes out at once: that breaker is another one."""
    with FaultServer(security="starttls", login=LOGIN) as server:
        wrong = server.uri.replace(quote(LOGIN[1], safe=""), "wrong")
        with at_work(sites, server, COURIER_SMTP_URI=wrong) as site:
            queue(site, EVERYBODY[:1])
            opened(site)
        with at_work(sites, server) as site:
            queue(site, EVERYBODY[1:2])
            # Both, where the first is due again by then.
            wait_until(lambda: counts(site)["sent"] >= 1)
            assert {"closed", "open"} == set(column(site, "courier_transport", "breaker"))
            settle(site)
        assert dict.fromkeys(EVERYBODY[:2], 1) == copies(server)


# What a stranger's server says


@pytest.mark.parametrize("pipelining", [True, False])
@pytest.mark.parametrize(
    ("verb", "action"),
    [
        ("RCPT", "421 4.3.2 their server is closing"),
        ("RCPT", "550 5.7.1 relaying denied"),
        ("RCPT", DROP),
        ("DATA", "421 4.3.2 their server is closing"),
        ("DOT", "421 4.3.2 their server is closing"),
        ("DOT", "550 5.7.1 message refused"),
        ("DOT", DROP),
        ("DOT", RESET),
        ("DOT", "451 4.7.1 too many messages, slow down"),
    ],
)
def test_a_stranger_stops_nobody(
    sites: MakeSite, verb: str, action: str | Fault, *, pipelining: bool
) -> None:
    """What one recipient's server does opens no breaker: all others get their mail, once."""
    without = [] if pipelining else ["PIPELINING"]
    with FaultServer(without=without) as server, at_work(sites, server) as site:
        rule = server.on(verb, action, to=STRANGER)
        queue(site, [STRANGER])
        queue(site, EVERYBODY[:10])
        rule.wait_for(1, DEADLINE)
        server.wait_for(10, DEADLINE)
        wait_until(lambda: is_idle(site))
        assert not is_open(site)
        assert dict.fromkeys(EVERYBODY[:10], 1) == copies(server)
        assert {"sent"} == {messages(site)[one]["status"] for one in EVERYBODY[:10]}


@pytest.mark.parametrize("action", [DROP, "421 4.3.0 filter died"])
def test_many_mails_to_one_dead_domain(sites: MakeSite, action: str | Fault) -> None:
    """However many mails one domain's server chokes on, the breaker stays closed for the others."""
    dead = [f"user{number}@dead.example" for number in range(30)]
    with FaultServer() as server, at_work(sites, server) as site:
        server.on("RCPT", action, to="@dead.example")
        queue(site, dead)
        wait_until(lambda: len(site.rows("courier_attempt")) >= len(dead))
        wait_until(lambda: is_idle(site))
        assert not is_open(site)
        queue(site, EVERYBODY)
        server.wait_for(len(EVERYBODY), DEADLINE)
        assert dict.fromkeys(EVERYBODY, 1) == copies(server)


@pytest.mark.parametrize("verb", ["RCPT", "DATA"])
def test_message_that_kills_a_filter(sites: MakeSite, verb: str) -> None:
    """A message at which the server hangs up three times is given up as poison."""
    with FaultServer() as server, at_work(sites, server) as site:
        rule = server.on(verb, DROP, to=STRANGER)
        queue(site, [STRANGER, *EVERYBODY])
        settle(site)
        assert {"abandoned": 1, "sent": len(EVERYBODY)} == counts(site)
        assert "poison" == messages(site)[STRANGER]["reason"]
        assert 3 == rule.hits


@pytest.mark.slow
def test_large_message_that_kills_a_filter(sites: MakeSite) -> None:
    """The same where the server dies in mid-payload."""
    with FaultServer() as server, at_work(sites, server) as site:
        rule = server.on("BODY", DROP, to=STRANGER)
        queue(site, [STRANGER], "own/big")
        queue(site, EVERYBODY)
        settle(site)
        assert {"abandoned": 1, "sent": len(EVERYBODY)} == counts(site)
        assert "poison" == messages(site)[STRANGER]["reason"]
        assert 3 == rule.hits


def test_poison_never_holds_the_probe(sites: MakeSite) -> None:
    """The message that failed last does not probe while another is due, be it the more urgent."""
    with (
        FaultServer() as server,
        at_work(sites, server, COURIER_SMTP_CONNECTIONS=1) as site,
    ):
        server.on("RCPT", DROP, to=STRANGER)
        outage = server.on("RCPT", DROP)
        queue(site, EVERYBODY[:2])
        wait_until(lambda: 2 == len(site.rows("courier_attempt")) and is_idle(site))
        queue_recoveries(site, [STRANGER])
        opened(site)
        assert messages(site)[STRANGER]["id"] == transport(site)["last_message_id"]
        outage.remove()
        probes = len(server.connections) + 1
        hurry(site)
        assert probes == server.wait_for(1, DEADLINE)[0].connection
        wait_until(lambda: not is_open(site))


# What everybody gets

DENIED = "550 5.7.1 relaying denied"


@pytest.mark.parametrize(
    ("verb", "reply", "cause"),
    [
        ("RCPT", DENIED, "relay_denied"),
        ("RCPT", "454 4.7.1 <ada@example.com>: Relay access denied", "relay_denied"),
        ("MAIL", "550 5.7.1 sender address rejected: not owned by user", "sender_refused"),
        ("RCPT", "530 5.7.0 authentication required", "login_required"),
        ("DOT", "550 5.7.26 unauthenticated mail is not accepted", "dmarc_failed"),
    ],
)
def test_refused_for_everybody(sites: MakeSite, verb: str, reply: str, cause: str) -> None:
    """What is refused to everybody is an operator's matter: the breaker opens and says so."""
    with FaultServer() as server, at_work(sites, server) as site:
        server.on(verb, reply)
        queue(site, EVERYBODY)
        opened(site)
        probe_again(site)
        assert (cause, CAUSES[cause].meaning) == (
            transport(site)["cause"],
            transport(site)["reason"],
        )
        # A minute at first, and doubled since.
        assert 60 * 0.75 <= waited(site)
        assert {"queued": len(EVERYBODY)} == counts(site)
        assert {0} == set(column(site, "courier_message", "attempts"))


def test_relay_that_was_denied_for_a_while(sites: MakeSite) -> None:
    """Once the server passes mail on again all of it goes, with no attempt used in between."""
    with FaultServer() as server, at_work(sites, server) as site:
        rule = server.on("RCPT", DENIED)
        queue(site, EVERYBODY)
        opened(site)
        probe_again(site)
        probe_again(site)
        rule.remove()
        settle(site)
        assert dict.fromkeys(EVERYBODY, 1) == copies(server)
        assert {1} == set(column(site, "courier_message", "attempts"))


def test_late_suspect_that_probes(sites: MakeSite) -> None:
    """A message refused just after the breaker opened gets its attempt back when it probes, too."""
    with FaultServer() as server, at_work(sites, server) as site:
        late = server.on("RCPT", Fault(DENIED, hold=True), to=EVERYBODY[0])
        server.on("RCPT", DENIED)
        queue(site, EVERYBODY[:4])
        late.wait_for(1, DEADLINE)
        wait_until(lambda: is_open(site))
        late.release()
        opened(site)
        assert 1 == messages(site)[EVERYBODY[0]]["attempts"]
        probe_again(site)
        assert 2 == attempts_of(site, EVERYBODY[0])
        assert {0} == set(column(site, "courier_message", "attempts"))


def test_suspect_that_is_on_the_wire_again(sites: MakeSite) -> None:
    """An attempt that is given back while the next one is under way stays given back."""
    with FaultServer() as server, at_work(sites, server) as site:
        first = server.on("RCPT", DENIED, times=1)
        late = server.on("RCPT", Fault(DENIED, hold=True), to=EVERYBODY[0])
        server.on("RCPT", DENIED)
        queue(site, EVERYBODY[:1])
        first.wait_for(1, DEADLINE)
        wait_until(lambda: 1 == messages(site)[EVERYBODY[0]]["attempts"])
        hurry(site)
        late.wait_for(1, DEADLINE)
        queue(site, EVERYBODY[1:3])
        wait_until(lambda: is_open(site))
        late.release()
        opened(site)
        probe_again(site)
        probe_again(site)
        assert {0} == set(column(site, "courier_message", "attempts"))


def attempts_of(site: Site, recipient: str) -> int:
    """How often the message to ``recipient`` was tried, whatever came of it."""
    identity = messages(site)[recipient]["id"]
    return sum(1 for row in site.rows("courier_attempt") if row["message_id"] == identity)
