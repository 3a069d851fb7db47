"""Any text comes back: as the standard library's generator would have sent it, or better.

Where that one is wrong, the mail is held against what was put in. Known of it, in Python 3.11: it
raises for a subject with a character that ``str.splitlines`` splits on (U+0085, U+2028, …), drops
blanks before a subject, and decodes what looks like an encoded word in a sender's name. Its parser
turns any run of blanks in a name into one, and puts one between two encoded words of a name, so
long names are read here as RFC 2047 section 6.2 says.
"""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.header import decode_header, make_header
from email.message import EmailMessage

from hypothesis import example, given
from hypothesis import strategies as st

from flask_courier.core.config import Sender
from flask_courier.core.messages import Parcel
from flask_courier.delivery.compose import compose, wire_address
from tests.delivery.parcels import SENDER, make_parcel
from tests.delivery.stdlib_mail import stdlib_compose

PIECES = st.sampled_from(
    [
        *(" ", "  ", "\t", "a", "x" * 30, "x" * 100, "=", "_", "?", "=?", "?=", "b:c", "J. Doe"),
        *('"', "\\", "(", ")", ",", ";", "<", ">", "@", "=?utf-8?q?a?=", "=?utf-8?b?YQ==?="),
        *("é", "e\u0301", "漢字", "\U0001f600", "\u05d0\u05d1", "\u202e", "\xa0", "\u2003"),
        *("\v", "\f", "\x1c", "\x7f", "\x85", "\u2028", "\ufeff"),
    ]
)
#: Anything that may stand in a header: no surrogate, no CR, LF or NUL.
HEADERS = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=200
) | st.lists(PIECES, max_size=12).map("".join)
#: What nobody's generator and parser disagree about; one encoded word is enough for it.
PLAIN = st.lists(
    st.text(
        st.characters(exclude_categories=["Cs", "Cc", "Cf", "Zs", "Zl", "Zp"]),
        min_size=1,
        max_size=4,
    ).filter(lambda word: "=?" not in word),
    max_size=2,
).map(" ".join)
LINES = st.text(st.characters(exclude_categories=["Cs"]), max_size=100) | st.sampled_from(
    [
        *("", ".", "..", " ", "  a  ", "\t", "=", "--", "--=_x", "\f", "\0", "=?utf-8?q?a?="),
        *("From me", "From " + "y" * 80, "From ", "z" * 75 + ".", "=" * 30, "\u05d0 RTL \u202e"),
        *("a" * length + blank for length in range(73, 78) for blank in (" ", "\t", "  ", "")),
        *("x" * 998, "x" * 2000, "é" * 600, "漢" * 90, "\U0001f600" * 40, "e\u0301" * 40),
    ]
)
BODIES = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r", ""])), max_size=8).map(
    lambda lines: "".join(line + end for line, end in lines)
)
DOMAINS = st.sampled_from(
    ["example.com", "bücher.example", "例え.example", "xn--bcher-kva.example", "[192.0.2.1]"]
)
LOCALS = st.sampled_from(["ada", "ada.lovelace+mail", "o'neill", "ådä", "用户", '"a b"', '"a\\"@"'])
ADDRESSES = st.emails() | st.tuples(LOCALS, DOMAINS).map("@".join)


def parse(raw: bytes) -> EmailMessage:
    """The mail as Python's default policy reads it."""
    message = message_from_bytes(raw, policy=policy.default)
    assert isinstance(message, EmailMessage)
    return message


def mailbox(message: EmailMessage, field: str) -> tuple[str, str]:
    """The display name and the address of the one mailbox in ``field``."""
    [address] = message[field].addresses
    # Bytes beyond ASCII come as surrogates (PEP 383).
    octets = address.addr_spec.encode("utf-8", "surrogateescape")
    return address.display_name, octets.decode("utf-8")


def parts(message: EmailMessage) -> list[str]:
    """The text of every part, to the last line end."""
    leaves = message.iter_parts() if message.is_multipart() else [message]
    return [leaf.get_content() for leaf in leaves]


def both(parcel: Parcel, sender: Sender = SENDER) -> tuple[EmailMessage, EmailMessage]:
    """The same mail from ``compose`` and from the standard library."""
    return (
        parse(compose(parcel, sender=sender, headers={})),
        parse(stdlib_compose(parcel, sender=sender, headers={})),
    )


def written_name(raw: bytes) -> str:
    """The name in the From field, read as RFC 5322 section 3.2 and RFC 2047 section 6.2 say."""
    field = re.search(rb"^From: (.*?)\r\nTo: ", raw, re.DOTALL | re.MULTILINE)
    assert field is not None
    folded = field[1].decode("ascii")
    phrase = folded.replace("\r\n", "").removesuffix(f" <{SENDER.address}>")
    if phrase == SENDER.address:
        return ""
    if phrase.startswith('"'):
        return re.sub(r"\\(.)", r"\1", phrase[1:-1])
    return str(make_header(decode_header(phrase))) if "=?" in phrase else phrase


