"""A server that misbehaves: what is sent twice, what uses an attempt, and what never may."""

from __future__ import annotations

import logging

import pytest

from flask_courier.core.replies import printable
from flask_courier.testing import DROP, GARBAGE, VERBS, Event, Fault, FaultServer, ReceivedMessage
from tests.delivery.mails import LONG_AGO, only
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
    is_settled,
    messages,
    opened,
    probe_again,
    probe_now,
    queue,
    queue_recoveries,
    request_recoveries,
    settle,
    transport,
    wait_until,
)
from tests.observation import update

SOME = addresses(6)
#: What the worker says before a mail is accepted, while all goes well.
STORM = set(VERBS) - {"BODY", "NOOP", "RSET", "QUIT"}
CLOSING = "421 4.3.2 system is going down"


# A server that hangs up


@pytest.mark.parametrize("verb", ["BANNER", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize("kind", ["notice", "account"])
def test_drop_before_the_payload(sites: MakeSite, verb: str, kind: str) -> None:
    """A connection that drops before the payload costs nothing: one copy each, nothing unknown."""
    with (
        FaultServer(security="starttls", login=LOGIN) as server,
        at_work(sites, server, COURIER_SMTP_CONNECTIONS=2) as site,
    ):
        rule = server.on(verb, DROP, times=4)
        (queue if kind == "notice" else queue_recoveries)(site, SOME)
        settle(site)
        assert 4 == rule.hits
        assert {"sent": len(SOME)} == counts(site)
        assert dict.fromkeys(SOME, 1) == copies(server)
        assert 0 == column(site, "courier_attempt", "outcome")["unknown"]


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 12_000_000], ids=["first byte", "before the dot"])
def test_drop_within_the_payload(sites: MakeSite, size: int) -> None:
    """A payload whose end has not been written is not taken: it goes again, and is not unknown."""
    with FaultServer() as server, at_work(sites, server) as site:
        server.on("BODY", DROP, times=1, body_bytes=size)
        queue(site, SOME[:1], "own/big")
        settle(site)
        assert ["deferred", "accepted"] == [
            row["outcome"] for row in sorted(site.rows("courier_attempt"), key=by_number)
        ]
        assert {"data"} == {
            row["phase"] for row in site.rows("courier_attempt") if row["outcome"] == "deferred"
        }
        assert {SOME[0]: 1} == copies(server)


def by_number(row: dict[str, object]) -> int:
    """Attempts in their order."""
    number = row["number"]
    assert isinstance(number, int)
    return number


@pytest.mark.parametrize("keeps", [True, False])
def test_drop_after_the_dot_repeats_account_mail(sites: MakeSite, *, keeps: bool) -> None:
    """Account mail whose fate nobody knows goes once more, with the same bytes and Message-ID."""
    with (
        FaultServer(security="starttls", login=LOGIN) as server,
        at_work(sites, server) as site,
    ):
        heard: list[ReceivedMessage] = []

        def hang_up(event: Event) -> Fault:
            assert event.message is not None
            heard.append(event.message)
            return Fault(drop=True, keep=keeps)

        server.on("DOT", hang_up, times=1)
        queue_recoveries(site, SOME[:1])
        settle(site)
        assert {"sent": 1} == counts(site)
        assert {"unknown": 1, "accepted": 1} == column(site, "courier_attempt", "outcome")
        assert 1 + keeps == len(server.messages)
        assert heard[0].content == server.messages[-1].content
        assert heard[0].message_id == server.messages[-1].message_id


def test_second_drop_after_the_dot_ends_it(sites: MakeSite) -> None:
    """Account mail whose fate is unknown twice is held: nobody gets a third copy."""
    with FaultServer() as server, at_work(sites, server) as site:
        server.on("DOT", Fault(drop=True, keep=True))
        queue_recoveries(site, SOME[:1])
        settle(site)
        assert ("held", "outcome_unknown") == (only(site)["status"], only(site)["reason"])
        assert {SOME[0]: 2} == copies(server)


