"""A ``FaultServer`` without a script is an SMTP server like any other, and a strict one."""

from __future__ import annotations

import smtplib
import ssl
import threading
from collections.abc import Iterator
from email.message import EmailMessage

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_courier.testing import FaultServer
from tests.smtp_server import Authority
from tests.testing.lines import DEADLINE, ENVELOPE, MAIL, RCPT, Client, connected

LOGIN = ("mailer@acme.example", "s3cret/+pass word")


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """A server in the clear that wants no login."""
    with FaultServer() as server:
        yield server


def sent_by_smtplib(server: FaultServer, client: smtplib.SMTP) -> None:
    """Send a mail with the standard library's client."""
    mail = EmailMessage()
    mail["Subject"] = "Grüße"
    mail["Message-ID"] = "<1@acme.example>"
    mail.set_content("hello\n.\n..two\n")
    mail.add_alternative("<p>hello</p>", subtype="html")
    client.send_message(mail, "acme@acme.example", ["ada@example.com", "bob@example.com"])
    client.quit()


def test_mail_arrives(server: FaultServer) -> None:
    """A mail is kept with its envelope, its headers and its parts."""
    sent_by_smtplib(server, smtplib.SMTP("127.0.0.1", server.port))

    [message] = server.wait_for(1)

    assert "acme@acme.example" == message.sender
    assert ("ada@example.com", "bob@example.com") == message.recipients
    assert ("Grüße", "<1@acme.example>") == (message.subject, message.message_id)
    assert "hello\n.\n..two\n" == message.text
    assert "<p>hello</p>\n" == message.html
    assert (None, None) == (message.tls_version, message.username)


def test_starttls_with_a_given_context(authority: Authority) -> None:
    """With a context of the test's own, STARTTLS and AUTH are real."""
    context = authority.context("localhost")
    with FaultServer(security="starttls", tls=context, login=LOGIN) as server:
        client = smtplib.SMTP("localhost", server.port)
        client.starttls(context=ssl.create_default_context(cafile=str(authority.path)))
        client.login(*LOGIN)
        sent_by_smtplib(server, client)
        [message] = server.wait_for(1)
        [connection] = server.connections

    assert server.ca_file is None
    assert "TLSv1.3" == message.tls_version
    assert LOGIN[0] == message.username
    assert connection.tls_version == message.tls_version
    assert ["EHLO", "STARTTLS", "EHLO", "AUTH"] == connection.verbs[:4]


def test_implicit_tls_with_a_certificate_made_on_the_fly() -> None:
    """Without a context, the server makes a certificate that its ``ca_file`` vouches for."""
    with FaultServer(security="implicit") as server:
        trust = ssl.create_default_context(cafile=server.ca_file)
        sent_by_smtplib(server, smtplib.SMTP_SSL("localhost", server.port, context=trust))
        [message] = server.wait_for(1)

    assert message.tls_version is not None


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_right_login(mechanism: str) -> None:
    """A login is checked and noted, whichever mechanism carries it."""
    with FaultServer(login=LOGIN, mechanisms=[mechanism]) as server:
        client = smtplib.SMTP("127.0.0.1", server.port)
        client.login(*LOGIN)
        client.quit()
        [login] = server.logins

    assert (*LOGIN, mechanism, True) == (
        login.username,
        login.password,
        login.mechanism,
        login.accepted,
    )


def test_wrong_login() -> None:
    """A wrong password is 535, and mail is refused without a login."""
    with FaultServer(login=LOGIN) as server:
        client = smtplib.SMTP("127.0.0.1", server.port)
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login(LOGIN[0], "wrong")
        assert (530, b"5.7.0 authentication required") == client.mail("acme@acme.example")
        client.quit()

    # smtplib tries the other mechanism after the first was refused.
    assert {("wrong", False)} == {(one.password, one.accepted) for one in server.logins}


def test_no_record_shows_a_password() -> None:
    """Neither a transcript nor a repr has what a client said within AUTH."""
    with FaultServer(login=LOGIN) as server:
        client = smtplib.SMTP("127.0.0.1", server.port)
        client.login(*LOGIN)
        client.quit()
    [connection] = server.connections
    shown = f"{connection!r} {server.logins!r} {connection.dialogue}"

    assert "C: AUTH ****" in shown
    assert LOGIN[1] not in shown
    assert LOGIN[0] not in shown


def test_starttls_is_required() -> None:
    """Before STARTTLS nothing else is taken, and AUTH is not offered."""
    with FaultServer(security="starttls", login=LOGIN) as server, connected(server) as client:
        greeting = client.ask(b"EHLO client.example\r\n")
        assert b"STARTTLS" in greeting
        assert b"AUTH" not in greeting
        assert client.ask(MAIL).startswith(b"530 5.7.0 ")


