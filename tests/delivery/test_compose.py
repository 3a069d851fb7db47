"""From a parcel to bytes: a mail program reads what was meant, and a retry is the same bytes."""

from __future__ import annotations

from dataclasses import replace
from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.config import Sender
from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Parcel
from flask_courier.delivery.compose import compose, wire_address
from tests.delivery.parcels import (
    CODE,
    CODE_MARK,
    MESSAGE_ID,
    MOMENT,
    SENDER,
    TOKEN,
    TOKEN_MARK,
    make_parcel,
)

LINES = st.text(st.characters(exclude_categories=["Cs"]))
#: A click tracker that is told to stay away.
UNTRACKED = {"X-Track": "no"}
EXPECTED = frozenset(
    {
        *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "MIME-Version"),
        *("Content-Type", "Content-Transfer-Encoding"),
    }
)
HOSTILE = "a header of this mail would hold CR, LF or NUL; it was not sent"
BAD_ADDRESS = (
    "an address of this mail cannot stand in a header, so it was not sent: correct the address in"
    " the account or in the settings"
)


def parse(
    parcel: Parcel, sender: Sender = SENDER, headers: dict[str, str] | None = None
) -> EmailMessage:
    """The mail as a mail program reads it."""
    raw = compose(parcel, sender=sender, headers=headers or {})
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def lines_of(message: EmailMessage, kind: str) -> list[str]:
    """The lines of one part."""
    body = message.get_body((kind,))
    assert body is not None
    content: str = body.get_content()
    return content.splitlines()


def test_headers() -> None:
    """A mail says who it is from, to whom, when, and that no person wrote it."""
    message = parse(make_parcel(subject="Reset your password"))
    assert "Acme <no-reply@acme.example>" == message["From"]
    assert "ada@example.com" == message["To"]
    assert "Reset your password" == message["Subject"]
    assert MESSAGE_ID == message["Message-ID"]
    assert MOMENT == parsedate_to_datetime(message["Date"])
    assert "auto-generated" == message["Auto-Submitted"]


def test_no_header_twice() -> None:
    """Every header of the mail stands once."""
    names = [name.lower() for name in parse(make_parcel(html="<p>hello</p>"))]
    assert len(names) == len(set(names))


def test_configured_headers() -> None:
    """Configured header fields are added to the mail."""
    assert "campaign" == parse(make_parcel(), headers={"X-Tag": "campaign"})["X-Tag"]


def test_text_alone() -> None:
    """A mail without HTML is one plain text."""
    message = parse(make_parcel("hello\n"))
    assert ("text/plain", ["hello"]) == (message.get_content_type(), lines_of(message, "plain"))


def test_text_and_html() -> None:
    """A mail with HTML shows either part, the plain one first."""
    message = parse(make_parcel("hello\n", html="<p>hello</p>\n"))
    kinds = [piece.get_content_type() for piece in message.iter_parts()]
    assert ["text/plain", "text/html"] == kinds
    assert ["hello"] == lines_of(message, "plain")
    assert ["<p>hello</p>"] == lines_of(message, "html")


def test_token_and_code_are_put_in() -> None:
    """Where the templates asked for token and code, the mail has them, in both parts."""
    asked = f"{TOKEN_MARK} {CODE_MARK}\n"
    message = parse(make_parcel(asked, html=asked, secret=True))
    filled = [f"{TOKEN} {CODE}"]
    assert (filled, filled) == (lines_of(message, "plain"), lines_of(message, "html"))


@given(text=LINES, html=LINES)
def test_same_parcel_same_bytes(text: str, html: str) -> None:
    """A retry is a copy, byte for byte."""
    parcel = make_parcel(text, html=html)
    first, second = (compose(parcel, sender=SENDER, headers={"X-Tag": "a"}) for _ in range(2))
    assert first == second


def test_boundary_cannot_occur_in_a_part() -> None:
    """A text that spells the boundary of its own mail stays one text."""
    boundary = parse(make_parcel(html="<p>hello</p>")).get_boundary()
    text = f"a\n--{boundary}\nb\n--{boundary}--\nc\n"
    message = parse(make_parcel(text, html=text))
    assert ("=_", 34) == (str(boundary)[:2], len(str(boundary)))
    assert [text.splitlines()] * 2 == [lines_of(message, "plain"), lines_of(message, "html")]


