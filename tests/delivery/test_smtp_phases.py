"""Messages over a connection: what goes out at once, what comes after a refusal, and the dot."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Outcome, Phase
from flask_courier.core.smtp_uri import parse_smtp_uri
from flask_courier.delivery.envelope import Envelope, SmtpSettings, stuffed
from flask_courier.delivery.exchange import CHUNK
from flask_courier.delivery.smtp import SmtpSession
from tests.scripted_smtp import DROP, EHLO, PIPELINING, Saying, ScriptedServer, scripted_smtp
from tests.smtp_server import served

PAYLOAD = b"Subject: hello\r\n\r\nhello\r\n"
#: More than what the sockets of a connection hold between them, which on loopback is some MB.
LARGE = b"Subject: large\r\n\r\n" + b"0123456789012345678901234567890123456789\r\n" * 800_000

EACH = pytest.mark.parametrize("ehlo", [EHLO, PIPELINING], ids=["lockstep", "pipelined"])


def mail(payload: bytes = PAYLOAD, recipient: str = "ada@example.com") -> Envelope:
    """A mail to somebody."""
    return Envelope("no-reply@acme.example", recipient, payload, ())


def yes() -> bool:
    """The lease lasts."""
    return True


def no() -> bool:
    """The lease is over."""
    return False


def send(
    server: ScriptedServer,
    *envelopes: Envelope,
    is_held: Callable[[], bool] = yes,
    pipelining: bool = True,
) -> list[SendResult]:
    """Mails one after another over one connection; alone, what kept it from opening."""

    async def run() -> list[SendResult]:
        uri = parse_smtp_uri(server.uri)
        session = SmtpSession(SmtpSettings(uri, None, "client.example", pipelining=pipelining))
        refused = await session.open()
        if refused is not None:
            return [refused]
        results = [await session.send(envelope, is_held=is_held) for envelope in envelopes]
        await session.close()
        return results

    return asyncio.run(run())


class Chunks(asyncio.Protocol):
    """A server that notes what came together, and answers each line of it."""

    def __init__(self, seen: list[bytes], ehlo: str) -> None:
        self._seen = seen
        self._ehlo = ehlo
        self._in_payload = False

    def connection_made(self, transport: Any) -> None:
        """Greet."""
        self._transport = transport
        transport.write(b"220 hello\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer every command in ``data``, or the end of a payload."""
        self._seen.append(data)
        if self._in_payload:
            self._in_payload = not data.endswith(b"\r\n.\r\n")
            self._transport.write(b"" if self._in_payload else b"250 OK\r\n")
            return
        for line in data.splitlines():
            self._in_payload = line == b"DATA"
            answer = {b"EHLO": self._ehlo, b"DATA": "354 go", b"QUIT": "221 bye"}.get(line[:4])
            self._transport.write(f"{answer or '250 OK'}\r\n".encode())


@pytest.mark.parametrize(("wanted", "trips"), [(True, 2), (False, 4)])
def test_round_trips(*, wanted: bool, trips: int) -> None:
    """A message costs two round trips pipelined, four where pipelining is switched off."""
    seen: list[bytes] = []
    with served(lambda: Chunks(seen, PIPELINING)) as port:
        server = ScriptedServer({}, port)
        results = send(server, mail(), pipelining=wanted)
    assert [Outcome.ACCEPTED] == [result.outcome for result in results]
    assert ["EHLO client.example", "QUIT"] == [seen[0].decode().strip(), seen[-1].decode().strip()]
    assert trips == len(seen) - 2


def test_no_pipelining_where_it_is_not_offered() -> None:
    """A server that does not offer PIPELINING gets one command at a time (RFC 2920 section 3)."""
    seen: list[bytes] = []
    with served(lambda: Chunks(seen, EHLO)) as port:
        send(ScriptedServer({}, port), mail())
    assert [1] * len(seen) == [
        data.count(b"\r\n") for data in seen if not data.startswith(b"Subject")
    ] + [1]


# Script, the reply that counts, and the commands that go out for the mail after it.
REFUSALS: list[tuple[dict[str, Saying | list[Saying]], tuple[Phase, int], bool]] = [
    ({"MAIL": ["550 5.7.1 a", "250 OK"]}, (Phase.MAIL, 550), True),
    (
        {
            "MAIL": ["452 4.3.1 a", "250 OK"],
            "RCPT": ["503 5.5.1 b", "250 OK"],
            "DATA": ["503 5.5.1 c", "354 go"],
        },
        (Phase.MAIL, 452),
        True,
    ),
    (
        {"RCPT": ["550 5.1.1 a", "250 OK"], "DATA": ["554 5.5.1 b", "354 go"]},
        (Phase.RCPT, 550),
        True,
    ),
    ({"DATA": ["451 4.3.0 a", "354 go"]}, (Phase.DATA, 451), True),
    ({"DOT": ["552 5.3.4 a", "250 OK"]}, (Phase.DOT, 552), False),
]


