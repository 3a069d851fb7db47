"""One SMTP connection: opening it in each mode of the URI, and one mail after another over it."""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

import pytest

from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Outcome, Phase
from flask_courier.core.smtp_uri import parse_smtp_uri
from flask_courier.delivery.envelope import Envelope, SmtpSettings, Timeouts
from flask_courier.delivery.smtp import SmtpSession
from flask_courier.delivery.tls import make_context
from tests.scripted_smtp import DROP, EHLO, PIPELINING, Saying, scripted_smtp
from tests.smtp_server import (
    PASSWORD,
    USERNAME,
    Authority,
    MailServer,
    closed_port,
    smtp_server,
)

T = TypeVar("T")

LOGIN = f"{quote(USERNAME, safe='')}:{quote(PASSWORD, safe='')}@"
PAYLOAD = b"Subject: hello\r\n\r\nhello\r\n"

Told = tuple[Outcome, Phase, "int | None"]


def make_settings(uri: str, ca: Authority | None = None, **timeouts: float) -> SmtpSettings:
    """What a connection to ``uri`` needs."""
    parsed = parse_smtp_uri(uri)
    context = make_context(parsed, ca_file=str(ca.path) if ca else None)
    patience = replace(Timeouts(), **timeouts)
    return SmtpSettings(parsed, context, "client.acme.example", timeouts=patience)


def mail(
    payload: bytes = PAYLOAD,
    *,
    recipient: str = "ada@example.com",
    secrets: tuple[str, ...] = (),
) -> Envelope:
    """A mail to somebody."""
    return Envelope("no-reply@acme.example", recipient, payload, secrets)


def yes() -> bool:
    """The lease lasts."""
    return True


def in_session(
    settings: SmtpSettings, work: Callable[[SmtpSession], Coroutine[Any, Any, T]]
) -> T | SendResult:
    """Open a session, do ``work`` with it, close it; or what kept it from opening."""

    async def run() -> T | SendResult:
        session = SmtpSession(settings)
        refused = await session.open()
        if refused is not None:
            return refused
        try:
            return await work(session)
        finally:
            await session.close()

    return asyncio.run(run())


def send(settings: SmtpSettings, envelope: Envelope | None = None) -> SendResult:
    """One mail over a session of its own."""
    return in_session(settings, lambda session: session.send(envelope or mail(), is_held=yes))


def send_each(settings: SmtpSettings, *envelopes: Envelope) -> list[SendResult]:
    """One mail after another over one session."""

    async def work(session: SmtpSession) -> list[SendResult]:
        return [await session.send(envelope, is_held=yes) for envelope in envelopes]

    results = in_session(settings, work)
    assert isinstance(results, list)
    return results


def told(result: SendResult) -> Told:
    """What came of it, where, and with which code."""
    return result.outcome, result.phase, result.code


def send_by_script(envelope: Envelope | None = None, **script: Saying | list[Saying]) -> SendResult:
    """One mail to a server that follows ``script``."""
    with scripted_smtp(**script) as server:
        return send(make_settings(server.uri), envelope)


# Scheme and tail of the URI, how the server protects, the name on its certificate, whether its
# authority is trusted.
MODES = [
    ("smtp", "", "starttls", "localhost", True),
    ("smtp", "?skip_ssl_verify=true", "starttls", "other.example", False),
    ("smtp", "?disable_starttls=true", "none", "localhost", False),
    ("smtps", "", "implicit", "localhost", True),
    ("smtps", "?skip_ssl_verify=true", "implicit", "other.example", False),
    ("smtp", "?server_name=mail.acme.example", "starttls", "mail.acme.example", True),
    ("smtps", "?server_name=mail.acme.example", "implicit", "mail.acme.example", True),
]