@pytest.mark.parametrize("keeps", [True, False])
def test_drop_after_the_dot_holds_a_notice(sites: MakeSite, *, keeps: bool) -> None:
    """A notice whose fate nobody knows is held for somebody to decide, and not sent again."""
    with FaultServer() as server, at_work(sites, server) as site:
        server.on("DOT", Fault(drop=True, keep=keeps), to=SOME[0])
        queue(site, SOME)
        settle(site)
        assert {"held": 1, "sent": len(SOME) - 1} == counts(site)
        assert "outcome_unknown" == messages(site)[SOME[0]]["reason"]
        assert int(keeps) == copies(server)[SOME[0]]


def test_drop_at_the_dot_stops_nobody_else(sites: MakeSite) -> None:
    """A recipient at whose dot the server hangs up opens no breaker: the others go out."""
    with FaultServer() as server, at_work(sites, server) as site:
        server.on("DOT", DROP, to=SOME[0])
        queue(site, SOME)
        server.wait_for(len(SOME) - 1, DEADLINE)
        wait_until(lambda: is_idle(site))
        assert {"closed"} == set(column(site, "courier_transport", "breaker"))


# 421: "service not available, closing transmission channel"


@pytest.mark.parametrize("verb", sorted(STORM))
def test_421_at_one_verb(sites: MakeSite, verb: str) -> None:
    """While every session ends with 421 at one verb, no attempt is used; then everything goes."""
    everybody = addresses(24)
    with (
        FaultServer(security="starttls", login=LOGIN) as server,
        at_work(sites, server, COURIER_SMTP_CONNECTIONS=4) as site,
    ):
        rule = server.on(verb, CLOSING)
        queue(site, everybody)
        wait_until(lambda: rule.hits >= 12, lambda: hurry(site))
        server.forgive()
        settle(site)
        assert {"sent": len(everybody)} == counts(site)
        assert dict.fromkeys(everybody, 1) == copies(server)
        assert {1} == set(column(site, "courier_message", "attempts"))


@pytest.mark.slow
def test_421_storm(sites: MakeSite) -> None:
    """While every third command is answered with 421, no attempt is used, and none is lost."""
    everybody = addresses(60)
    with (
        FaultServer(security="starttls", login=LOGIN) as server,
        at_work(sites, server, COURIER_SMTP_CONNECTIONS=4) as site,
    ):
        rule = server.on(STORM, CLOSING, every=3)
        queue(site, everybody)
        wait_until(lambda: rule.hits >= 60, lambda: hurry(site))
        server.forgive()
        settle(site)
        assert {"sent": len(everybody)} == counts(site)
        assert dict.fromkeys(everybody, 1) == copies(server)
        assert {1} == set(column(site, "courier_message", "attempts"))


def test_421_to_rset(sites: MakeSite) -> None:
    """A session that ends when it is to be used again says nothing of the next message."""
    with FaultServer() as server, at_work(sites, server, COURIER_SMTP_CONNECTIONS=1) as site:
        server.on("RCPT", "550 5.1.1 no such user", to=SOME[0])
        rule = server.on("RSET", CLOSING)
        queue(site, SOME[:1])
        wait_until(lambda: is_settled(site))
        queue(site, SOME[1:2])
        settle(site)
        assert 1 == rule.hits
        assert [("accepted", 1)] == [
            (row["outcome"], row["number"])
            for row in site.rows("courier_attempt")
            if row["message_id"] == messages(site)[SOME[1]]["id"]
        ]


# One message, and the others


