"""The SMTP transport: which connection carries a mail, and when connections end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest

from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Outcome, Phase
from flask_courier.core.smtp_uri import parse_smtp_uri
from flask_courier.delivery.envelope import Reuse, SmtpSettings
from flask_courier.delivery.pool import SmtpTransport
from tests.delivery.parcels import CODE, CODE_MARK, SENDER, TOKEN, TOKEN_MARK, make_parcel
from tests.scripted_smtp import DROP, ScriptedServer, scripted_smtp

T = TypeVar("T")

FOR_LONG = Reuse()


def with_transport(
    server: ScriptedServer,
    work: Callable[[SmtpTransport], Coroutine[Any, Any, T]],
    reuse: Reuse = FOR_LONG,
) -> T:
    """Do ``work`` with a transport to ``server``, then close it."""
    uri = parse_smtp_uri(server.uri)
    settings = SmtpSettings(uri, None, "client.acme.example", name="there#1", reuse=reuse)

    async def run() -> T:
        transport = SmtpTransport(settings, sender=SENDER, headers={"X-Mailer": "tests"})
        try:
            return await work(transport)
        finally:
            await transport.close()

    return asyncio.run(run())


def send(server: ScriptedServer, count: int) -> list[SendResult]:
    """Send mails one after another."""

    async def work(transport: SmtpTransport) -> list[SendResult]:
        return [await transport.send(make_parcel(), is_held=lambda: True) for _ in range(count)]

    return with_transport(server, work)


async def ended(server: ScriptedServer, number: int) -> bool:
    """Whether connection ``number`` ends; the loop goes on meanwhile."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, server.dialogues[number].ended.wait, 20)


def test_connection_is_reused() -> None:
    """Mails sent one after another share a connection."""
    with scripted_smtp() as server:
        results = send(server, 3)
    assert [Outcome.ACCEPTED] * 3 == [result.outcome for result in results]
    assert 1 == len(server.dialogues)
    assert "QUIT" == server.dialogues[0].verbs[-1]


def test_mails_at_a_time_have_connections_of_their_own() -> None:
    """Mails sent at the same time travel side by side, and their connections are kept."""

    async def work(transport: SmtpTransport) -> None:
        await asyncio.gather(
            *(transport.send(make_parcel(), is_held=lambda: True) for _ in range(3))
        )
        await transport.send(make_parcel(), is_held=lambda: True)

    with scripted_smtp() as server:
        with_transport(server, work)
    assert 3 == len(server.dialogues)
    assert [1, 1, 2] == sorted(len(dialogue.payloads) for dialogue in server.dialogues)


def test_connection_closed_while_idle() -> None:
    """A connection that the server closed after a mail is replaced without a fault."""

    async def work(transport: SmtpTransport) -> SendResult:
        await transport.send(make_parcel(), is_held=lambda: True)
        assert await ended(server, 0)
        return await transport.send(make_parcel(), is_held=lambda: True)

    with scripted_smtp(DOT=["250 OK" + DROP, "250 OK"]) as server:
        result = with_transport(server, work)
    assert Outcome.ACCEPTED is result.outcome
    assert 2 == len(server.dialogues)


@pytest.mark.parametrize("farewell", [DROP, "421 4.4.2 idle for too long" + DROP])
def test_connection_that_turns_out_stale(farewell: str) -> None:
    """A used connection that ends at its next MAIL is replaced without a fault."""
    with scripted_smtp(MAIL=["250 OK", farewell, "250 OK"]) as server:
        results = send(server, 2)
    assert [Outcome.ACCEPTED] * 2 == [result.outcome for result in results]
    assert 2 == len(server.dialogues)


def test_fresh_connection_that_ends_is_a_fault() -> None:
    """A connection that ends at its very first MAIL is not tried again at once."""
    with scripted_smtp(MAIL="421 4.3.2 busy" + DROP) as server:
        [result] = send(server, 1)
    assert (Outcome.TRANSPORT_FAULT, Phase.MAIL, 421) == (
        result.outcome,
        result.phase,
        result.code,
    )
    assert 1 == len(server.dialogues)


def test_refused_sender_on_a_used_connection_is_a_fault() -> None:
    """Another refusal of MAIL on a used connection is the server's word, and stands."""
    with scripted_smtp(MAIL=["250 OK", "451 4.3.0 later"]) as server:
        results = send(server, 2)
    assert (Outcome.TRANSPORT_FAULT, 451) == (results[1].outcome, results[1].code)
    assert 1 == len(server.dialogues)


def test_server_that_cannot_be_opened() -> None:
    """What keeps a connection from opening is the result."""
    with scripted_smtp(BANNER="554 5.7.1 no") as server:
        [result] = send(server, 1)
    assert (Outcome.OPERATOR_FAULT, Phase.BANNER) == (result.outcome, result.phase)