@pytest.mark.parametrize(("scheme", "tail", "security", "name", "trusted"), MODES)
def test_uri_mode(
    authority: Authority, *, scheme: str, tail: str, security: str, name: str, trusted: bool
) -> None:
    """Each form of the URI logs in and delivers, encrypted or not as it says."""
    with smtp_server(tls=authority.context(name), security=security) as server:
        uri = f"{scheme}://{LOGIN}localhost:{server.port}/{tail}"
        result = send(make_settings(uri, authority if trusted else None))
    encrypted = result.tls_version is not None and result.tls_cipher is not None
    assert (Outcome.ACCEPTED, Phase.DOT, 250) == told(result)
    assert (security != "none", [(USERNAME, PASSWORD)]) == (encrypted, server.logins)
    assert ("127.0.0.1", "2.0.0") == (result.address, result.enhanced_code)


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_server_name_is_asked_for(authority: Authority, scheme: str) -> None:
    """The name in ``server_name`` is what the TLS handshake asks the server for (SNI)."""
    asked: list[str | None] = []
    context = authority.context("mail.acme.example")
    context.sni_callback = lambda _sock, name, _context: asked.append(name)
    security = "starttls" if scheme == "smtp" else "implicit"
    with smtp_server(tls=context, security=security, login=False) as server:
        uri = f"{scheme}://localhost:{server.port}/?server_name=mail.acme.example"
        send(make_settings(uri, authority))
    assert ["mail.acme.example"] == asked


@pytest.mark.parametrize(("scheme", "security"), [("smtp", "starttls"), ("smtps", "implicit")])
@pytest.mark.parametrize(
    ("name", "trusted", "words"),
    [
        ("other.example", True, "Hostname mismatch, certificate is not valid for 'localhost'."),
        ("localhost", False, "unable to get local issuer certificate"),
    ],
)
def test_certificate_refused(
    authority: Authority, *, scheme: str, security: str, name: str, trusted: bool, words: str
) -> None:
    """A certificate for another name, or of an unknown authority, ends it before any login."""
    with smtp_server(tls=authority.context(name), security=security) as server:
        uri = f"{scheme}://{LOGIN}localhost:{server.port}/"
        result = send(make_settings(uri, authority if trusted else None))
    assert (Outcome.OPERATOR_FAULT, Phase.TLS, None) == told(result)
    assert f"the server's certificate was refused: {words}" == result.text
    assert [] == server.logins


def test_starttls_not_offered() -> None:
    """A server without STARTTLS gets neither login nor mail: there is no fall-back."""
    with scripted_smtp() as server:
        result = send(make_settings(f"smtp://{LOGIN}localhost:{server.port}/"))
    assert (Outcome.OPERATOR_FAULT, Phase.TLS, None) == told(result)
    assert (
        "the server does not offer STARTTLS, which the URI requires; nothing was sent"
        == result.text
    )
    assert ["EHLO"] == server.dialogues[0].verbs


def test_starttls_refused() -> None:
    """A server that offers STARTTLS and then refuses it gets neither login nor mail."""
    with scripted_smtp(EHLO=EHLO + "\r\n250 STARTTLS", STARTTLS="454 4.7.0 not now") as server:
        server.script["EHLO"] = "250-mail.acme.example\r\n250 STARTTLS"
        result = send(make_settings(f"smtp://{LOGIN}localhost:{server.port}/"))
    assert (Outcome.TRANSPORT_FAULT, Phase.TLS, 454) == told(result)
    assert ["EHLO", "STARTTLS"] == server.dialogues[0].verbs


def test_cleartext_means_no_starttls() -> None:
    """``disable_starttls`` stays in the clear even where the server offers STARTTLS."""
    with scripted_smtp(EHLO="250-mail.acme.example\r\n250 STARTTLS") as server:
        result = send(make_settings(server.uri))
    assert (Outcome.ACCEPTED, Phase.DOT, 250) == told(result)
    assert ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"] == server.dialogues[0].verbs


def test_unencrypted_server_under_smtps() -> None:
    """An ``smtps`` URI to a server that speaks cleartext is a fault of TLS."""
    with scripted_smtp() as server:
        result = send(make_settings(f"smtps://localhost:{server.port}/"))
    assert (Outcome.OPERATOR_FAULT, Phase.TLS, None) == told(result)


