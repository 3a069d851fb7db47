"""No token, code, link or password comes back in what is kept of a server's words."""

from __future__ import annotations

import asyncio
import base64
import quopri
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Outcome, masked
from flask_courier.core.smtp_uri import parse_smtp_uri
from flask_courier.delivery.envelope import Envelope, SmtpSettings, without
from flask_courier.delivery.pool import SmtpTransport
from flask_courier.delivery.smtp import SmtpSession
from tests.delivery.parcels import CODE, CODE_MARK, SENDER, TOKEN, TOKEN_MARK, make_parcel
from tests.scripted_smtp import EHLO, PIPELINING, ScriptedServer, scripted_smtp
from tests.smtp_server import PASSWORD, USERNAME

PLAIN = base64.b64encode(f"\0{USERNAME}\0{PASSWORD}".encode()).decode()
FORBIDDEN = (
    TOKEN,
    CODE,
    PASSWORD,
    PLAIN,
    base64.b64encode(PASSWORD.encode()).decode(),
)
LINK = f"https://acme.example/account/recovery/{TOKEN_MARK}"


def echo(code: int) -> Callable[[bytes], str]:
    """A server's error that quotes every line it got back, as it came, and once more in one."""

    def say(heard: bytes) -> str:
        lines = heard.decode("utf-8", "replace").splitlines()
        told = [f"{code}-5.7.1 {line}" for line in lines]
        return "\r\n".join([*told, f"{code} 5.7.1 {' '.join(lines)}"])

    return say


def by_transport(server: ScriptedServer, text: str, html: str | None) -> SendResult:
    """What comes of a mail with a token and a code."""
    settings = SmtpSettings(parse_smtp_uri(server.uri), None, "client.example", name="there#1")

    async def run() -> SendResult:
        transport = SmtpTransport(settings, sender=SENDER, headers={})
        parcel = make_parcel(text, subject=f"Code {CODE_MARK}", html=html, secret=True)
        result = await transport.send(parcel, is_held=lambda: True)
        await transport.close()
        return result

    return asyncio.run(run())


@pytest.mark.parametrize("ehlo", [EHLO, PIPELINING])
@pytest.mark.parametrize("verb", ["AUTH", "MAIL", "RCPT", "DATA", "DOT"])
@pytest.mark.parametrize(
    "text",
    [f"{LINK}\n{CODE_MARK}\n", f"é{LINK}\n\n{'ä' * 60}{CODE_MARK}\n", "漢" * 99 + LINK],
    ids=["7bit", "quoted", "base64"],
)
def test_server_that_echoes_everything(ehlo: str, verb: str, text: str) -> None:
    """In whatever phase and encoding a server quotes what it got, no secret is kept of it."""
    with scripted_smtp(EHLO=ehlo, **{verb: echo(554)}) as server:
        server.login = f"{quote(USERNAME, safe='')}:{quote(PASSWORD, safe='')}@"
        result = by_transport(server, text, f"<p>é <a href='{LINK}'>{CODE_MARK}</a></p>\n")
    assert 554 == result.code
    kept = repr(result)
    readable = quopri.decodestring(result.text.encode()).decode("utf-8", "replace")
    for secret in FORBIDDEN:
        assert secret not in kept
        assert secret not in readable


def test_accepted_mail_that_is_echoed() -> None:
    """A server that quotes the mail in its 250 gives no more away than one that refuses it."""
    with scripted_smtp(DOT=lambda heard: f"250 2.0.0 {' '.join(heard.decode().split())}") as server:
        result = by_transport(server, f"{LINK}\n", None)
    assert Outcome.ACCEPTED is result.outcome
    assert TOKEN not in result.text
    assert "••••" in result.text


def test_login_that_is_echoed_in_parts() -> None:
    """AUTH LOGIN sends name and password apart; neither comes back."""
    ehlo = EHLO.replace("PLAIN LOGIN", "LOGIN")
    word = base64.b64encode(PASSWORD.encode()).decode()
    with scripted_smtp(EHLO=ehlo, AUTH="334 UGFzc3dvcmQ6", **{word.upper(): echo(535)}) as server:
        server.login = f"{quote(USERNAME, safe='')}:{quote(PASSWORD, safe='')}@"
        result = by_transport(server, "hello\n", None)
    assert 535 == result.code
    assert word not in result.text
    assert "5.7.1 ••••\n5.7.1 ••••" == result.text


def test_login_refused_once() -> None:
    """After 535 no second mechanism is tried, whatever the server offers."""
    ehlo = EHLO.replace("PLAIN LOGIN", "CRAM-MD5 LOGIN PLAIN XOAUTH2")
    with scripted_smtp(EHLO=ehlo, AUTH="535 5.7.8 no") as server:
        server.login = "user:password@"
        by_transport(server, "hello\n", None)
    commands = server.dialogues[0].commands
    assert [b"AUTH PLAIN"] == [command[:10] for command in commands if b"AUTH" in command]


def test_cram_md5_where_nothing_else_is_offered() -> None:
    """A server that offers CRAM-MD5 alone gets the digest of its challenge (RFC 2195)."""
    ehlo = EHLO.replace("PLAIN LOGIN", "CRAM-MD5")
    challenge = base64.b64encode(b"<1896.697170952@postoffice.reston.mci.net>").decode()
    answer = base64.b64encode(b"tim b913a602c7eda7a495b4e6e7334d3890")
    says = {answer.decode().upper(): "235 2.7.0 welcome"}
    with scripted_smtp(EHLO=ehlo, AUTH=f"334 {challenge}", **says) as server:
        server.login = "tim:tanstaaftanstaaf@"
        uri = parse_smtp_uri(server.uri)

        async def run() -> SmtpSession:
            session = SmtpSession(SmtpSettings(uri, None, "client.example"))
            assert await session.open() is None
            await session.close()
            return session

        session = asyncio.run(run())
    assert [b"AUTH CRAM-MD5", answer] == server.dialogues[0].commands[1:3]
    assert "CRAM-MD5" == session.mechanism


words = st.text(alphabet="ab1•\n é", max_size=12)


@given(text=words, secrets=st.lists(words))
def test_quick_look_changes_nothing(text: str, secrets: list[str]) -> None:
    """Looking first whether there is anything to mask gives what masking gives."""
    assert masked(text, secrets) == without(text, secrets)


@given(
    lines=st.lists(st.text(alphabet="abc123 é", min_size=1, max_size=20), max_size=8),
    reply=st.data(),
)
def test_quoted_lines_of_a_mail(lines: list[str], reply: st.DataObject) -> None:
    """A line of the mail, of six characters or more, is in no text that is kept."""
    payload = "\r\n".join(lines).encode()
    envelope = Envelope("a@acme.example", "b@acme.example", payload, ("48151623",))
    quoted = reply.draw(st.lists(st.sampled_from([*lines, "queued as 4F2A", "48151623"])))
    kept = without(f"2.0.0 {' '.join(quoted)}", envelope.unspeakable())
    assert masked(f"2.0.0 {' '.join(quoted)}", envelope.unspeakable()) == kept
    assert not [word for word in envelope.unspeakable() if word in kept]
