"""What every transport promises, the double and the real one alike."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest

from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Outcome
from flask_courier.core.smtp_uri import parse_smtp_uri
from flask_courier.delivery import tls
from flask_courier.delivery.envelope import SmtpSettings
from flask_courier.delivery.pool import SmtpTransport
from flask_courier.delivery.transport import LogTransport, Transport
from flask_courier.testing import DROP, GARBAGE, HOLD, RESET, Event, Fault, FaultServer
from tests.delivery.parcels import CODE, CODE_MARK, SENDER, TOKEN, TOKEN_MARK, make_parcel

T = TypeVar("T")

LOGIN = ("mailer@acme.example", "s3cret/+pass word")
#: Seconds; what takes longer has slept, retried or hung.
DEADLINE = 30.0


@dataclass(frozen=True)
class Mode:
    """One way to reach a server."""

    server: dict[str, Any] = field(default_factory=dict[str, Any])
    pipelining: bool = True


MODES = {
    "plain": Mode(),
    "starttls": Mode({"security": "starttls", "login": LOGIN}),
    "implicit": Mode({"security": "implicit", "login": LOGIN, "mechanisms": ["LOGIN"]}),
    "one-by-one": Mode(pipelining=False),
    "not-offered": Mode({"without": ["PIPELINING"]}),
    "bare": Mode({"without": ["PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES"]}),
    "far": Mode({"latency": 0.005}),
}


@dataclass(frozen=True)
class Carrier:
    """A transport to try, and the server behind it, if there is one."""

    make: Callable[[], Transport]
    mail_server: FaultServer | None

    @property
    def server(self) -> FaultServer:
        """The server of a transport that has one."""
        assert self.mail_server is not None
        return self.mail_server

    def use(self, work: Callable[[Transport], Awaitable[T]]) -> T:
        """Do ``work`` with a fresh transport, then close it."""

        async def run() -> T:
            transport = self.make()
            try:
                return await asyncio.wait_for(work(transport), DEADLINE)
            finally:
                await transport.close()

        return asyncio.run(run())

    def send(self, **parcel: Any) -> SendResult:
        """Send one mail."""
        return self.use(lambda transport: transport.send(make_parcel(**parcel), is_held=held))


def held() -> bool:
    """The lease lasts."""
    return True


def lost() -> bool:
    """The lease is over."""
    return False


def smtp_transport(server: FaultServer, mode: Mode) -> Transport:
    """The real transport to ``server``."""
    uri = parse_smtp_uri(server.uri)
    settings = SmtpSettings(
        uri,
        tls.make_context(uri, ca_file=server.ca_file),
        "client.acme.example",
        name="smtp-localhost#1",
        pipelining=mode.pipelining,
    )
    return SmtpTransport(settings, sender=SENDER, headers={})


@pytest.fixture
def carrier(request: pytest.FixtureRequest) -> Iterator[Carrier]:
    """A transport: the double, or the real one in one of its modes."""
    name: str = getattr(request, "param", "plain")
    if name == "log":
        yield Carrier(LogTransport, None)
        return
    mode = MODES[name]
    with ExitStack() as stack:
        server = stack.enter_context(FaultServer(**mode.server))
        yield Carrier(lambda: smtp_transport(server, mode), server)


every_transport = pytest.mark.parametrize("carrier", ["log", *MODES], indirect=True)
every_mode = pytest.mark.parametrize("carrier", list(MODES), indirect=True)
both_ways = pytest.mark.parametrize("carrier", ["plain", "one-by-one"], indirect=True)


@every_transport
def test_mail_is_accepted(carrier: Carrier) -> None:
    """An accepted mail is reported as that, by name, with its time and without a fault."""
    result = carrier.send()

    assert Outcome.ACCEPTED is result.outcome
    assert "accepted" == result.cause
    assert carrier.make().name == result.transport
    assert result.started_at.tzinfo is not None
    assert 0 <= result.duration.total_seconds() < DEADLINE


@every_transport
def test_keeps_mail_tells_the_truth(carrier: Carrier) -> None:
    """A transport that keeps mail gives it to nobody; any other one does."""
    keeps_mail = carrier.make().keeps_mail
    carrier.send(text="hello\n")
    taken = carrier.mail_server.wait_for(1) if carrier.mail_server else []

    assert keeps_mail is not bool(taken)
    assert all("hello\n" == message.text for message in taken)
    assert all(("ada@example.com",) == message.recipients for message in taken)


@every_transport
def test_name_lasts(carrier: Carrier) -> None:
    """A transport is called the same before, during and after its work, and shows no login."""

    async def work(transport: Transport) -> list[str]:
        before = transport.name
        result = await transport.send(make_parcel(), is_held=held)
        await transport.close()
        return [before, result.transport, transport.name, carrier.make().name]

    names = carrier.use(work)

    assert 1 == len(set(names))
    assert not any(word in names[0] for word in LOGIN)


@every_transport
def test_closing_twice(carrier: Carrier) -> None:
    """Closing again does nothing, used or not, and leaves no connection behind."""

    async def work(transport: Transport) -> None:
        await transport.close()
        await transport.close()
        await transport.send(make_parcel(), is_held=held)
        await transport.close()
        await transport.close()

    carrier.use(work)

    if carrier.mail_server is not None:
        carrier.server.wait_until(lambda server: not any(c.is_open for c in server.connections))
        assert all(connection.said_quit for connection in carrier.server.connections)


@every_transport
def test_mails_at_once(carrier: Carrier) -> None:
    """Mails may go out at the same time; each is answered, and arrives once."""
    ids = [f"<{number}@acme.example>" for number in range(10)]

    async def work(transport: Transport) -> list[SendResult]:
        parcels = [make_parcel(f"mail {mail}\n") for mail in ids]
        return await asyncio.gather(*(transport.send(one, is_held=held) for one in parcels))

    results = carrier.use(work)

    assert [Outcome.ACCEPTED] * 10 == [result.outcome for result in results]
    if carrier.mail_server is not None:
        texts = [message.text for message in carrier.server.messages]
        assert sorted(f"mail {mail}\n" for mail in ids) == sorted(texts)


@every_transport
def test_mails_one_after_another(carrier: Carrier) -> None:
    """Mails sent in turn share a connection and its login, where there is one."""

    async def work(transport: Transport) -> list[Outcome]:
        return [(await transport.send(make_parcel(), is_held=held)).outcome for _ in range(5)]

    assert [Outcome.ACCEPTED] * 5 == carrier.use(work)
    if carrier.mail_server is not None:
        assert 1 == len(carrier.server.connections)
        assert 1 >= len(carrier.server.logins)


@every_mode
def test_lease_is_asked_for_before_the_dot(carrier: Carrier) -> None:
    """Whether the lease lasts is asked while nothing has been accepted yet."""
    kept: list[int] = []

    def is_held() -> bool:
        kept.append(len(carrier.server.messages))
        return True

    carrier.use(lambda transport: transport.send(make_parcel(), is_held=is_held))

    assert {0} == set(kept)


@every_mode
def test_lost_lease(carrier: Carrier) -> None:
    """Without the lease nothing is accepted, and no attempt of the message is used."""
    result = carrier.use(lambda transport: transport.send(make_parcel(), is_held=lost))

    assert Outcome.TRANSPORT_FAULT is result.outcome
    assert "lease_lost" == result.cause
    carrier.server.wait_until(lambda server: not any(c.is_open for c in server.connections))
    assert [] == carrier.server.messages


@both_ways
@pytest.mark.parametrize(
    "verb", ["BANNER", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "before the dot", "DOT"]
)
def test_only_after_the_dot_is_it_unknown(carrier: Carrier, verb: str) -> None:
    """A dropped connection leaves a doubt only after the final dot."""
    if verb == "before the dot":
        carrier.server.on("BODY", DROP, body_bytes=300_000)
    else:
        carrier.server.on(verb, DROP)
    # More than the system keeps in its buffers: so the dot cannot be under way when it drops.
    result = carrier.send(text="a line of text that is none too short\n" * 400_000)

    assert (verb == "DOT") == (result.outcome is Outcome.UNKNOWN)
    assert Outcome.ACCEPTED is not result.outcome


FAULTS = {
    "drop": DROP,
    "reset": RESET,
    "garbage": GARBAGE,
    "421": Fault("421 4.3.2 bye"),
    "421, and it stays": Fault("421 4.3.2 bye", drop=False),
    "451": Fault("451 4.3.0 try again in 60 seconds"),
    "550": Fault("550 5.0.0 no"),
    "a 2yz that does not fit": Fault("252 2.0.0 hm"),
    "999": Fault("999 9.9.9 what"),
    "empty line": Fault(b"\r\n"),
    "LF alone": Fault(b"550 5.0.0 no\n"),
    "a long line": Fault(b"550 " + b"x" * 1_000_000 + b"\r\n"),
    "half a reply": Fault(b"250-one\r\n250", drop=True),
    "no end of lines": Fault(b"250-more\r\n", endless=True),
    "codes that differ": Fault(b"250-one\r\n550 two\r\n"),
    "8 bits and NUL": Fault(b"550 5.0.0 \xff\x00\xfe no\r\n"),
    "byte by byte": Fault(pace=0.0005),
    "late": Fault(delay=0.02),
}
VERBS = ("BANNER", "EHLO", "MAIL", "RCPT", "DATA", "BODY", "DOT", "QUIT")
# Said before the dot, a 2yz cannot be told from one that is said after it: such a server lies.
CASES = [
    (verb, fault)
    for verb in VERBS
    for fault in FAULTS
    if (verb, fault) != ("BODY", "a 2yz that does not fit")
]


@both_ways
@pytest.mark.parametrize(("verb", "fault"), CASES)
def test_a_fault_is_answered(carrier: Carrier, verb: str, fault: str) -> None:
    """Whatever a server does, it is answered and not raised, with text that can be stored.

    What is called accepted was, and what was is called accepted or unknown. The message goes out
    at most once, and the transport is none the worse for the next one.
    """

    async def work(transport: Transport) -> tuple[SendResult, int, SendResult]:
        first = await transport.send(make_parcel("first\n"), is_held=held)
        asked = sum(connection.verbs.count("DATA") for connection in carrier.server.connections)
        carrier.server.forgive()
        second = await transport.send(make_parcel("second\n"), is_held=held)
        return first, asked, second

    scripted = FAULTS[fault]
    if verb == "BODY" and scripted.reply is not None:
        # What is said before the dot arrived and what is said after look alike to a client that
        # has sent both: a server that speaks there has to hang up.
        scripted = replace(scripted, drop=True)
    carrier.server.on(verb, scripted)
    first, asked, second = carrier.use(work)
    texts = [message.text for message in carrier.server.messages]

    assert asked <= 1
    assert "first\n" in texts or first.outcome is not Outcome.ACCEPTED
    assert "first\n" not in texts or first.outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN)
    assert len(first.text.encode()) <= 2048
    assert first.text.replace("\n", "").isprintable()
    assert Outcome.ACCEPTED is second.outcome
    assert 1 == texts.count("second\n")


@pytest.mark.parametrize("carrier", ["starttls", "implicit"], indirect=True)
def test_one_login_for_a_connection(carrier: Carrier) -> None:
    """A refused login is reported, and not tried again with another mechanism."""
    carrier.server.on("AUTH", "535 5.7.8 no")
    result = carrier.send()

    assert Outcome.OPERATOR_FAULT is result.outcome
    assert 1 == len(carrier.server.logins)


@pytest.mark.parametrize("carrier", ["starttls"], indirect=True)
@pytest.mark.parametrize(
    "fault", [DROP, GARBAGE, "454 4.7.0 not now", Fault("220 2.0.0 go", keep=False, drop=True)]
)
def test_nothing_is_said_in_the_clear(carrier: Carrier, fault: Fault | str) -> None:
    """Where STARTTLS fails, neither a login nor a mail follows."""
    carrier.server.on("STARTTLS", fault)
    result = carrier.send()

    assert result.outcome in (Outcome.TRANSPORT_FAULT, Outcome.OPERATOR_FAULT)
    [connection] = carrier.server.connections
    assert {"EHLO", "STARTTLS"} >= set(connection.verbs) - {"QUIT"}


@both_ways
@pytest.mark.parametrize("verb", ["MAIL", "DATA", "DOT"])
def test_cancelled_in_mid_message(carrier: Carrier, verb: str) -> None:
    """A cancelled send stops at once, and the next mail goes out."""
    rule = carrier.server.on(verb, HOLD, times=1)

    async def work(transport: Transport) -> Outcome:
        task = asyncio.ensure_future(transport.send(make_parcel("first\n"), is_held=held))
        await asyncio.get_running_loop().run_in_executor(None, rule.wait_for)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return (await transport.send(make_parcel("second\n"), is_held=held)).outcome

    assert Outcome.ACCEPTED is carrier.use(work)
    assert ["second\n"] == [message.text for message in carrier.server.messages]


@both_ways
@pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DOT"])
def test_quoted_secrets_are_hidden(carrier: Carrier, verb: str) -> None:
    """A server that quotes everything back brings neither token nor code into a result."""

    def quote(event: Event) -> bytes:
        said = event.message.content if event.message else event.line
        lines = b" ".join(said.splitlines()) + f" {TOKEN} {CODE}".encode()
        return b"550 5.6.0 " + lines + b"\r\n"

    carrier.server.on(verb, quote)
    result = carrier.send(text=f"https://acme.example/{TOKEN_MARK}\n{CODE_MARK}\n", secret=True)

    assert 550 == result.code
    assert result.text
    assert TOKEN not in result.text
    assert CODE not in result.text