def test_auth_refused() -> None:
    """A refused login is a fault of the transport, tried once on its connection."""
    with scripted_smtp(AUTH="535 5.7.8 wrong password") as server:
        result = send(make_settings(server.uri.replace("://", f"://{LOGIN}")))
    assert (Outcome.OPERATOR_FAULT, Phase.AUTH, 535) == told(result)
    assert ("5.7.8", "5.7.8 wrong password") == (result.enhanced_code, result.text)
    assert ["EHLO", "AUTH"] == server.dialogues[0].verbs


def test_auth_not_offered() -> None:
    """A server that offers no AUTH is not given the password."""
    with scripted_smtp(EHLO="250 mail.acme.example") as server:
        result = send(make_settings(server.uri.replace("://", f"://{LOGIN}")))
    assert (Outcome.OPERATOR_FAULT, Phase.AUTH, None) == told(result)
    assert (
        "the server offers neither AUTH PLAIN nor LOGIN nor CRAM-MD5 on this connection"
        == result.text
    )
    assert ["EHLO"] == server.dialogues[0].verbs


def test_auth_login(authority: Authority) -> None:
    """Where AUTH PLAIN is not offered, AUTH LOGIN carries the same user and password."""
    with smtp_server(tls=authority.context("localhost"), without_auth=("PLAIN",)) as server:
        result = send(make_settings(server.uri, authority))
    assert (Outcome.ACCEPTED, Phase.DOT, 250) == told(result)
    assert [(USERNAME, PASSWORD)] == server.logins


def test_auth_success_that_is_none() -> None:
    """A reply that does not fit AUTH is a fault of the transport, whatever its code."""
    with scripted_smtp(AUTH="250 OK") as server:
        result = send(make_settings(server.uri.replace("://", f"://{LOGIN}")))
    assert (Outcome.TRANSPORT_FAULT, Phase.AUTH, 250) == told(result)
    assert ["EHLO", "AUTH"] == server.dialogues[0].verbs


REPLIES: list[tuple[str, str, Told]] = [
    ("BANNER", "421 4.3.2 busy" + DROP, (Outcome.TRANSPORT_FAULT, Phase.BANNER, 421)),
    ("BANNER", "554 5.7.1 no", (Outcome.OPERATOR_FAULT, Phase.BANNER, 554)),
    ("BANNER", DROP, (Outcome.TRANSPORT_FAULT, Phase.BANNER, None)),
    ("BANNER", "not smtp", (Outcome.TRANSPORT_FAULT, Phase.BANNER, None)),
    ("EHLO", "550 5.7.1 no", (Outcome.OPERATOR_FAULT, Phase.EHLO, 550)),
    ("MAIL", "451 4.3.0 later", (Outcome.TRANSPORT_FAULT, Phase.MAIL, 451)),
    ("MAIL", "550 5.7.1 not from you", (Outcome.OPERATOR_FAULT, Phase.MAIL, 550)),
    ("MAIL", DROP, (Outcome.TRANSPORT_FAULT, Phase.MAIL, None)),
    ("RCPT", "450 4.2.0 greylisted", (Outcome.DEFERRED, Phase.RCPT, 450)),
    ("RCPT", "550 5.1.1 no such user", (Outcome.REJECTED, Phase.RCPT, 550)),
    ("RCPT", "251 will forward", (Outcome.ACCEPTED, Phase.DOT, 250)),
    ("RCPT", "252 cannot verify", (Outcome.ACCEPTED, Phase.DOT, 250)),
    ("RCPT", "354 go on", (Outcome.DEFERRED, Phase.RCPT, 354)),
    ("RCPT", "421 4.3.2 closing" + DROP, (Outcome.DEFERRED, Phase.RCPT, 421)),
    ("RCPT", DROP, (Outcome.DEFERRED, Phase.RCPT, None)),
    ("DATA", "451 4.3.0 later", (Outcome.DEFERRED, Phase.DATA, 451)),
    ("DATA", "554 5.5.1 no", (Outcome.REJECTED, Phase.DATA, 554)),
    ("DATA", "250 OK", (Outcome.DEFERRED, Phase.DATA, 250)),
    ("DATA", DROP, (Outcome.DEFERRED, Phase.DATA, None)),
    ("DOT", "452 4.2.2 mailbox full", (Outcome.DEFERRED, Phase.DOT, 452)),
    ("DOT", "552 5.3.4 too big", (Outcome.REJECTED, Phase.DOT, 552)),
    ("DOT", "252 accepted, more or less", (Outcome.ACCEPTED, Phase.DOT, 252)),
    ("DOT", "354 go on", (Outcome.UNKNOWN, Phase.DOT, 354)),
    ("DOT", "421 4.3.2 closing" + DROP, (Outcome.DEFERRED, Phase.DOT, 421)),
    ("DOT", "what?", (Outcome.UNKNOWN, Phase.DOT, None)),
    ("DOT", DROP, (Outcome.UNKNOWN, Phase.DOT, None)),
]