@pytest.mark.parametrize("character", ["\r", "\n", "\0"])
@pytest.mark.parametrize("where", ["subject", "recipient", "name", "address"])
def test_header_injection_refused(where: str, character: str) -> None:
    """A line break or NUL in what becomes a header is refused."""
    hostile = f"ada@example.com{character}Bcc: eve@example.com"
    parcel, sender = make_parcel(), SENDER
    if where == "subject":
        parcel = make_parcel(subject=hostile)
    elif where == "recipient":
        parcel = make_parcel(recipient=hostile)
    else:
        fields = {"name": "Acme", "address": SENDER.address, where: hostile}
        sender = Sender(fields["name"], fields["address"])
    with pytest.raises(RenderError) as caught:
        compose(parcel, sender=sender, headers={})
    assert HOSTILE == str(caught.value)


@pytest.mark.parametrize("character", ["\r", "\n", "\0"])
@pytest.mark.parametrize("value", ["a{}Bcc: eve@example.com", "é{}Bcc: eve@example.com"])
def test_injection_by_a_configured_header_refused(value: str, character: str) -> None:
    """A line break or NUL in a configured header field is refused."""
    with pytest.raises(RenderError) as caught:
        compose(make_parcel(), sender=SENDER, headers={"X-Tag": value.format(character)})
    assert HOSTILE == str(caught.value)


@pytest.mark.parametrize("hidden", ["=0D=0ABcc=3A_eve=40x", "=0ABcc=3A_eve=40x", "=0D", "=00"])
def test_encoded_word_in_a_configured_header_adds_no_line(hidden: str) -> None:
    """A line break hidden in an encoded word makes no header field, beside any other text."""
    for value in (f"=?utf-8?q?a{hidden}?=", f"é =?utf-8?q?a{hidden}?="):
        try:
            message = parse(make_parcel(), headers={"X-Tag": value})
        except RenderError:
            continue
        assert [name for name in message if name not in EXPECTED] == ["X-Tag"]


def test_message_id_with_a_line_break_refused() -> None:
    """A Message-ID cannot bring a header field along either."""
    parcel = replace(make_parcel(), message_id_header="<a@b>\r\nBcc: eve@example.com")
    with pytest.raises(RenderError) as caught:
        compose(parcel, sender=SENDER, headers={})
    assert HOSTILE == str(caught.value)


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.com, eve@example.com",
        "ada@example.com>,<eve@example.com",
        "ada",
        "@example.com",
        "ada@",
        "ada@exam ple.com",
        "ada@\u2028.example",
        f"{'a' * 243}@example.com",
        f"{'ä' * 122}@example.com",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    """What would be two addresses, none, or one that no server takes is not sent."""
    with pytest.raises(RenderError) as caught:
        compose(make_parcel(recipient=address), sender=SENDER, headers={})
    assert BAD_ADDRESS == str(caught.value)


@pytest.mark.parametrize("where", ["subject", "text", "html", "recipient"])
def test_half_a_character_refused(where: str) -> None:
    """A lone surrogate, which no encoding can carry, is told as what it is."""
    values = {"subject": "a", "text": "a", "html": "a", "recipient": "ada@example.com"}
    values[where] = f"\ud800{values[where]}"
    parcel = make_parcel(
        values["text"],
        subject=values["subject"],
        html=values["html"],
        recipient=values["recipient"],
    )
    with pytest.raises(RenderError) as caught:
        compose(parcel, sender=SENDER, headers={})
    assert str(caught.value).startswith("a mail holds a lone surrogate")


def test_address_beyond_ascii() -> None:
    """An address that needs SMTPUTF8 stands in the header as it is."""
    raw = compose(make_parcel(recipient="ådä@example.com"), sender=SENDER, headers={})
    assert "To: ådä@example.com\r\n".encode() in raw