def test_words_in_the_clear_before_starttls_answers() -> None:
    """A command smuggled in behind STARTTLS is refused and hung up on (CVE-2011-0411)."""
    with FaultServer(security="starttls") as server, connected(server) as client:
        client.send(b"STARTTLS\r\nRSET\r\n")
        assert client.read_to_end().startswith(b"503 5.5.0 ")


def test_group_is_answered_in_its_order(server: FaultServer) -> None:
    """Commands that came in one segment are answered one by one (RFC 2920)."""
    with connected(server) as client:
        client.send(b"RSET\r\n" + MAIL + b"RCPT TO:<>\r\n" + RCPT + b"DATA\r\n")
        assert [250, 250, 501, 250, 354] == client.codes(5)
        client.send(b"hello\r\n.\r\n" + ENVELOPE)
        assert [250, 250, 250, 354] == client.codes(4)


def test_group_where_none_is_offered() -> None:
    """Without PIPELINING a second command in a segment is a client's mistake."""
    with FaultServer(without=["PIPELINING"]) as server, connected(server) as client:
        assert b"PIPELINING" not in client.ask(b"EHLO client.example\r\n")
        client.send(MAIL + RCPT)
        assert client.read_to_end().startswith(b"503 5.5.0 ")


def test_payload_before_it_was_asked_for(server: FaultServer) -> None:
    """DATA ends a group: a payload that follows at once is a client's mistake."""
    with connected(server) as client:
        client.send(ENVELOPE + b"hello\r\n.\r\n")
        assert [250, 250] == client.codes(2)
        assert client.read_to_end().startswith(b"503 5.5.0 ")
    assert [] == server.messages


PAYLOADS = [
    pytest.param(b"", b"", id="empty"),
    pytest.param(b"..\r\n", b".\r\n", id="dot at the start"),
    pytest.param(b"a\r\n..b\r\n...\r\n", b"a\r\n.b\r\n..\r\n", id="dots"),
    pytest.param(b"a\n.\nb\r\n", b"a\n.\nb\r\n", id="bare LF"),
    pytest.param(b"a\r.\rb\r\n", b"a\r.\rb\r\n", id="bare CR"),
    pytest.param(b"a\n.\r\nb\r\n", b"a\n.\r\nb\r\n", id="LF before the dot"),
    pytest.param(b"a\r\n\0\xff\r\n", b"a\r\n\0\xff\r\n", id="NUL and 8 bits"),
]


@pytest.mark.parametrize(("wire", "content"), PAYLOADS)
def test_payload_is_byte_equal(server: FaultServer, wire: bytes, content: bytes) -> None:
    """Only CRLF, dot, CRLF ends a payload; dots are unstuffed, and nothing else changes."""
    with connected(server) as client:
        client.send(ENVELOPE)
        assert [250, 250, 354] == client.codes(3)
        assert client.ask(wire + b".\r\n").startswith(b"250 2.0.0 ")
    [message] = server.messages

    assert (wire, content) == (message.wire, message.content)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.lists(st.sampled_from([b".", b"..", b"a", b"\r", b"\n", b"\r\n"]), max_size=30),
    cut=st.integers(0, 60),
)
def test_payload_survives_any_cut(server: FaultServer, content: list[bytes], cut: int) -> None:
    """However segments cut a payload, what was stuffed comes out again."""
    sent = b"".join(content) + b"\r\n"
    stuffed = (b"\r\n" + sent).replace(b"\r\n.", b"\r\n..")[2:]
    wire = stuffed + b".\r\n"
    server.forget()
    with connected(server) as client:
        client.send(ENVELOPE)
        assert [250, 250, 354] == client.codes(3)
        client.send(wire[:cut])
        assert client.ask(wire[cut:] or b"NOOP\r\n").startswith(b"250 ")
        assert client.ask(b"NOOP\r\n").startswith(b"250 ")
    assert [sent] == [message.content for message in server.messages]


REFUSED = [
    pytest.param([RCPT], 503, id="RCPT before MAIL"),
    pytest.param([MAIL, MAIL], 503, id="MAIL twice"),
    pytest.param([MAIL, b"DATA\r\n"], 554, id="DATA before RCPT"),
    pytest.param([b"MAIL FROM:acme@acme.example\r\n"], 501, id="no brackets"),
    pytest.param([b"MAIL FROM:<\xff@acme.example>\r\n"], 501, id="no UTF-8"),
    pytest.param(["MAIL FROM:<é@acme.example>\r\n".encode()], 553, id="no SMTPUTF8"),
    pytest.param([b"MAIL FROM:<a@acme.example> FUN=1\r\n"], 555, id="unknown parameter"),
    pytest.param([b"MAIL FROM:<a@acme.example> SIZE=33554433\r\n"], 552, id="too large"),
    pytest.param([b"FROB\r\n"], 500, id="no command"),
    pytest.param([b"NOOP\n"], 500, id="LF alone"),
    pytest.param([b"STARTTLS\r\n"], 503, id="STARTTLS not offered"),
    pytest.param([b"AUTH PLAIN\r\n"], 503, id="AUTH not offered"),
    pytest.param([b"EHLO\r\n"], 501, id="EHLO without a name"),
]