@pytest.mark.parametrize(("verb", "reply", "expected"), REPLIES)
def test_reply(verb: str, reply: str, expected: Told) -> None:
    """What the server says, or that it hangs up, decides by how far the mail had come."""
    assert expected == told(send_by_script(None, **{verb: reply}))


@pytest.mark.parametrize(
    ("verb", "reply"),
    [
        ("MAIL", "421 4.3.2 closing"),
        ("RCPT", "354 go on"),
        ("DATA", "250 OK"),
        ("DOT", "421 4.3.2 closing"),
        ("DOT", "354 go on"),
    ],
)
def test_connection_out_of_step_is_closed(verb: str, reply: str) -> None:
    """After 421, or a reply that does not fit its place, the connection is not used again."""

    async def is_open_afterwards(session: SmtpSession) -> bool:
        await session.send(mail(), is_held=yes)
        return session.is_open

    with scripted_smtp(**{verb: reply}) as server:
        assert in_session(make_settings(server.uri), is_open_afterwards) is False


@pytest.mark.parametrize("extensions", [EHLO, PIPELINING])
@pytest.mark.parametrize("verb", ["MAIL", "RCPT"])
def test_two_replies_to_one_command(verb: str, extensions: str) -> None:
    """A second reply to one command never makes the server seem to have accepted a mail."""
    with scripted_smtp(EHLO=extensions, **{verb: "250 OK\r\n250 OK"}) as server:
        result = send(make_settings(server.uri))
    assert Outcome.DEFERRED is result.outcome
    assert "out_of_step" == result.cause
    assert [] == server.dialogues[0].payloads


@pytest.mark.parametrize("extensions", [EHLO, PIPELINING])
def test_two_replies_to_the_dot(extensions: str) -> None:
    """A line that nobody asked for ends the connection; what was accepted before stays accepted."""
    with scripted_smtp(EHLO=extensions, DOT="250 OK\r\n250 OK") as server:
        results = send_each(make_settings(server.uri), mail(), mail())
    assert [
        (Outcome.ACCEPTED, Phase.DOT, 250),
        (Outcome.TRANSPORT_FAULT, Phase.MAIL, None),
    ] == [told(result) for result in results]
    assert "the server spoke without being asked: OK" == results[1].text
    assert 1 == len(server.dialogues[0].payloads)


def test_nobody_listens() -> None:
    """Where no server listens, the fault says so."""
    with closed_port() as port:
        result = send(make_settings(f"smtp://127.0.0.1:{port}/?disable_starttls=true"))
    assert (Outcome.TRANSPORT_FAULT, Phase.DIAL, None) == told(result)
    assert "no connection: Connection refused" == result.text


def test_host_without_address() -> None:
    """A host name that resolves to nothing is a fault in the dialling."""
    result = send(make_settings("smtp://mail.acme.invalid/?disable_starttls=true"))
    assert (Outcome.OPERATOR_FAULT, Phase.DIAL, None) == told(result)
    assert result.text.startswith("no connection: ")


def test_host_that_never_answers() -> None:
    """A host that answers nothing is given up after a while."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        # A full backlog drops what comes next, as an absent host does.
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)  # noqa: FBT003 - the standard library's own signature
            second.connect_ex(address)
            uri = f"smtp://127.0.0.1:{address[1]}/?disable_starttls=true"
            result = send(make_settings(uri, address=0.2))
    assert (Outcome.TRANSPORT_FAULT, Phase.DIAL, None) == told(result)
    assert "no connection: Connection timed out" == result.text


def test_dialling_takes_no_longer_than_opening() -> None:
    """What opening a connection may take in all bounds the dialling too."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)  # noqa: FBT003 - the standard library's own signature
            second.connect_ex(address)
            uri = f"smtp://127.0.0.1:{address[1]}/?disable_starttls=true"
            result = send(make_settings(uri, dial=0.2))
    assert "no connection within 0.2 seconds" == result.text
    assert (Outcome.TRANSPORT_FAULT, Phase.DIAL, None) == told(result)