def test_international_domain_goes_in_ascii() -> None:
    """A domain beyond ASCII alone needs no SMTPUTF8: the mail stays 7 bits wide."""
    raw = compose(
        make_parcel(recipient="ada@bücher.example"),
        sender=Sender("", "no-reply@例え.example"),
        headers={},
    )
    assert raw.isascii()
    assert b"To: ada@xn--bcher-kva.example\r\n" in raw
    assert b"From: no-reply@xn--r8jz45g.example\r\n" in raw


@pytest.mark.parametrize(
    ("address", "wired"),
    [
        ("Ada@Example.com", "Ada@Example.com"),
        ("ada@Bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@bücher。example", "ada@xn--bcher-kva.example"),
        ("ådä@bücher.example", "ådä@xn--bcher-kva.example"),
        ("ådä@Example.com", "ådä@Example.com"),
    ],
)
def test_address_on_the_wire(address: str, wired: str) -> None:
    """Header and envelope have an address with its domain in ASCII."""
    assert wired == wire_address(address)


def test_domain_that_is_none_refused() -> None:
    """A domain without an ASCII form is refused before anything is sent."""
    with pytest.raises(RenderError) as caught:
        wire_address("ada@\N{COMBINING ACUTE ACCENT}a.example")
    assert BAD_ADDRESS == str(caught.value)


def test_link_headers_with_a_token() -> None:
    """A mail that carries a token has the header fields for links."""
    raw = compose(
        make_parcel(TOKEN_MARK, secret=True), sender=SENDER, headers={}, link_headers=UNTRACKED
    )
    assert b"\r\nX-Track: no\r\n" in raw


def test_no_link_headers_without_a_token() -> None:
    """A mail without a token does not have them."""
    raw = compose(make_parcel(), sender=SENDER, headers={}, link_headers=UNTRACKED)
    assert b"X-Track" not in raw


def test_own_header_wins_over_link_header() -> None:
    """A header that the application configured stays, whatever its case."""
    raw = compose(
        make_parcel(TOKEN_MARK, secret=True),
        sender=SENDER,
        headers={"x-track": "yes"},
        link_headers=UNTRACKED,
    )
    assert [b"x-track: yes"] == [
        line for line in raw.split(b"\r\n") if line.lower().startswith(b"x-track")
    ]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("Somebody asked to reset your password.\n", "7bit"),
        ("Jemand möchte Ihr Passwort zurücksetzen.\n", "quoted-printable"),
        ("<p>a paragraph on one line</p>" * 10, "quoted-printable"),
        ("Кто-то попросил сменить пароль.\n", "base64"),
    ],
)
def test_transfer_encoding(text: str, encoding: str) -> None:
    """A body stays as readable as 7 bits let it, or else takes the shorter encoding."""
    assert encoding == parse(make_parcel(text))["Content-Transfer-Encoding"]


def test_configured_header_is_folded() -> None:
    """A long header field is folded, and reads the same."""
    value = " ".join(["word"] * 100)
    raw = compose(make_parcel(), sender=SENDER, headers={"X-Tag": value})
    assert max(map(len, raw.split(b"\r\n"))) <= 76
    assert value == parse(make_parcel(), headers={"X-Tag": value})["X-Tag"]


def test_configured_header_beyond_ascii() -> None:
    """A Reply-To whose name is beyond ASCII still names an address."""
    message = parse(make_parcel(), headers={"Reply-To": "Hélène <help@acme.example>"})
    [address] = message["Reply-To"].addresses
    assert ("Hélène", "help@acme.example") == (address.display_name, address.addr_spec)


@pytest.mark.parametrize("hidden", ["=0D=0ABcc=3A_eve=40x", "=0ABcc=3A_eve=40x", "=0D", "=00"])
def test_encoded_word_in_a_subject_stays_what_it_is(hidden: str) -> None:
    """A subject that spells an encoded word is shown as spelt; nothing in it is decoded."""
    subject = f"Welcome =?utf-8?q?a{hidden}?="
    message = parse(make_parcel(subject=subject))
    assert (subject, None) == (message["Subject"], message["Bcc"])