@EACH
@pytest.mark.parametrize(("script", "expected", "reset"), REFUSALS)
def test_refusal(
    ehlo: str,
    script: dict[str, Saying | list[Saying]],
    expected: tuple[Phase, int],
    *,
    reset: bool,
) -> None:
    """The first refusal counts, not what follows from it; the next mail goes through."""
    if ehlo == PIPELINING and list(script) == ["MAIL"]:
        script = {**script, "RCPT": ["503 5.5.1 b", "250 OK"], "DATA": ["503 5.5.1 c", "354 go"]}
    if ehlo == EHLO:
        # In lockstep nothing is said after a refusal, so nothing follows from it.
        script = {expected[0].name: script[expected[0].name]}
    with scripted_smtp(EHLO=ehlo, **script) as server:
        results = send(server, mail(), mail())
    assert expected == (results[0].phase, results[0].code)
    assert Outcome.ACCEPTED is results[1].outcome
    after = ["RSET"] * reset + ["MAIL", "RCPT", "DATA", "QUIT"]
    assert after == server.dialogues[0].verbs[-len(after) :]
    assert reset == ("RSET" in server.dialogues[0].verbs)


def test_lone_dot() -> None:
    """Where 354 comes after the only recipient was refused, a lone dot ends it (RFC 2920, 3.1)."""
    sayings: list[Saying] = ["550 5.1.1 no such user", "250 OK"]
    dots: list[Saying] = ["554 5.5.1 no valid recipients", "250 OK"]
    with scripted_smtp(EHLO=PIPELINING, RCPT=sayings, DOT=dots) as server:
        results = send(server, mail(), mail())
    assert (Phase.RCPT, 550, "5.1.1 no such user") == (
        results[0].phase,
        results[0].code,
        results[0].text,
    )
    assert Outcome.ACCEPTED is results[1].outcome
    assert [b".\r\n", PAYLOAD + b".\r\n"] == server.dialogues[0].payloads
    assert "RSET" not in server.dialogues[0].verbs


def test_recipient_without_a_sender() -> None:
    """A server that refuses MAIL and takes the rest is left, lest a dot deliver an empty mail."""
    with scripted_smtp(EHLO=PIPELINING, MAIL="550 5.7.1 no") as server:
        [result] = send(server, mail())
        assert server.dialogues[0].ended.wait(20)
    assert (Phase.MAIL, 550) == (result.phase, result.code)
    assert [] == server.dialogues[0].payloads


@EACH
def test_refused_reset(ehlo: str) -> None:
    """A server that cannot reset is left, and nothing is held against the message."""
    with scripted_smtp(EHLO=ehlo, DATA="451 4.3.0 later", RSET="502 5.5.1 what?") as server:
        _, second = send(server, mail(), mail())
    assert (Phase.MAIL, None, "out_of_step") == (second.phase, second.code, second.cause)


@pytest.mark.parametrize("code", [501, 504, 555])
@EACH
def test_refused_parameter(ehlo: str, code: int) -> None:
    """MAIL is said again without SIZE where the server refuses its parameter, and stays without."""
    sayings: list[Saying] = [f"{code} 5.5.4 no parameters", "250 OK"]
    ehlo = ehlo.replace("250-AUTH", "250-SIZE 1000000\r\n250-AUTH")
    with scripted_smtp(EHLO=ehlo, MAIL=sayings) as server:
        if "PIPELINING" in ehlo:
            server.script["RCPT"] = ["503 no", "250 OK"]
            server.script["DATA"] = ["503 no", "354 go"]
        results = send(server, mail(), mail())
    assert [Outcome.ACCEPTED] * 2 == [result.outcome for result in results]
    sender = b"MAIL FROM:<no-reply@acme.example>"
    said = [line for line in server.dialogues[0].commands if line.startswith(b"MAIL")]
    assert [sender + b" SIZE=%d" % len(PAYLOAD), sender, sender] == said


def test_parameter_that_is_needed() -> None:
    """SMTPUTF8 is never dropped: a server that refuses it has refused the message."""
    ehlo = "250-mail.acme.example\r\n250 SMTPUTF8"
    with scripted_smtp(EHLO=ehlo, MAIL="555 5.5.4 no parameters") as server:
        [result] = send(server, mail(recipient="ådä@example.com"))
    assert (Phase.MAIL, 555) == (result.phase, result.code)
    assert 1 == server.dialogues[0].verbs.count("MAIL")


DROPS = [
    ("BANNER", Phase.BANNER),
    ("EHLO", Phase.EHLO),
    ("AUTH", Phase.AUTH),
    ("MAIL", Phase.MAIL),
    ("RCPT", Phase.RCPT),
    ("DATA", Phase.DATA),
    ("BODY", Phase.DATA),
    ("BEFORE_DOT", Phase.DATA),
    ("DOT", Phase.DOT),
]