def test_dialling_at_the_end_of_the_process() -> None:
    """Where no thread resolves names any more, the fault says so, and nothing is raised."""

    async def run() -> SendResult | None:
        await asyncio.get_running_loop().shutdown_default_executor()
        return await SmtpSession(make_settings("smtp://localhost/")).open()

    result = asyncio.run(run())
    assert result is not None
    assert (Outcome.TRANSPORT_FAULT, Phase.DIAL, None) == told(result)
    assert "no connection: this process is about to end" == result.text


def test_server_that_says_nothing() -> None:
    """A server that takes the connection and never speaks is given up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        uri = f"smtp://127.0.0.1:{listener.getsockname()[1]}/?disable_starttls=true"
        result = send(make_settings(uri, handshake=0.2))
    assert (Outcome.TRANSPORT_FAULT, Phase.BANNER, None) == told(result)
    assert "no answer within 0.2 seconds" == result.text


def test_server_that_stops_speaking() -> None:
    """A server that falls silent after the final dot leaves the outcome unknown."""
    with scripted_smtp(DOT="") as server:
        result = send(make_settings(server.uri, dot=0.2))
    assert (Outcome.UNKNOWN, Phase.DOT, None) == told(result)
    assert "no answer within 0.2 seconds" == result.text


def test_ehlo_name() -> None:
    """EHLO gives the name that the settings name."""
    with scripted_smtp() as server:
        send(make_settings(server.uri))
    assert b"EHLO client.acme.example" == server.dialogues[0].commands[0]


def test_one_login_for_several_mails(mail_server: MailServer, authority: Authority) -> None:
    """Several mails go over one connection with one login."""
    results = send_each(make_settings(mail_server.uri, authority), mail(), mail(), mail())
    assert [Outcome.ACCEPTED] * 3 == [result.outcome for result in results]
    assert (1, 1) == (mail_server.connections, len(mail_server.logins))


@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
def test_reset_after_refusal(verb: str) -> None:
    """After a mail that was refused before its dot, RSET comes first and the next goes through."""
    friendly = "354 go ahead" if verb == "DATA" else "250 OK"
    sayings: list[Saying] = ["550 5.1.1 no", friendly]
    with scripted_smtp(**{verb: sayings}) as server:
        results = send_each(make_settings(server.uri), mail(), mail())
    assert Outcome.ACCEPTED is results[1].outcome
    verbs = server.dialogues[0].verbs
    assert ["RSET", "MAIL", "RCPT", "DATA", "QUIT"] == verbs[verbs.index("RSET") :]


def test_no_reset_after_acceptance() -> None:
    """Between two accepted mails nothing is said."""
    with scripted_smtp() as server:
        send_each(make_settings(server.uri), mail(), mail())
    once = ["MAIL", "RCPT", "DATA"]
    assert ["EHLO", *once, *once, "QUIT"] == server.dialogues[0].verbs


def test_real_server_after_refusal(mail_server: MailServer, authority: Authority) -> None:
    """A real server that refused one recipient takes the next mail on the same connection."""

    async def work(session: SmtpSession) -> list[Outcome]:
        mail_server.answers["RCPT"] = "550 5.1.1 no such user"
        refused = await session.send(mail(), is_held=yes)
        del mail_server.answers["RCPT"]
        taken = await session.send(mail(), is_held=yes)
        return [refused.outcome, taken.outcome]

    outcomes = in_session(make_settings(mail_server.uri, authority), work)
    assert [Outcome.REJECTED, Outcome.ACCEPTED] == outcomes
    assert (1, 1) == (mail_server.connections, len(mail_server.logins))


LINE_END = re.compile(rb"\r\n|\r|\n")
BODIES = [
    b".\r\n",
    b"..\r\n...\r\n",
    b"a\r\n.\r\nb\r\n",
    b"a\n.\nb\n",
    b".hidden\r\n..twice\r\n",
    b"bare\rreturn\r.dot\r\n",
    b"8 bit \xc3\xa9\r\n",
    b"no line end",
]


@pytest.mark.parametrize("body", BODIES)
def test_body_arrives_byte_equal(body: bytes) -> None:
    """What arrives, its dots taken off again, is what was sent, in lines that end with CRLF."""
    with scripted_smtp() as server:
        result = send(make_settings(server.uri), mail(b"Subject: dots\r\n\r\n" + body))
    assert Outcome.ACCEPTED is result.outcome
    [payload] = server.dialogues[0].payloads
    lines = payload.removesuffix(b".\r\n").split(b"\n")
    arrived = b"\n".join(line[1:] if line.startswith(b".") else line for line in lines)
    sent = LINE_END.sub(b"\r\n", b"Subject: dots\r\n\r\n" + body)
    assert (sent if sent.endswith(b"\r\n") else sent + b"\r\n") == arrived


def test_large_body_arrives(mail_server: MailServer, authority: Authority) -> None:
    """Four megabytes arrive whole."""
    body = b"Subject: large\r\n\r\n" + b".0123456789\r\n" * 350_000
    result = send(make_settings(mail_server.uri, authority), mail(body))
    assert Outcome.ACCEPTED is result.outcome
    assert [body] == [envelope.original_content for envelope in mail_server.envelopes]


def test_smtputf8_used_where_offered() -> None:
    """An address beyond ASCII asks for SMTPUTF8."""
    with scripted_smtp(EHLO="250-mail.acme.example\r\n250 SMTPUTF8") as server:
        result = send(make_settings(server.uri), mail(recipient="ådä@example.com"))
    assert Outcome.ACCEPTED is result.outcome
    commands = server.dialogues[0].commands
    assert b"MAIL FROM:<no-reply@acme.example> SMTPUTF8" == commands[1]
    assert "RCPT TO:<ådä@example.com>".encode() == commands[2]


def test_smtputf8_not_offered() -> None:
    """Without SMTPUTF8 such a mail is rejected here, and the next one goes through."""
    with scripted_smtp() as server:
        settings = make_settings(server.uri)
        results = send_each(settings, mail(recipient="ådä@example.com"), mail())
    assert (Outcome.REJECTED, Phase.RCPT, None) == told(results[0])
    assert "the server does not support SMTPUTF8, which this address needs" == results[0].text
    assert Outcome.ACCEPTED is results[1].outcome


TOKEN = "bm9ib2R5LWtub3dzLXRoaXM.c2lnbmF0dXJl"
SECRET_BODY = f"Subject: s\r\n\r\nhttps://acme.example/account/recovery/{TOKEN}\r\n48151623\r\n"


@pytest.mark.parametrize("verb", ["RCPT", "DATA", "DOT"])
def test_echo_of_the_mail_is_masked(verb: str) -> None:
    """A server that quotes the mail back puts no token, code or link into the result."""
    quoted = SECRET_BODY.replace("\r\n", " ")
    envelope = mail(SECRET_BODY.encode(), secrets=(TOKEN, "48151623"))
    result = send_by_script(envelope, **{verb: f"554 5.7.1 spam: {quoted}"})
    assert "5.7.1 spam: ••••  •••• ••••" == result.text


def test_echo_of_an_encoded_mail_is_masked() -> None:
    """A server that quotes a base64 body gives no line away that the token could be read from."""
    encoded = base64.encodebytes(SECRET_BODY.encode()).replace(b"\n", b"\r\n")
    quoted = encoded.decode().split()
    envelope = mail(b"Subject: s\r\n\r\n" + encoded, secrets=(TOKEN, "48151623"))
    result = send_by_script(envelope, DOT=f"554 5.7.1 spam: {' '.join(quoted)}")
    assert f"5.7.1 spam: {' '.join('••••' for _ in quoted)}" == result.text


def test_echo_of_the_login_is_masked() -> None:
    """A server that quotes the AUTH line, or says it in words, gives no password away."""

    def echo(line: bytes) -> str:
        return f"535 5.7.8 bad: {line.decode().strip()} {PASSWORD} {USERNAME}"

    with scripted_smtp(AUTH=echo) as server:
        result = send(make_settings(server.uri.replace("://", f"://{LOGIN}")))
    assert "5.7.8 bad: AUTH PLAIN •••• •••• ••••" == result.text


def test_result_names_the_server_and_no_login() -> None:
    """The result's transport is the URI without user and password."""
    with scripted_smtp() as server:
        result = send(make_settings(server.uri.replace("://", f"://{LOGIN}")))
    assert f"localhost:{server.port}" == result.transport
    assert PASSWORD not in repr(result)


