"""What the script of a ``FaultServer`` can do, each fault seen by a client on its own socket."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator

import pytest

from flask_courier.testing import (
    DROP,
    GARBAGE,
    HOLD,
    RESET,
    VERBS,
    Event,
    Fault,
    FaultServer,
)
from tests.testing.lines import DEADLINE, ENVELOPE, MAIL, RCPT, Client, connected

LINES = {
    "BANNER": b"",
    "EHLO": b"EHLO client.example\r\n",
    "AUTH": b"AUTH PLAIN AHUAcA==\r\n",
    "MAIL": MAIL,
    "RCPT": RCPT,
    "DATA": b"DATA\r\n",
    "BODY": b"hello\r\n",
    "DOT": b".\r\n",
    "RSET": b"RSET\r\n",
    "NOOP": b"NOOP\r\n",
    "QUIT": b"QUIT\r\n",
}
JOURNEY = ("BANNER", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "BODY", "DOT")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A server in the clear, with a login that is ``u`` and ``p``."""
    with FaultServer(login=("u", "p")) as server:
        yield server


@pytest.fixture
def client(server: FaultServer) -> Iterator[Client]:
    """A client of ``server`` that has logged in."""
    with connected(server) as client:
        assert client.ask(LINES["AUTH"]).startswith(b"235 ")
        yield client


def deliver(client: Client, payload: bytes = b"hello\r\n") -> bytes:
    """Send a mail; answer the reply to its end."""
    client.send(ENVELOPE)
    assert [250, 250, 354] == client.codes(3)
    return client.ask(payload + b".\r\n")


def go_to(client: Client, verb: str) -> None:
    """Say everything that comes before ``verb``, and then what ``verb`` is."""
    before = JOURNEY[: JOURNEY.index(verb)] if verb in JOURNEY else JOURNEY[:3]
    for earlier in before:
        client.send(LINES[earlier])
        if earlier != "BODY":
            assert client.read()[:1] in (b"2", b"3")
    client.send(LINES[verb])


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "STARTTLS"])
def test_drop_at_each_verb(server: FaultServer, verb: str) -> None:
    """A connection is dropped without a word exactly where the script says so."""
    server.on(verb, DROP)
    with connected(server, ehlo=False) as client:
        go_to(client, verb)
        assert b"" == client.read()
    assert [] == server.messages


@pytest.mark.parametrize("verb", [verb for verb in LINES if verb not in ("BODY", "QUIT")])
def test_reply_at_each_verb(server: FaultServer, verb: str) -> None:
    """A reply of the script's takes the place of the friendly one."""
    server.on(verb, "499 4.9.9 scripted")
    with connected(server, ehlo=False) as client:
        go_to(client, verb)
        assert b"499 4.9.9 scripted\r\n" == client.read()
    assert [] == server.messages


def test_refused_starttls() -> None:
    """STARTTLS can be refused, stripped, and answered with something that is not TLS."""
    with FaultServer(security="starttls") as server:
        server.on("STARTTLS", ["454 4.7.0 not now", b"220 2.0.0 go\r\nthis is not TLS\r\n"])
        server.on("EHLO", "250 mail.example", nth=2)
        with connected(server) as client:
            assert b"454 4.7.0 not now\r\n" == client.ask(b"STARTTLS\r\n")
            assert b"250 mail.example\r\n" == client.ask(LINES["EHLO"])
            assert b"220 2.0.0 go\r\n" == client.ask(b"STARTTLS\r\n")
            assert b"this is not TLS\r\n" == client.read()


def test_failed_handshake_is_noted() -> None:
    """A client that does not trust the certificate is remembered with what it said."""
    with FaultServer(security="starttls") as server, connected(server) as client:
        assert client.ask(b"STARTTLS\r\n").startswith(b"220 ")
        with pytest.raises(ssl.SSLCertVerificationError):
            ssl.create_default_context().wrap_socket(client.socket, server_hostname="localhost")
        server.wait_until(lambda server: not server.connections[0].is_open)
        [connection] = server.connections

    assert connection.tls_error is not None
    assert connection.tls_version is None