@EACH
@pytest.mark.parametrize(("verb", "phase"), DROPS)
def test_drop(ehlo: str, verb: str, phase: Phase) -> None:
    """Only a connection that is lost after the dot leaves open whether the mail arrived.

    The payload is larger than all buffers between the two ends: a small one is on its way with its
    dot before the loss of the connection can be seen, which then is rightly unknown.
    """
    with scripted_smtp(**{"EHLO": ehlo, verb: DROP}) as server:
        server.login = "user:password@"
        [result] = send(server, mail(LARGE))
    assert (phase, None) == (result.phase, result.code)
    assert (phase is Phase.DOT) == (result.outcome is Outcome.UNKNOWN)


@pytest.mark.parametrize("payload", [PAYLOAD, b"x: y\r\n\r\n" + b"z" * 70 * 1000 + b"\r\n" * CHUNK])
@EACH
def test_lease_that_ends(ehlo: str, payload: bytes) -> None:
    """A worker that holds the message no longer hangs up before the dot."""
    with scripted_smtp(EHLO=ehlo) as server:
        [result] = send(server, mail(payload), is_held=no)
        assert server.dialogues[0].ended.wait(20)
    assert (Outcome.TRANSPORT_FAULT, Phase.DATA, "lease_lost") == (
        result.outcome,
        result.phase,
        result.cause,
    )
    assert [] == server.dialogues[0].payloads


@EACH
def test_lease_is_asked_for_after_the_payload(ehlo: str) -> None:
    """Of a large payload all but what the sockets hold is on the server when the lease is asked."""
    asked: list[int] = []

    def ask() -> bool:
        asked.append(server.dialogues[0].received)
        return True

    with scripted_smtp(EHLO=ehlo) as server:
        [result] = send(server, mail(LARGE), is_held=ask)
    assert Outcome.ACCEPTED is result.outcome
    [received] = asked
    assert received > len(LARGE) // 2
    assert [LARGE + b".\r\n"] == server.dialogues[0].payloads


@EACH
def test_lease_is_asked_once_and_only_before_a_dot(ehlo: str) -> None:
    """A message that was refused before its payload needs no lease; one that goes out asks once."""
    asked: list[None] = []

    def ask() -> bool:
        asked.append(None)
        return True

    script: dict[str, Saying | list[Saying]] = {"RCPT": ["550 5.1.1 no", "250 OK"]}
    with scripted_smtp(EHLO=ehlo, **script) as server:
        results = send(server, mail(), is_held=ask) + send(server, mail(), is_held=ask)
    assert [Phase.RCPT, Phase.DOT] == [result.phase for result in results]
    assert [None] == asked


SMUGGLED = [
    b"a\n.\r\nMAIL FROM:<x@y>\r\n",
    b"a\r.\rMAIL FROM:<x@y>\r\n",
    b"a\r\n.\nMAIL FROM:<x@y>\r\n",
    b"a\n.\nMAIL FROM:<x@y>\r\n",
    b"a\r.\r\nMAIL FROM:<x@y>\r\n",
    b"a\r\n.\rMAIL FROM:<x@y>\r\n",
    b"a\r\n\x00.\r\nMAIL FROM:<x@y>\r\n",
    b".\r\n",
    b"..\r\n.\r\n",
    b"a\r\n.\r\n.\r\n.\r\n",
    b"a\r\r\n.\r\r\n",
    b"a\r\n.",
    b".",
    b"\r",
    b"\n",
]


def normalised(payload: bytes) -> bytes:
    """Lines that end with CRLF and with nothing else."""
    lines = payload.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n")
    return lines.replace(b"\n", b"\r\n") + b"\r\n"


def unstuffed(payload: bytes) -> bytes:
    """What a server keeps of what came (RFC 5321 section 4.5.2)."""
    lines = payload.removesuffix(b".\r\n").split(b"\r\n")
    return b"\r\n".join(line.removeprefix(b".") for line in lines)


@EACH
@pytest.mark.parametrize("body", SMUGGLED)
def test_nothing_is_smuggled(ehlo: str, body: bytes) -> None:
    """Whatever a body holds, one message arrives, byte-equal but for its line ends."""
    sent = b"Subject: s\r\n\r\n" + body
    with scripted_smtp(EHLO=ehlo) as server:
        [result] = send(server, mail(sent))
    assert Outcome.ACCEPTED is result.outcome
    [payload] = server.dialogues[0].payloads
    assert normalised(sent) == unstuffed(payload)
    # No server, however lenient with line ends, sees an end of the message before the end.
    for end in (b"\n.\n", b"\r.\r", b"\n.\r", b"\r.\n"):
        assert end not in payload.removesuffix(b".\r\n")
    assert ["EHLO", "MAIL", "RCPT", "DATA", "QUIT"] == server.dialogues[0].verbs


@given(body=st.lists(st.sampled_from([b"\r", b"\n", b".", b"a", b"\r\n"])).map(b"".join))
def test_lines_and_dots(body: bytes) -> None:
    """Stuffing is undone by taking one dot off each line that begins with one, for any payload."""
    envelope = mail(body)
    lines = envelope.lines()
    assert normalised(body) == lines
    assert lines == unstuffed(stuffed(lines) + b".\r\n")
