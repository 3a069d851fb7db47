"""From a parcel to bytes: a mail program reads what was meant, and a retry is the same bytes."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_courier.core.config import Sender
from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Parcel
from flask_courier.delivery.compose import _check_headers, compose
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

#: What templates and configuration can hold: no surrogate, no control.
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]))
LINES = st.lists(WORDS, max_size=5).map("\n".join)
#: Short enough for one encoded word: Python's own reader puts a blank between two in a name.
NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=9).filter(
    lambda name: "=?" not in name
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


@given(subject=WORDS, name=NAMES, text=LINES, html=LINES)
@example(subject="=?utf-8?q?a?=", name='a, "b" <c@d.example>', text=".", html="--=_x")
@example(subject="é" * 500, name="é", text="é" * 2000, html="x" * 2000)
@example(subject="(", name="(", text="From me\n.\n..\n", html="\u00a0")
def test_anything_comes_back(subject: str, name: str, text: str, html: str) -> None:
    """Whatever a subject, a sender's name and the bodies hold, a mail program reads the same."""
    subject, name = " ".join(subject.split()), " ".join(name.split())
    message = parse(make_parcel(text, subject=subject, html=html), Sender(name, SENDER.address))
    assert subject == message["Subject"]
    [sender] = message["From"].addresses
    assert (name, SENDER.address) == (sender.display_name, sender.addr_spec)
    assert (text.splitlines() or [""]) == lines_of(message, "plain")
    assert (html.splitlines() or [""]) == lines_of(message, "html")


@given(subject=WORDS, name=WORDS, text=LINES, html=LINES)
def test_seven_bits(subject: str, name: str, text: str, html: str) -> None:
    """To an ASCII address every byte is ASCII, every line end CRLF, no line over 998 octets."""
    parcel = make_parcel(text, subject=" ".join(subject.split()), html=html)
    raw = compose(parcel, sender=Sender(" ".join(name.split()), SENDER.address), headers={})
    assert raw.isascii()
    assert b"\0" not in raw
    assert raw.count(b"\n") == raw.count(b"\r") == raw.count(b"\r\n")
    assert max(len(line) for line in raw.split(b"\r\n")) <= 998


@given(text=LINES, html=LINES)
def test_same_parcel_same_bytes(text: str, html: str) -> None:
    """A retry is a copy, byte for byte."""
    parcel = make_parcel(text, html=html)
    first, second = (compose(parcel, sender=SENDER, headers={"X-Tag": "a"}) for _ in range(2))
    assert first == second


def test_boundary_cannot_occur_in_a_part() -> None:
    """The boundary holds "=_", which neither quoted-printable nor base64 produces."""
    boundary = parse(make_parcel(html="<p>hello</p>")).get_boundary()
    assert boundary is not None
    assert ("=_", 34) == (boundary[:2], len(boundary))


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
    assert "a header of this mail would hold CR, LF or NUL; it was not sent" == str(caught.value)


def test_address_beyond_ascii() -> None:
    """An address that needs SMTPUTF8 stands in the header as it is."""
    raw = compose(make_parcel(recipient="ådä@example.com"), sender=SENDER, headers={})
    assert "To: ådä@example.com\r\n".encode() in raw


@pytest.mark.parametrize("hidden", ["=0D=0ABcc=3A_eve=40x", "=0ABcc=3A_eve=40x", "=0D", "=00"])
def test_encoded_word_in_a_subject_stays_what_it_is(hidden: str) -> None:
    """A subject that spells an encoded word is shown as spelt; nothing in it is decoded."""
    subject = f"Welcome =?utf-8?q?a{hidden}?="
    message = parse(make_parcel(subject=subject))
    assert (subject, None) == (message["Subject"], message["Bcc"])


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: a\r\nBcc: eve@example.com\r\n\r\n",
        b"Subject: a\nBcc: eve@example.com\r\n\r\n",
        b"Subject: a\0\r\n\r\n",
        b"Subject: a\r\n\r\nNot-A-Header: b\r\nX-Tag: c\r\n\r\n",
    ],
)
def test_headers_that_were_not_set_are_refused(raw: bytes) -> None:
    """Whatever Python's encoder makes of a value, the wire sees the headers that were set."""
    message = EmailMessage()
    message["Subject"] = "a"
    if b"X-Tag" in raw:
        message["X-Tag"] = "c"
    with pytest.raises(RenderError) as caught:
        _check_headers(message, raw)
    assert "a header of this mail would hold CR, LF or NUL; it was not sent" == str(caught.value)
