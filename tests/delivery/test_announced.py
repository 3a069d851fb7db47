"""Mail that is announced together with the dot of the one before (RFC 2920 section 3.1)."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from flask_courier.core.messages import Parcel, SendResult
from flask_courier.core.replies import Outcome, Phase
from flask_courier.core.smtp_uri import parse_smtp_uri
from flask_courier.delivery.envelope import Reuse, SmtpSettings, Timeouts
from flask_courier.delivery.pool import SmtpTransport
from tests.delivery.mails import queue_own
from tests.delivery.parcels import SENDER, make_claim, make_parcel
from tests.scripted_smtp import DROP, EHLO, PIPELINING, Saying, ScriptedServer, scripted_smtp
from tests.site import Site
from tests.smtp_server import served

MakeSite = Callable[..., Site]
ACCEPTED = (Outcome.ACCEPTED, Phase.DOT)
ONCE = ["MAIL", "RCPT", "DATA"]


def parcels(*recipients: str) -> list[Parcel]:
    """A parcel for each."""
    return [
        dataclasses.replace(
            make_parcel(f"for {recipient}\n", recipient=recipient),
            claim=make_claim(id=uuid.UUID(int=number)),
        )
        for number, recipient in enumerate(recipients)
    ]


def send(
    server: ScriptedServer,
    mails: Sequence[Parcel],
    *,
    settings: Callable[[SmtpSettings], SmtpSettings] = lambda settings: settings,
    is_held: Callable[[Parcel], bool] = lambda _: True,
) -> list[SendResult]:
    """Send them one after another, each as the one that follows the one before."""
    base = SmtpSettings(parse_smtp_uri(server.uri), None, "client.acme.example", name="there#1")

    async def run() -> list[SendResult]:
        transport = SmtpTransport(settings(base), sender=SENDER, headers={})
        waiting, ahead, results = deque(mails), list[Parcel](), list[SendResult]()

        def follow() -> Parcel | None:
            ahead.extend([waiting.popleft()] if waiting else [])
            return ahead[-1] if ahead else None

        try:
            while ahead or waiting:
                one = ahead.pop() if ahead else waiting.popleft()
                held = is_held(one)
                results.append(
                    await transport.send(one, is_held=lambda held=held: held, follow=follow)  # type: ignore[misc]  # bound
                )
        finally:
            await transport.close()
        return results

    return asyncio.run(run())


def told(results: Sequence[SendResult]) -> list[tuple[Outcome, Phase]]:
    """What each came to, and how far it had come."""
    return [(result.outcome, result.phase) for result in results]


def bodies(server: ScriptedServer) -> list[bytes]:
    """The last line of every mail that arrived, in order."""
    arrived = [payload for dialogue in server.dialogues for payload in dialogue.payloads]
    return [payload.splitlines()[-2] for payload in arrived]


class Segments(asyncio.Protocol):
    """A server that notes what comes together, and takes it; whole groups come in one segment."""

    def __init__(self, seen: list[bytes]) -> None:
        self._seen = seen
        self._in_payload = False

    def connection_made(self, transport: Any) -> None:
        """Greet."""
        self._transport = transport
        transport.write(b"220 hello\r\n")

    def data_received(self, data: bytes) -> None:
        """Answer every command, and the end of a payload."""
        self._seen.append(data)
        for line in data.splitlines():
            if self._in_payload and line != b".":
                continue
            self._in_payload = line == b"DATA"
            answer = {b"EHLO": PIPELINING, b"DATA": "354 go", b"QUIT": "221 bye"}.get(line[:4])
            self._transport.write(f"{answer or '250 OK'}\r\n".encode())


def test_next_mail_is_announced_with_the_dot() -> None:
    """The server has the next MAIL, RCPT and DATA before it says that it took this mail."""
    seen: list[bytes] = []
    with served(lambda: Segments(seen)) as port:
        results = send(ScriptedServer({}, port), parcels("a@example.com", "b@example.com"))
    assert [ACCEPTED] * 2 == told(results)
    ends = [segment.rpartition(b"\r\n.\r\n")[2] for segment in seen if b"\r\n.\r\n" in segment]
    sender = SENDER.address.encode()
    ahead = b"MAIL FROM:<%b>\r\nRCPT TO:<b@example.com>\r\nDATA\r\n" % sender
    assert [ahead, b""] == ends


@pytest.mark.parametrize("off", ["by the server", "by the settings"])
def test_nothing_is_announced_without_pipelining(off: str) -> None:
    """Where pipelining is not offered, or switched off, every mail waits for its turn."""
    ehlo = EHLO if off == "by the server" else PIPELINING
    wanted = off == "by the server"
    with scripted_smtp(EHLO=ehlo) as server:
        results = send(
            server,
            parcels("a@example.com", "b@example.com"),
            settings=lambda settings: dataclasses.replace(settings, pipelining=wanted),
        )
    assert [ACCEPTED] * 2 == told(results)
    assert ["EHLO", *ONCE, *ONCE, "QUIT"] == server.dialogues[0].verbs


def test_refusal_at_the_dot_leaves_the_next_mail_alone() -> None:
    """What is said of one mail says nothing of the one that was announced behind it."""
    with scripted_smtp(EHLO=PIPELINING, DOT=["550 5.7.1 spam", "250 2.0.0 OK"]) as server:
        results = send(server, parcels("a@example.com", "b@example.com"))
    assert [(Outcome.REJECTED, Phase.DOT), ACCEPTED] == told(results)
    assert 1 == len(server.dialogues)


def test_refused_recipient_is_the_announced_mails_own() -> None:
    """A recipient that is refused ahead of time is that mail's, and the third goes on as usual."""
    rcpt: list[Saying] = ["250 OK", "550 5.1.1 no such user", "250 OK"]
    data: list[Saying] = ["354 go", "503 5.5.1 no recipient", "354 go"]
    with scripted_smtp(EHLO=PIPELINING, RCPT=rcpt, DATA=data) as server:
        results = send(server, parcels("a@example.com", "b@example.com", "c@example.com"))
    assert [ACCEPTED, (Outcome.REJECTED, Phase.RCPT), ACCEPTED] == told(results)
    assert [b"for a@example.com", b"for c@example.com"] == bodies(server)
    assert ["EHLO", *ONCE, *ONCE, "RSET", *ONCE, "QUIT"] == server.dialogues[0].verbs