def test_reset(server: FaultServer, client: Client) -> None:
    """A reset ends the connection with RST."""
    server.on("MAIL", RESET)
    with pytest.raises(ConnectionResetError):
        client.ask(MAIL)


def test_delay(server: FaultServer, client: Client) -> None:
    """A delayed reply is the friendly one, and what comes meanwhile waits its turn."""
    server.on("MAIL", Fault(delay=0.2))
    client.send(MAIL + RCPT)
    client.socket.settimeout(0.1)
    with pytest.raises(TimeoutError):
        client.socket.recv(1)
    client.socket.settimeout(DEADLINE)
    server.wait_until(lambda server: server.connections[0].verbs[-1] == "RCPT")

    assert client.socket.recv(4096).startswith(b"250 2.1.0 ")


def test_byte_at_a_time(server: FaultServer, client: Client) -> None:
    """A paced reply comes byte by byte, whole in the end."""
    server.on("MAIL", Fault(pace=0.002))
    client.send(MAIL)
    first = client.socket.recv(4096)
    assert len(first) < len(b"250 2.1.0 OK\r\n")
    assert b"250 2.1.0 OK\r\n" == first + client.read()
    assert client.ask(RCPT).startswith(b"250 ")


def test_garbage(server: FaultServer, client: Client) -> None:
    """Bytes of the script's go out as they are."""
    server.on("MAIL", GARBAGE)
    assert GARBAGE.reply == client.ask(MAIL)


def test_endless_reply(server: FaultServer, client: Client) -> None:
    """An endless reply goes on for as long as the client reads, and ends with the connection."""
    server.on("MAIL", Fault(b"250-more\r\n", endless=True))
    client.send(MAIL)
    received = 0
    while received < 2_000_000:
        chunk = client.socket.recv(65536)
        assert chunk
        received += len(chunk)
    client.close()
    server.wait_until(lambda server: not server.connections[0].is_open)
    assert server.connections[0].closed_at is not None


def test_hold_and_release(server: FaultServer, client: Client) -> None:
    """What is held is answered after ``release``, and the rule is gone then."""
    rule = server.on("DOT", HOLD)
    client.send(ENVELOPE)
    client.codes(3)
    client.send(b".\r\n")
    rule.wait_for()
    assert [] == server.messages

    rule.release()

    assert client.read().startswith(b"250 ")
    assert 1 == len(server.wait_for(1))
    assert deliver(client).startswith(b"250 ")


def test_forgive_releases(server: FaultServer, client: Client) -> None:
    """``forgive`` takes every rule out and lets go what they hold."""
    server.on("RCPT", "550 5.1.1 no")
    server.on("NOOP", HOLD).wait_for(0)
    client.send(b"NOOP\r\n")
    server.wait_until(lambda server: server.connections[0].verbs[-1] == "NOOP")
    server.forgive()
    assert client.read().startswith(b"250 ")
    assert deliver(client).startswith(b"250 ")


def test_rule_as_context(server: FaultServer, client: Client) -> None:
    """A rule lasts until the end of its block."""
    with server.on("NOOP", "450 4.0.0 later") as rule:
        assert client.ask(b"NOOP\r\n").startswith(b"450 ")
    assert client.ask(b"NOOP\r\n").startswith(b"250 ")
    assert 1 == rule.hits


def test_rules_in_their_order(server: FaultServer, client: Client) -> None:
    """The first rule that strikes has its way; ``times`` wears it out."""
    server.on("NOOP", "450 4.0.0 first", times=1)
    server.on("NOOP", "451 4.0.0 second", nth=1)
    server.on(["NOOP", "RSET"], "452 4.0.0 third", every=2)
    codes = [client.ask(line + b"\r\n")[:3] for line in (b"NOOP", b"NOOP", b"RSET", b"NOOP")]

    assert [b"450", b"451", b"250", b"452"] == codes