@pytest.mark.parametrize(("commands", "code"), REFUSED)
def test_what_is_refused(server: FaultServer, commands: list[bytes], code: int) -> None:
    """What RFC 5321 and its extensions do not allow has its code."""
    with connected(server) as client:
        replies = [client.ask(command) for command in commands]
    assert str(code).encode() == replies[-1][:3]


def test_mail_before_ehlo(server: FaultServer) -> None:
    """MAIL before EHLO is out of place, and HELO offers no parameters."""
    with connected(server, ehlo=False) as client:
        client.read()
        assert client.ask(MAIL).startswith(b"503 5.5.1 ")
        assert client.ask(b"HELO client.example\r\n").startswith(b"250 mail")
        assert client.ask(b"MAIL FROM:<a@b.example> SIZE=9\r\n").startswith(b"555 ")


def test_international_address(server: FaultServer) -> None:
    """With SMTPUTF8 an address of any script is taken, and kept as it is."""
    with connected(server) as client:
        assert client.ask(MAIL[:-2] + b" SMTPUTF8 BODY=8BITMIME\r\n").startswith(b"250 ")
        assert client.ask("RCPT TO:<пётр@почта.example>\r\n".encode()).startswith(b"250 ")
        assert client.ask(b"DATA\r\n").startswith(b"354 ")
        client.ask(b".\r\n")
    [message] = server.messages

    assert ("пётр@почта.example",) == message.recipients
    assert ("SMTPUTF8", "BODY=8BITMIME") == message.options


@pytest.mark.parametrize("name", ["SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES"])
def test_extension_that_is_left_out(name: str) -> None:
    """What is not offered is neither announced nor taken."""
    with FaultServer(without=[name]) as server, connected(server) as client:
        assert name.encode() not in client.ask(b"EHLO client.example\r\n")
        option = {"SIZE": b"SIZE=9", "8BITMIME": b"BODY=8BITMIME", "SMTPUTF8": b"SMTPUTF8"}
        asked = MAIL[:-2] + b" " + option[name] + b"\r\n" if name in option else MAIL
        wanted = b"555 5.5.4 " if name in option else b"250 OK"
        assert client.ask(asked).startswith(wanted)


def test_too_large_a_message() -> None:
    """A payload over ``max_size`` is refused at its end, and the connection goes on."""
    with FaultServer(max_size=100) as server, connected(server) as client:
        client.send(ENVELOPE)
        assert [250, 250, 354] == client.codes(3)
        assert client.ask(b"x" * 101 + b"\r\n.\r\n").startswith(b"552 5.3.4 ")
        assert client.ask(MAIL).startswith(b"250 ")


def test_line_without_an_end(server: FaultServer) -> None:
    """A line that never ends is refused and hung up on."""
    with connected(server) as client:
        client.send(b"x" * 70_000)
        assert client.read_to_end().startswith(b"500 5.5.2 ")


def test_too_many_connections() -> None:
    """Above ``max_connections`` the greeting is 421, until one of the others has gone."""
    with FaultServer(max_connections=1) as server:
        with connected(server), connected(server, ehlo=False) as second:
            assert second.read_to_end().startswith(b"421 4.7.0 ")
        server.wait_until(lambda server: not any(one.is_open for one in server.connections))
        with connected(server):
            assert 3 == len(server.connections)


def test_rate_limit() -> None:
    """Above ``rate_limit`` the answer to the final dot is a provider's 454, and no mail is kept."""
    with FaultServer(rate_limit=2) as server, connected(server) as client:
        replies = []
        for _ in range(4):
            client.send(ENVELOPE)
            assert [250, 250, 354] == client.codes(3)
            replies.append(client.ask(b"hello\r\n.\r\n"))
        kept = len(server.messages)
        server.rate_limit = None
        client.send(ENVELOPE)
        client.codes(3)
        assert client.ask(b".\r\n").startswith(b"250 ")

    throttled = b"454 4.7.0 Throttling failure: Maximum sending rate exceeded.\r\n"
    assert throttled == replies[-1]
    assert kept == sum(reply.startswith(b"250") for reply in replies) < 4


def test_latency_is_one_for_a_group() -> None:
    """A group of commands waits once, as it would for one round trip."""
    with FaultServer() as server, connected(server) as client:
        server.latency = 0.2
        client.socket.settimeout(0.1)
        client.send(MAIL + RCPT + b"DATA\r\n")
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        client.socket.settimeout(10)
        received = client.socket.recv(4096)
    assert [b"250", b"250", b"354"] == [line[:3] for line in received.splitlines()]