@given(text=BODIES, html=st.none() | BODIES)
@example(text="", html="")
@example(text="\r", html="\n\r")
def test_bodies(text: str, html: str | None) -> None:
    """Both parts are read as those of the standard library's mail, to the last line end."""
    mine, reference = both(make_parcel(text, html=html))
    assert parts(reference) == parts(mine)


@given(subject=HEADERS)
@example(subject="")
@example(subject="é" * 500)
@example(subject=" " * 300 + "a")
@example(subject="x" * 68)
def test_subject(subject: str) -> None:
    """Any subject is read as it was written."""
    raw = compose(make_parcel(subject=subject), sender=SENDER, headers={})
    assert subject == parse(raw)["Subject"]


@given(subject=PLAIN, name=PLAIN)
def test_subject_and_name_as_the_standard_library_writes_them(subject: str, name: str) -> None:
    """An ordinary subject and name are read as those of the standard library's mail."""
    mine, reference = both(make_parcel(subject=subject), Sender(name, SENDER.address))
    assert reference["Subject"] == mine["Subject"] == subject
    assert mailbox(reference, "From") == mailbox(mine, "From") == (name, SENDER.address)


@given(name=HEADERS)
@example(name='a, "b" <c@d.example>')
@example(name="é" * 500)
@example(name=" " * 300 + "a")
@example(name="x" * 75)
def test_name(name: str) -> None:
    """Any sender's name is read as it was written."""
    raw = compose(make_parcel(), sender=Sender(name, SENDER.address), headers={})
    assert name == written_name(raw)


@given(name=HEADERS)
def test_name_never_touches_the_address(name: str) -> None:
    """Whatever the name, there is one sender, and it is the one that was configured."""
    message = parse(compose(make_parcel(), sender=Sender(name, SENDER.address), headers={}))
    assert SENDER.address == mailbox(message, "From")[1]


@given(recipient=ADDRESSES, address=st.emails())
def test_addresses(recipient: str, address: str) -> None:
    """Recipient and sender are read as those of the standard library's mail."""
    mine, reference = both(make_parcel(recipient=recipient), Sender("", address))
    assert mailbox(reference, "To") == mailbox(mine, "To") == ("", wire_address(recipient))
    assert mailbox(reference, "From") == mailbox(mine, "From") == ("", address)


@given(subject=HEADERS, name=HEADERS, text=BODIES, html=BODIES)
@example(subject="a", name="a", text="a\0", html="a\rb")
@example(subject="x" * 2000, name="x" * 2000, text="x" * 2000, html="é" * 2000)
def test_seven_bits_and_short_lines(subject: str, name: str, text: str, html: str) -> None:
    """To an ASCII address: 7 bits, no NUL, no bare CR or LF, no line over 78 octets."""
    parcel = make_parcel(text, subject=subject, html=html)
    raw = compose(parcel, sender=Sender(name, SENDER.address), headers={})
    assert raw.isascii()
    assert b"\0" not in raw
    assert raw.count(b"\n") == raw.count(b"\r") == raw.count(b"\r\n")
    assert max(map(len, raw.split(b"\r\n"))) <= 78


@given(subject=HEADERS, name=HEADERS)
def test_encoded_words_are_short_and_whole(subject: str, name: str) -> None:
    """Encoded words have 75 characters at most, in lines of 76, and each decodes by itself."""
    raw = compose(make_parcel(subject=subject), sender=Sender(name, SENDER.address), headers={})
    for line in raw.partition(b"\r\n\r\n")[0].decode("ascii").split("\r\n"):
        for word in re.findall(r"=\?utf-8\?[bq]\?\S*?\?=(?=\s|$)", line):
            assert len(word) <= 75
            assert len(line) <= 76
            [(octets, charset)] = decode_header(word)
            assert ("utf-8", word.isascii()) == (charset, True)
            assert octets.decode("utf-8")


@given(text=BODIES)
@example(text="z" * 75 + ".\n" + "z" * 80)
@example(text="a" * 74 + " \n" + "z" * 80)
@example(text="z" * 75 + "From me\n")
def test_encoded_lines(text: str) -> None:
    """Encoded bodies have lines of 76 at most, with no blank at the end, no "From " at the start.

    RFC 2045 section 6.7; programs that write ">From" would change the mail.
    """
    raw = compose(make_parcel(text), sender=SENDER, headers={})
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = body.split(b"\r\n")
    assert not any(line.startswith(b"From ") for line in lines)
    if b"Content-Transfer-Encoding: 7bit" not in head:
        assert max(map(len, lines)) <= 76
        assert not any(line.endswith((b" ", b"\t")) or line == b"." for line in lines)


@given(recipient=ADDRESSES, subject=HEADERS, text=BODIES)
def test_only_an_address_is_wider_than_seven_bits(recipient: str, subject: str, text: str) -> None:
    """To an address that needs SMTPUTF8 nothing but the To field is beyond ASCII."""
    raw = compose(
        make_parcel(text, subject=subject, recipient=recipient), sender=SENDER, headers={}
    )
    wide = [line for line in raw.split(b"\r\n") if not line.isascii()]
    assert wide == (
        [] if wire_address(recipient).isascii() else [f"To: {wire_address(recipient)}".encode()]
    )