def test_list_is_one_for_each_time(server: FaultServer, client: Client) -> None:
    """A list is used up in turn, None being the friendly answer, and friendly afterwards."""
    rule = server.on("NOOP", ["450 4.0.0 later", None, Fault("451 4.0.0 later")])
    codes = [client.ask(b"NOOP\r\n")[:3] for _ in range(4)]

    assert [b"450", b"250", b"451", b"250"] == codes
    assert 2 == rule.hits


@pytest.mark.parametrize("to", ["Ada@example.com", "@example.com"])
def test_recipient(server: FaultServer, client: Client, to: str) -> None:
    """A rule for a recipient, or for a domain, leaves the others alone."""
    server.on("RCPT", "550 5.1.1 no such user", to=to)
    client.ask(MAIL)
    assert client.ask(RCPT).startswith(b"550 ")
    assert client.ask(b"RCPT TO:<bob@example.org>\r\n").startswith(b"250 ")
    assert client.ask(b"DATA\r\n").startswith(b"354 ")


def test_recipient_of_a_message(server: FaultServer, client: Client) -> None:
    """At DOT, a rule for a recipient looks at those that were accepted."""
    server.on("DOT", "554 5.6.0 no", to="ada@example.com")
    assert deliver(client).startswith(b"554 ")
    assert [] == server.messages


def test_connection(server: FaultServer) -> None:
    """A rule for a connection leaves the others alone."""
    server.on("BANNER", "554 5.7.1 go away", connection=2)
    greetings = []
    for _ in range(3):
        with connected(server, ehlo=False) as client:
            greetings.append(client.read()[:3])

    assert [b"220", b"554", b"220"] == greetings


def test_callable(server: FaultServer, client: Client) -> None:
    """A callable sees the moment, and may leave it to the next rule."""
    seen: list[Event] = []

    def decide(event: Event) -> str | None:
        seen.append(event)
        return "550 5.1.1 no" if event.line == RCPT.rstrip() else None

    server.on("RCPT", decide)
    server.on("DOT", "452 4.3.1 full", when=lambda event: b"big" in content(event))
    client.ask(MAIL)
    assert client.ask(RCPT).startswith(b"550 ")
    assert client.ask(b"RCPT TO:<bob@example.com>\r\n").startswith(b"250 ")
    assert client.ask(b"DATA\r\n").startswith(b"354 ")
    assert client.ask(b"big\r\n.\r\n").startswith(b"452 ")

    assert [("ada@example.com",), ("bob@example.com",)] == [event.recipients for event in seen]
    assert {"acme@acme.example"} == {event.sender for event in seen}


def content(event: Event) -> bytes:
    """What a mail says."""
    assert event.message is not None
    return event.message.content


def test_error_of_a_callable_is_raised_by_stop() -> None:
    """What a script's own code raises ends the connection, and comes out at the end."""

    def broken(event: Event) -> str:
        raise LookupError(event.verb)

    server = FaultServer()
    server.start()
    server.on("MAIL", broken)
    with connected(server) as client:
        assert b"" == client.ask(MAIL)
    with pytest.raises(LookupError, match="MAIL"):
        server.close()


def test_421_hangs_up_unless_told_not_to(server: FaultServer, client: Client) -> None:
    """A 421 ends the connection as RFC 5321 section 3.8 has it, or not."""
    server.on("NOOP", [Fault("421 4.3.2 not yet", drop=False), "421 4.3.2 bye"])
    assert client.ask(b"NOOP\r\n").startswith(b"421 4.3.2 not yet")
    client.send(b"NOOP\r\n")
    assert b"421 4.3.2 bye\r\n" == client.read_to_end()