def test_reply_is_made_printable() -> None:
    """NUL, controls and broken UTF-8 of a reply become U+FFFD; its lines stay."""
    result = send_by_script(RCPT="550-5.1.1 a\0b\x1b\r\n550 caf\udce9")
    assert "5.1.1 a\ufffdb\ufffd\ncaf\ufffd" == result.text


def test_endless_reply() -> None:
    """A reply without end ends the connection, and two kilobytes at most are kept."""
    result = send_by_script(RCPT="550-" + "x" * 100 + "\r\n550-" * 100_000)
    assert (Outcome.DEFERRED, Phase.RCPT) == (result.outcome, result.phase)
    assert len(result.text.encode()) <= 2048


def test_long_reply_is_cut() -> None:
    """A long reply is cut to two kilobytes, at a character."""
    reply = "\r\n".join(["550-" + "é" * 200] * 10 + ["550 end"])
    result = send_by_script(RCPT=reply)
    assert Outcome.REJECTED is result.outcome
    assert 2048 - 1 <= len(result.text.encode()) <= 2048


def test_control_character_in_a_recipient() -> None:
    """A recipient with a line break never reaches the wire."""
    with scripted_smtp() as server:
        result = send(make_settings(server.uri), mail(recipient="ada@example.com>\r\nRSET"))
    assert Phase.RCPT is result.phase
    assert "RSET" not in server.dialogues[0].verbs