def test_server_that_wants_its_turn_gets_it() -> None:
    """A MAIL that is refused behind a dot is said again in its own time, and none after it."""
    once: list[Saying] = ["250 OK", "503 5.5.1 out of order", "250 OK"]
    data: list[Saying] = ["354 go", "503 5.5.1 out of order", "354 go"]
    with scripted_smtp(EHLO=PIPELINING, MAIL=once, RCPT=once, DATA=data) as server:
        results = send(server, parcels("a@example.com", "b@example.com", "c@example.com"))
    assert [ACCEPTED] * 3 == told(results)
    assert [b"for a@example.com", b"for b@example.com", b"for c@example.com"] == bodies(server)
    assert ["EHLO", *ONCE, *ONCE, "RSET", *ONCE, *ONCE, "QUIT"] == server.dialogues[0].verbs


@pytest.mark.parametrize("said", [DROP, "421 4.3.2 closing"])
def test_announced_mail_finds_another_connection(said: str) -> None:
    """A server that ends after a mail has not heard the next one: it goes over a new connection."""
    with scripted_smtp(EHLO=PIPELINING, MAIL=["250 OK", said, "250 OK"]) as server:
        results = send(server, parcels("a@example.com", "b@example.com"))
    assert [ACCEPTED] * 2 == told(results)
    assert [b"for a@example.com", b"for b@example.com"] == bodies(server)
    assert 2 == len(server.dialogues)


def test_unknown_end_sends_the_announced_mail_once() -> None:
    """A connection that ends at the dot takes nothing of the next mail along."""
    with scripted_smtp(EHLO=PIPELINING, DOT=[DROP, "250 2.0.0 OK"]) as server:
        results = send(server, parcels("a@example.com", "b@example.com"))
    assert [(Outcome.UNKNOWN, Phase.DOT), ACCEPTED] == told(results)
    assert 1 == bodies(server).count(b"for b@example.com")


def test_lost_lease_sends_no_dot_for_the_announced_mail() -> None:
    """A mail whose lease is gone when its turn comes is announced and never sent."""
    with scripted_smtp(EHLO=PIPELINING) as server:
        results = send(
            server,
            parcels("a@example.com", "b@example.com"),
            is_held=lambda one: one.recipient.startswith("a"),
        )
        assert server.dialogues[0].ended.wait(20)
    assert [Outcome.ACCEPTED, Outcome.TRANSPORT_FAULT] == [one.outcome for one in results]
    assert [b"for a@example.com"] == bodies(server)


def test_mail_that_cannot_be_made_is_told_in_its_own_turn() -> None:
    """A parcel that no mail can be made of does not disturb the one before."""
    good, bad = parcels("a@example.com", "b@example.com")
    bad = dataclasses.replace(bad, message_id_header="<a@b>\r\nBcc: eve@example.com")
    with scripted_smtp(EHLO=PIPELINING) as server:
        with pytest.raises(Exception, match="CR, LF or NUL"):
            send(server, [good, bad])
        assert server.dialogues[0].ended.wait(20)
    assert [b"for a@example.com"] == bodies(server)