def test_brief_record() -> None:
    """A brief record has the headers of each mail, and no transcript."""
    with FaultServer(brief=True) as server, connected(server) as client:
        client.send(ENVELOPE)
        client.codes(3)
        client.ask(b"Message-ID: <7@acme.example>\r\n\r\nhello\r\n.\r\n")
    [message], [connection] = server.messages, server.connections

    assert b"Message-ID: <7@acme.example>\r\n\r\n" == message.wire
    assert "<7@acme.example>" == message.message_id
    assert ([], []) == (connection.transcript, connection.verbs)


def test_outage_and_return() -> None:
    """Stopped, it refuses connections and hangs up; started again, it is where it was."""
    with FaultServer() as server:
        with connected(server) as client:
            server.stop()
            assert b"" == client.read_to_end()
        with pytest.raises(ConnectionRefusedError):
            Client(server)
        port = server.port
        server.start()
        with connected(server):
            assert port == server.port
        assert 2 == len(server.connections)


def test_transcript(server: FaultServer) -> None:
    """A connection remembers who said what, how it ended, and whether politely."""
    with connected(server) as client:
        client.ask(b"QUIT\r\n")
    server.wait_until(lambda server: server.connections[0].closed_at is not None)
    [connection] = server.connections

    assert connection.said_quit
    assert "client.example" == connection.client_name
    assert "S: 220 mail.fault-server.example ESMTP" == connection.dialogue.splitlines()[0]
    assert ["C: QUIT", "S: 221 2.0.0 bye"] == connection.dialogue.splitlines()[-2:]


def test_waiting_for_a_reply(server: FaultServer) -> None:
    """``wait_until`` looks again when a reply goes out, too."""
    came, noticed = threading.Event(), []

    def ask() -> None:
        with connected(server) as client:
            client.ask(b"NOOP\r\n")
            # The connection stays, so that its end is not what is noticed.
            noticed.append(came.wait(DEADLINE))

    thread = threading.Thread(target=ask)
    thread.start()
    server.wait_until(lambda it: it.replies[250] > 0, timeout=2 * DEADLINE)
    came.set()
    thread.join()
    assert [True] == noticed


def test_waiting_in_vain(server: FaultServer) -> None:
    """What does not come in time is an error that says what came instead, and no address."""
    server.on("RCPT", "550 5.1.1 no such user")
    with connected(server) as client:
        client.ask(MAIL)
        client.ask(RCPT)
    with pytest.raises(TimeoutError) as caught:
        server.wait_for(1, timeout=0.05)
    with pytest.raises(TimeoutError):
        server.wait_until(lambda server: len(server.connections) == 2, timeout=0.05)

    assert (
        "0 of 1 mails were accepted within 0.05 seconds; 1 connections, "
        "replies: 220 x1, 250 x2, 550 x1" == str(caught.value)
    )


def test_forget(server: FaultServer) -> None:
    """What is forgotten is gone; connections that are open stay, and keep their number."""
    with connected(server) as client:
        client.send(ENVELOPE + b"")
        client.codes(3)
        client.ask(b".\r\n")
        server.forget()
        assert [] == server.messages
        assert [1] == [connection.number for connection in server.connections]


@pytest.mark.parametrize(
    "choice", [{"security": "tls"}, {"without": ["STARTTLS"]}], ids=["security", "without"]
)
def test_wrong_arguments(choice: dict[str, object]) -> None:
    """An argument that means nothing is an error that lists what does."""
    with pytest.raises(ValueError, match=r"starttls|PIPELINING"):
        FaultServer(**choice)  # type: ignore[arg-type]  # which is the point


def test_taken_port(server: FaultServer) -> None:
    """A port that somebody has is an error of ``start``."""
    with pytest.raises(OSError, match="in use"):
        FaultServer(port=server.port).start()


@pytest.mark.slow
def test_keeps_up_with_a_storm() -> None:
    """Eight clients at once bring 4,000 mails; every one is kept once."""
    with FaultServer(brief=True) as server:

        def bring(number: int) -> None:
            with connected(server) as client:
                for count in range(500):
                    client.send(ENVELOPE)
                    assert [250, 250, 354] == client.codes(3)
                    name = f"Message-ID: <{number}.{count}@acme.example>\r\n\r\n"
                    assert client.ask(name.encode() + b".\r\n").startswith(b"250 ")

        clients = [threading.Thread(target=bring, args=(number,)) for number in range(8)]
        for client in clients:
            client.start()
        messages = server.wait_for(4_000, timeout=60)
        for client in clients:
            client.join(20)

    assert 4_000 == len({message.message_id for message in messages})