def test_closed_session_sends_nothing() -> None:
    """A session that was closed answers with a fault."""

    async def work(session: SmtpSession) -> Told:
        await session.close()
        return told(await session.send(mail(), is_held=yes))

    with scripted_smtp() as server:
        result = in_session(make_settings(server.uri), work)
    assert (Outcome.TRANSPORT_FAULT, Phase.MAIL, None) == result


def test_quit_that_is_not_answered() -> None:
    """Closing does not wait for a server that ignores QUIT."""
    with scripted_smtp(QUIT="") as server:
        result = send(make_settings(server.uri, quit=0.2))
        assert server.dialogues[0].ended.wait(20)
    assert Outcome.ACCEPTED is result.outcome


def test_every_socket_is_closed(authority: Authority) -> None:
    """A loop that ends with ``close`` leaves no socket of the session behind, TLS or not."""

    async def work(server: MailServer) -> Any:
        session = SmtpSession(make_settings(server.uri, authority))
        assert await session.open() is None
        assert session._transport is not None
        sock = session._transport.get_extra_info("socket")
        await session.close()
        return sock

    for security in ("starttls", "implicit", "none"):
        with smtp_server(tls=authority.context("localhost"), security=security) as server:
            loop = asyncio.new_event_loop()
            sock = loop.run_until_complete(work(server))
            loop.close()
            assert (security, -1) == (security, sock.fileno())


def test_client_certificate(authority: Authority, tmp_path: Any) -> None:
    """A server that asks for a client's certificate is shown the one that was configured."""
    own = authority.ca.issue_cert("client.acme.example")
    own.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client.pem"))
    context = authority.context("localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(context)
    with smtp_server(tls=context, security="implicit", login=False) as server:
        uri = parse_smtp_uri(f"smtps://localhost:{server.port}/")
        tls = make_context(
            uri, ca_file=str(authority.path), client_cert=str(tmp_path / "client.pem")
        )
        result = send(SmtpSettings(uri, tls, "client.acme.example"))
    assert Outcome.ACCEPTED is result.outcome