@pytest.mark.slow
def test_one_rejected_among_a_thousand(sites: MakeSite) -> None:
    """A 550 abandons its message after one attempt, for good; the 999 others are sent."""
    everybody = addresses(1000, domains=40)
    unwanted = everybody[500]
    with FaultServer() as server, at_work(sites, server) as site:
        rule = server.on("RCPT", "550 5.1.1 no such user", to=unwanted)
        queue(site, everybody)
        wait_until(lambda: is_settled(site))
        hurry(site)
        queue(site, ["last@example.com"])
        settle(site)
        assert {"sent": 1000, "abandoned": 1} == counts(site)
        row = messages(site)[unwanted]
        assert ("abandoned", "rejected", 1) == (row["status"], row["reason"], row["attempts"])
        assert 1 == rule.hits
        assert {1} == set(copies(server).values())


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        ("450 4.7.1 greylisted, try again later", 300),
        ("450 4.2.0 try again in 2 minutes", 120),
        ("451 4.7.1 please try again in 00:11:40", 700),
        ("450 4.2.0 try again in 5 hours", None),
    ],
)
def test_greylisting(sites: MakeSite, reply: str, seconds: int | None) -> None:
    """A server that puts mail off is asked again when it said so, within the message's life."""
    with FaultServer() as server, at_work(sites, server) as site:
        server.on("RCPT", reply, times=1)
        queue_recoveries(site, SOME[:1])
        wait_until(lambda: 1 == len(site.rows("courier_attempt")))
        wait_until(lambda: is_idle(site))
        row, attempt = only(site), only(site, "courier_attempt")
        waits = row["next_attempt_at"] - attempt["started_at"]
        assert ("queued", "deferred") == (row["status"], row["reason"])
        assert row["next_attempt_at"] < row["expires_at"]
        if seconds is None:
            assert waits > (row["expires_at"] - attempt["started_at"]) / 2
        else:
            assert seconds <= waits.total_seconds() < seconds + 10
        settle(site)
        assert {SOME[0]: 1} == copies(server)


def test_life_that_ends_in_an_outage(sites: MakeSite) -> None:
    """A message whose life ends while nobody answers ends as expired, then already."""
    with FaultServer() as server, at_work(sites, server) as site:
        server.stop()
        queue_recoveries(site, SOME[:2])
        opened(site)
        update(site, "courier_message", expires_at=LONG_AGO)
        wait_until(lambda: {"expired": 2} == counts(site), timeout=15)


def test_expired_message_is_never_sent(sites: MakeSite) -> None:
    """After an outage only what still lives goes out."""
    with FaultServer() as server, at_work(sites, server) as site:
        server.stop()
        queue_recoveries(site, SOME[:2])
        opened(site)
        update(site, "courier_message", expires_at=LONG_AGO)
        queue(site, SOME[2:])
        server.start()
        settle(site)
        assert {"expired": 2, "sent": len(SOME) - 2} == counts(site)
        assert dict.fromkeys(SOME[2:], 1) == copies(server)


def test_message_of_a_dead_worker_in_an_outage(sites: MakeSite) -> None:
    """What a prober took with it when it died comes back while the breaker is still open."""
    with FaultServer() as server, at_work(sites, server) as site:
        server.stop()
        queue(site, SOME[:1])
        opened(site)
        server.start()
        update(
            site,
            "courier_message",
            status="processing",
            lease_token="0" * 32,
            lease_until=LONG_AGO,
        )
        update(site, "courier_transport", next_probe_at=LONG_AGO)
        wait_until(lambda: {"sent": 1} == counts(site), lambda: probe_now(site), timeout=20)


# Who goes first


def test_account_mail_overtakes(sites: MakeSite) -> None:
    """On a slow server account mail passes a backlog of notices, and one in four is a notice."""
    notices, account = addresses(200), [f"ada{number}@example.com" for number in range(40)]
    with (
        FaultServer(latency=0.01) as server,
        at_work(sites, server, COURIER_SMTP_CONNECTIONS=2) as site,
    ):
        for recipient in account:
            site.add_user(recipient)
        queue(site, notices)
        server.wait_for(20, DEADLINE)
        request_recoveries(site, account)
        settle(site)
        took = [message.recipients[0] in account for message in server.messages]
        assert len(account) == sum(took)
        took = took[took.index(True) :]
        last = len(took) - took[::-1].index(True)
        # What was on the wire already, and some claims of both kinds at the edges.
        assert last - len(account) <= len(account) / 3 + 6
        assert last - len(account) >= len(account) / 3 - 6


# Sessions that were closed meanwhile


@pytest.mark.parametrize("farewell", [b"", b"421 4.4.2 idle for too long\r\n"])
def test_idle_session_that_was_closed(sites: MakeSite, farewell: bytes) -> None:
    """A session that the server closed while it was idle costs nothing, and nobody hears of it."""
    with FaultServer(security="starttls", login=LOGIN) as server, at_work(sites, server) as site:
        # The answer to the dot, then the end, as a server with no patience has it.
        server.on("DOT", Fault(b"250 2.0.0 accepted\r\n" + farewell, drop=True), times=1)
        queue(site, SOME[:1])
        server.wait_until(
            lambda it: len(it.messages) == 1 and not it.connections[0].is_open, DEADLINE
        )
        wait_until(lambda: is_settled(site))
        queue(site, SOME[1:2])
        settle(site)
        assert [1, 2] == [message.connection for message in server.messages]
        assert {"accepted": 2} == column(site, "courier_attempt", "outcome")
        assert {1} == set(column(site, "courier_message", "attempts"))
        assert (0, None) == (transport(site)["faults"], transport(site)["last_error"])