def test_connection_that_has_served_announces_nothing() -> None:
    """The last mail that a connection carries ends with QUIT and not with another MAIL."""
    with scripted_smtp(EHLO=PIPELINING) as server:
        send(
            server,
            parcels("a@example.com", "b@example.com", "c@example.com"),
            settings=lambda settings: dataclasses.replace(settings, reuse=Reuse(messages=2)),
        )
    found = [dialogue.verbs for dialogue in server.dialogues]
    assert [["EHLO", *ONCE, *ONCE, "QUIT"], ["EHLO", *ONCE, "QUIT"]] == found


def test_withdrawn_mail_is_dropped_with_its_connection() -> None:
    """A parcel that goes elsewhere after all leaves no open announcement behind."""
    first, second = parcels("a@example.com", "b@example.com")

    async def run(server: ScriptedServer) -> bool:
        uri = parse_smtp_uri(server.uri)
        settings = SmtpSettings(uri, None, "client.acme.example", name="there#1")
        transport = SmtpTransport(settings, sender=SENDER, headers={})
        await transport.send(first, is_held=lambda: True, follow=lambda: second)
        transport.withdraw(second)
        loop = asyncio.get_running_loop()
        ended = await loop.run_in_executor(None, server.dialogues[0].ended.wait, 20)
        await transport.close()
        return ended

    with scripted_smtp(EHLO=PIPELINING) as server:
        assert asyncio.run(run(server))
    assert [b"for a@example.com"] == bodies(server)


def test_silence_behind_a_dot_is_not_waited_for_twice() -> None:
    """A server that reads nothing behind a dot costs one wait, and is never asked so again."""
    patience = dataclasses.replace(Timeouts(), command=2.0)
    once: list[Saying] = ["250 OK", "", "250 OK"]
    data: list[Saying] = ["354 go", "", "354 go"]
    with scripted_smtp(EHLO=PIPELINING, MAIL=once, RCPT=once, DATA=data) as server:
        results = send(
            server,
            parcels("a@example.com", "b@example.com", "c@example.com"),
            settings=lambda settings: dataclasses.replace(settings, timeouts=patience),
        )
    assert [ACCEPTED] * 3 == told(results)
    assert ["EHLO", *ONCE, *ONCE, "QUIT"] == server.dialogues[1].verbs


# The worker


def site_at(sites: MakeSite, server: ScriptedServer, mails: int) -> Site:
    """A site with mail for one connection to a scripted server."""
    site = sites(COURIER_SMTP_URI=server.uri, COURIER_SMTP_CONNECTIONS=1)
    for number in range(mails):
        queue_own(site, f"user{number}@example.com")
    return site


def test_worker_announces_what_it_sends_next(sites: MakeSite) -> None:
    """Ten mails go over one connection, each once; a segment has a dot and the next three lines."""
    with scripted_smtp(EHLO=PIPELINING) as server:
        site = site_at(sites, server, 10)
        assert {"sent": 10} == site.deliver()
    [dialogue] = server.dialogues
    assert ["EHLO", *ONCE * 10, "QUIT"] == dialogue.verbs
    recipients = {line for line in dialogue.commands if line.startswith(b"RCPT")}
    assert (10, 10) == (len(recipients), len(dialogue.payloads))


def test_refused_mail_among_others_is_abandoned_alone(sites: MakeSite) -> None:
    """A recipient that is refused behind another one's dot takes nobody along."""

    def rcpt(line: bytes) -> str:
        return "550 5.1.1 no such user" if b"user2@" in line else "250 OK"

    with scripted_smtp(EHLO=PIPELINING, RCPT=rcpt) as server:
        site = site_at(sites, server, 5)
        assert {"sent": 4, "abandoned": 1} == site.deliver()
    assert 1 == len(server.dialogues)


def test_announced_mail_waits_for_a_server_that_went_down(sites: MakeSite) -> None:
    """What was announced as the server went away is queued again, and has used no attempt."""
    banner: list[Saying] = ["220 mail.acme.example ESMTP", "554 5.3.2 going down" + DROP]
    with scripted_smtp(EHLO=PIPELINING, BANNER=banner, DOT="250 2.0.0 OK" + DROP) as server:
        site = site_at(sites, server, 4)
        site.deliver()
    found = sorted((row["status"], row["attempts"]) for row in site.rows("courier_message"))
    assert [("queued", 0)] * 3 + [("sent", 1)] == found