def test_taken_and_not_said(server: FaultServer, client: Client) -> None:
    """A mail may be taken although its client never hears so, and refused although it does."""
    server.on("DOT", [Fault("250 2.0.0 lost", keep=False), Fault(drop=True, keep=True)])
    assert deliver(client).startswith(b"250 ")
    assert b"" == deliver(client, b"second\r\n")

    assert [b"second\r\n"] == [message.content for message in server.wait_for(1)]


def test_wrong_login_that_is_let_in(server: FaultServer) -> None:
    """A script decides about a login, too."""
    server.on("AUTH", ["235 2.7.0 as you like", "535 5.7.8 no"])
    for code in (b"235", b"535"):
        with connected(server) as client:
            assert code == client.ask(b"AUTH PLAIN AHUAeA==\r\n")[:3]

    assert [True, False] == [login.accepted for login in server.logins]


@pytest.mark.parametrize(
    "line", [b"AUTH PLAIN !\r\n", b"AUTH PLAIN dQ==\r\n", b"AUTH PLAIN /w==\r\n"]
)
def test_login_that_cannot_be_read(server: FaultServer, line: bytes) -> None:
    """What is no login is 501, and not a verdict on one."""
    with connected(server) as client:
        assert client.ask(line).startswith(b"501 5.5.2 ")
    assert [] == server.logins


def test_login_that_is_given_up(server: FaultServer) -> None:
    """A client may give a login up with a star, and an unknown mechanism is 504."""
    with connected(server) as client:
        assert b"334 \r\n" == client.ask(b"AUTH PLAIN\r\n")
        assert client.ask(b"*\r\n").startswith(b"501 ")
        assert client.ask(b"AUTH CRAM-MD5\r\n").startswith(b"504 5.5.4 ")


def test_late_in_the_body(server: FaultServer, client: Client) -> None:
    """BODY strikes once for a payload, when so many bytes have come."""
    rule = server.on("BODY", "451 4.3.0 wait", body_bytes=1000)
    client.send(ENVELOPE)
    client.codes(3)
    client.send(b"x" * 500 + b"\r\n")
    with pytest.raises(TimeoutError):
        rule.wait_for(timeout=0.1)
    client.send(b"x" * 500 + b"\r\n.\r\n")

    assert [451, 250] == client.codes(2)
    assert 1 == rule.hits


def test_go_ahead_for_a_mail_that_nobody_gets(server: FaultServer, client: Client) -> None:
    """A script may say 354 after every RCPT was refused (RFC 2920 section 3.1); the dot is 554."""
    server.on("RCPT", "550 5.1.1 no")
    server.on("DATA", "354 go")
    client.send(ENVELOPE)
    assert [250, 550, 354] == client.codes(3)
    assert client.ask(b".\r\n").startswith(b"554 5.5.1 ")


def test_reply_of_several_lines(server: FaultServer, client: Client) -> None:
    """Line ends of a text are made CRLF, and one is added."""
    server.on("NOOP", "250-one\n250 two")
    assert b"250-one\r\n250 two\r\n" == client.ask(b"NOOP\r\n")


def test_unknown_verb(server: FaultServer) -> None:
    """A verb that no script knows is an error that lists those it knows."""
    with pytest.raises(ValueError, match="no verb 'SEND'; it has BANNER, EHLO"):
        server.on("SEND", DROP)
    with pytest.raises(ValueError, match="needs a verb"):
        server.on([], DROP)


def test_stop_with_a_held_client(server: FaultServer, client: Client) -> None:
    """A server that holds an answer back can be stopped, and released afterwards."""
    rule = server.on("NOOP", HOLD)
    client.send(b"NOOP\r\n")
    rule.wait_for()
    server.stop()
    rule.release()
    assert b"" == client.read_to_end()


def test_stop_in_mid_handshake() -> None:
    """A client that connects and says nothing holds nobody up."""
    with (
        FaultServer(security="implicit") as server,
        socket.create_connection(("127.0.0.1", server.port)) as silent,
    ):
        server.stop()
        assert silent.recv(1) == b""
    assert not [t for t in threading.enumerate() if t.name == "flask_courier.testing"]