# Encryption that somebody took out


@pytest.mark.parametrize("login", [LOGIN, None])
def test_starttls_stripped(sites: MakeSite, login: tuple[str, str] | None) -> None:
    """Where STARTTLS is not offered, EHLO is all that is said, and somebody has to look at it."""
    with FaultServer(login=login) as server:
        uri = server.uri.removesuffix("?disable_starttls=true")
        with at_work(sites, server, COURIER_SMTP_URI=uri) as site:
            queue(site, SOME)
            opened(site)
            probe_again(site)
            assert {("EHLO",)} == {tuple(connection.verbs) for connection in server.connections}
            assert {"queued": len(SOME)} == counts(site)
            assert {"operator_fault"} == set(column(site, "courier_attempt", "outcome"))
            assert {0} == set(column(site, "courier_message", "attempts"))
            assert "no encryption" in transport(site)["reason"]


# Replies that are none

#: What a server says in place of a reply.
GARBLED: dict[str, Fault] = {
    "garbage": GARBAGE,
    "8-bit": Fault(b"451 4.3.0 \xe9\xff\xfe na\xc3\xafve \xed\xa0\x80\r\n"),
    "NUL": Fault(b"451 4.3.0 no\x00thing \x1b[31m\x07\r\n"),
    "long line": Fault(b"451 " + b"x" * 2**20 + b"\r\n"),
    "no line end": Fault(b"451 4.3.0 " + b"x" * 2**20),
    "endless": Fault(b"451-4.3.0 and so on\r\n", endless=True),
    "endless success": Fault(b"250-and so on\r\n", endless=True),
    "999": Fault("999 no such thing"),
    "100": Fault("100 go on"),
    "-1": Fault("-1 no such thing"),
    "two codes": Fault("451-one thing\n550 and another"),
    "LF only": Fault(b"451 4.3.0 no\n"),
    "bare code": Fault(b"451\r\n"),
    "empty": Fault(b"\r\n"),
    "too much": Fault("451 4.3.0 no\n250 2.0.0 or yes\n354 go on"),
    "out of place": Fault("334 UGFzc3dvcmQ6"),
    "done already": Fault("221 2.0.0 bye"),
    "a letter": Fault(b"4", drop=True),
}
SPEAKING = sorted(STORM | {"RSET"})
HOSTILE = ("garbage", "8-bit", "NUL", "long line")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database_name", "said"),
    [*(("sqlite", said) for said in GARBLED), *(("postgresql", said) for said in HOSTILE)],
    indirect=["database_name"],
)
def test_garbled_reply(sites: MakeSite, caplog: pytest.LogCaptureFixture, said: str) -> None:
    """Whatever a server says, at whatever verb: nothing breaks or hangs, and the next mail goes."""
    with (
        FaultServer(security="starttls", login=LOGIN) as server,
        at_work(sites, server, COURIER_SMTP_CONNECTIONS=1) as site,
    ):
        server.on("RCPT", "550 5.1.1 no such user", to="@nobody.example")
        for verb in SPEAKING:
            pair = [f"{name}@{verb.lower()}.example" for name in ("one", "another")]
            # No session is left from before; a refused message has the next one begin with RSET.
            server.stop()
            server.start()
            rule = server.on(verb, GARBLED[said], times=1)
            queue(site, [f"{verb}@nobody.example"])
            settle(site, timeout=20)
            queue(site, pair)
            settle(site, timeout=20)
            assert 1 == rule.hits
            assert {1} <= {copies(server)[recipient] for recipient in pair} <= {0, 1}
            ends = {messages(site)[recipient]["status"] for recipient in pair}
            assert {"sent"} <= ends <= ({"sent", "held"} if verb == "DOT" else {"sent"})
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
        for row in site.rows("courier_attempt"):
            assert printable(row["reply"]) == row["reply"]