def test_idle_connection_is_closed() -> None:
    """A connection without a mail for a while is closed with QUIT; the transport goes on."""

    async def work(transport: SmtpTransport) -> None:
        for number in range(2):
            await transport.send(make_parcel(), is_held=lambda: True)
            assert await ended(server, number)

    with scripted_smtp() as server:
        with_transport(server, work, Reuse(idle=0.05))
    assert ["QUIT", "QUIT"] == [dialogue.verbs[-1] for dialogue in server.dialogues]


def test_connection_has_carried_enough() -> None:
    """After so many mails a connection is closed with QUIT, and the next mail opens another."""

    async def work(transport: SmtpTransport) -> None:
        for _ in range(5):
            await transport.send(make_parcel(), is_held=lambda: True)

    with scripted_smtp() as server:
        with_transport(server, work, Reuse(messages=2))
    assert [2, 2, 1] == [len(dialogue.payloads) for dialogue in server.dialogues]
    assert ["QUIT"] * 3 == [dialogue.verbs[-1] for dialogue in server.dialogues]


def test_connection_is_old_enough() -> None:
    """A connection that has stood for its time is closed after its mail, however busy it is."""

    async def work(transport: SmtpTransport) -> None:
        for _ in range(2):
            await transport.send(make_parcel(), is_held=lambda: True)

    with scripted_smtp() as server:
        with_transport(server, work, Reuse(age=0))
    assert [1, 1] == [len(dialogue.payloads) for dialogue in server.dialogues]


def test_last_used_connection_is_used_first() -> None:
    """Of several idle connections the one that was used last goes on, so that others may end."""

    async def work(transport: SmtpTransport) -> None:
        await asyncio.gather(
            *(transport.send(make_parcel(), is_held=lambda: True) for _ in range(3))
        )
        for _ in range(4):
            await transport.send(make_parcel(), is_held=lambda: True)

    with scripted_smtp() as server:
        with_transport(server, work)
    assert [1, 1, 5] == sorted(len(dialogue.payloads) for dialogue in server.dialogues)


def test_closing_waits_for_farewells() -> None:
    """When ``close`` is back, every connection has said QUIT, those too that were full before."""

    async def work(transport: SmtpTransport) -> list[str]:
        await asyncio.gather(
            *(transport.send(make_parcel(), is_held=lambda: True) for _ in range(3))
        )
        await transport.close()
        return [dialogue.verbs[-1] for dialogue in server.dialogues]

    with scripted_smtp() as server:
        assert ["QUIT"] * 3 == with_transport(server, work, Reuse(messages=1))


def test_lease_that_ended_closes_the_connection() -> None:
    """A mail that is no longer held never sees its dot, and its connection is not kept."""

    async def work(transport: SmtpTransport) -> list[SendResult]:
        return [
            await transport.send(make_parcel(), is_held=lambda: False),
            await transport.send(make_parcel(), is_held=lambda: True),
        ]

    with scripted_smtp() as server:
        lost, carried = with_transport(server, work)
    assert ("lease_lost", Outcome.ACCEPTED) == (lost.cause, carried.outcome)
    assert [0, 1] == [len(dialogue.payloads) for dialogue in server.dialogues]


def test_result_carries_the_name_of_the_transport() -> None:
    """What the transport's rows are called is what its results say."""
    with scripted_smtp() as server:
        [result] = send(server, 1)
    assert "there#1" == result.transport


def test_cancelled_mail_closes_its_connection() -> None:
    """A mail that is cancelled half-way leaves no connection behind."""

    async def work(transport: SmtpTransport) -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(transport.send(make_parcel(), is_held=lambda: True), 0.2)
        assert await ended(server, 0)

    with scripted_smtp(RCPT="") as server:
        with_transport(server, work)
    assert ["EHLO", "MAIL", "RCPT"] == server.dialogues[0].verbs


def test_token_and_code_are_masked_in_an_echo() -> None:
    """A mail's own token and code do not come back in what the server says of it."""

    async def work(transport: SmtpTransport) -> SendResult:
        return await transport.send(
            make_parcel(f"{TOKEN_MARK}\n{CODE_MARK}\n", secret=True), is_held=lambda: True
        )

    with scripted_smtp(DOT=f"554 5.7.1 spam: {TOKEN} {CODE}") as server:
        result = with_transport(server, work)
    assert "5.7.1 spam: •••• ••••" == result.text
    assert f"\r\n{TOKEN}\r\n{CODE}\r\n".encode() in server.dialogues[0].payloads[0]
