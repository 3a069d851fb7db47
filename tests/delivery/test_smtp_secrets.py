"""No token, code, link or password comes back in what is kept of a server's words."""

from __future__ import annotations

import asyncio
import base64
import quopri
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Outcome, masked
from flask_courier.core.smtp_uri import parse_smtp_uri
from flask_courier.delivery.discretion import Discretion, without_pieces
from flask_courier.delivery.envelope import Envelope, SmtpSettings, without
from flask_courier.delivery.pool import SmtpTransport
from flask_courier.delivery.smtp import SmtpSession
from tests.delivery.parcels import CODE, CODE_MARK, SENDER, TOKEN, TOKEN_MARK, make_parcel
from tests.delivery.test_smtp import mail, make_settings, send_each
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
    [f"{LINK}\n{CODE_MARK}\n", f"é{LINK}\n\n{'ä' * 60}{CODE_MARK}\n", "漢" * 49 + LINK],
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


def pieces_in(text: str, *secrets: str) -> list[str]:
    """What of ``secrets`` can be read in ``text``, line ends and repeated codes or not."""
    read = re.sub(r"\n5\.7\.1 |\s", "", text)
    pieces = [secret[at : at + 8] for secret in secrets for at in range(len(secret) - 7)]
    return [piece for piece in pieces if piece in read]


@pytest.mark.parametrize(
    "reply",
    [
        "x" * (513 - len(TOKEN)) + TOKEN,
        "x" * (2006 - len(TOKEN)) + TOKEN,
        f"554-5.7.1 spam: {TOKEN[:10]}\r\n554 5.7.1 {TOKEN[10:]}",
        f"554-5.7.1 spam: {CODE[:4]}\r\n554-5.7.1  {CODE[4:]} \r\n554 5.7.1 no",
        f"554-spam: {CODE[:5]}\r\n554 {CODE[5:]}",
        f"554 5.7.1 spam: {TOKEN[:4]} {TOKEN[4:8]}\t{TOKEN[8:]}",
        f"554 5.7.1 spam: {TOKEN[:-3]}...",
        f"554 5.7.1 spam: ...{TOKEN[3:]}, {TOKEN[5:15]}",
    ],
    ids=["garbled", "garbled-2k", "wrapped", "code", "bare", "spaced", "shortened", "parts"],
)
def test_token_in_pieces(reply: str) -> None:
    """A token that is cut or wrapped, by the server or here, is not kept in pieces."""
    with scripted_smtp(DOT=reply) as server:
        result = by_transport(server, f"{LINK}\n{CODE_MARK}\n", None)
    assert [] == pieces_in(result.text, TOKEN, CODE)
    assert "••••" in result.text


def test_encoded_line_that_is_wrapped() -> None:
    """A line of base64 that the server wraps and cuts gives nothing of the token away."""

    def say(heard: bytes) -> str:
        lines = heard.decode().split("\r\n\r\n")[-1].split("\r\n")
        [line] = [line for line in lines if b"recovery" in base64.b64decode(line)]
        return f"554-5.7.1 {line[2:50]}\r\n554 5.7.1 {line[50:70]}..."

    with scripted_smtp(DOT=say) as server:
        result = by_transport(server, "漢" * 4 + f"https://acme/recovery/{TOKEN_MARK}", None)
    readable = re.sub(r"5\.7\.1|[^A-Za-z0-9+/]", "", result.text)
    for start in range(4):
        whole = readable[start:][: len(readable[start:]) // 4 * 4]
        assert [] == pieces_in(base64.b64decode(whole).decode("latin-1"), TOKEN)
    assert "••••" in result.text


def test_token_of_the_mail_before() -> None:
    """What the server says of a mail too late, in its answer to the next, is not kept either."""
    said = iter(["250 ok", f"451 4.7.1 about {TOKEN}"])
    with scripted_smtp(MAIL=lambda _heard: next(said)) as server:
        first = mail(TOKEN.encode(), secrets=(TOKEN,))
        results = send_each(make_settings(server.uri), first, mail())
    assert ["2.0.0 OK", "4.7.1 about ••••"] == [results[0].text, results[1].text]


def test_line_without_end_is_not_quoted() -> None:
    """A line longer than any that is read is not kept, however it arrived."""
    with scripted_smtp(DOT="x" * 9000) as server:
        result = by_transport(server, "hello\n", None)
    assert "the server sent a line without end" == result.text


def test_login_that_is_wrapped() -> None:
    """A server that quotes the AUTH line in two gives no part of it away."""

    def say(line: bytes) -> str:
        told = line.decode().split()[-1]
        return f"535-5.7.8 bad: {told[:30]}\r\n535 5.7.8 {told[30:]}"

    with scripted_smtp(AUTH=say) as server:
        server.login = f"{quote(USERNAME, safe='')}:{quote(PASSWORD, safe='')}@"
        result = by_transport(server, "hello\n", None)
    assert "5.7.8 bad: ••••" == result.text


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


letters = "abcd1."


@given(
    secrets=st.lists(st.text(letters, min_size=8, max_size=20), min_size=1, max_size=3),
    text=st.data(),
)
def test_no_piece_is_left(secrets: list[str], text: st.DataObject) -> None:
    """Of no secret eight characters in a row are left, whatever white space stands between."""
    part = st.sampled_from(secrets).flatmap(
        lambda secret: st.tuples(st.integers(0, 6), st.integers(4, 20)).map(
            lambda cut: secret[cut[0] : cut[1]]
        )
    )
    other = st.sampled_from([" ", "\n", "\n5.7.1 ", "\n5.7.1", "\r\n\t", "é", "250", "5.7.1 "])
    said = "".join(text.draw(st.lists(part | other, max_size=12)))
    kept = without_pieces(said, secrets)
    bare = re.sub(r"\n[245]\.\d+\.\d+\s|\s", "", kept)
    for secret in secrets:
        pieces = [secret[at : at + 8] for at in range(len(secret) - 7)]
        assert [] == [piece for piece in pieces if piece in bare]


@given(text=st.text(alphabet="ab1 •\n", max_size=40))
def test_short_pieces_stay(text: str) -> None:
    """A text with less than eight characters in a row of any secret stays as it is."""
    assert text == without_pieces(text, ["ab1xab1xab1x", "ba1ab1b"])


@given(
    before=st.binary(max_size=20),
    secret=st.text(letters, min_size=8, max_size=66),
    behind=st.binary(max_size=20),
    cut=st.integers(0, 30),
)
def test_no_piece_is_left_in_base64(before: bytes, secret: str, behind: bytes, cut: int) -> None:
    """Wherever a secret begins in what base64 encodes, nothing that tells of it is left."""
    encoded = base64.b64encode(before + secret.encode() + behind).decode()
    told = encoded[-(-8 * len(before) // 6) : 8 * (len(before) + len(secret)) // 6]
    payload = f"Content-Transfer-Encoding: base64\r\n\r\n{encoded}xxx\r\n".encode()
    envelope = Envelope("a@acme.example", "b@acme.example", payload, (secret,))
    discretion = Discretion(parse_smtp_uri("smtp://mail.acme.example"))
    kept = discretion.kept(f"5.7.1 {encoded[cut:]}", envelope)
    assert [] == [at for at in range(len(told) - 7) if told[at : at + 8] in kept]
