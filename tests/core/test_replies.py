"""What a reply of an SMTP server means in each phase, and what of its text is kept."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_courier.core.replies import Outcome, Phase, Reply, masked, printable

MARK = "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        (550, "5.1.1 no such user", "5.1.1"),
        (451, "4.7.1", "4.7.1"),
        (250, "2.0.0\nqueued", "2.0.0"),
        (550, "5.7.509 dmarc", "5.7.509"),
        (550, "4.1.1 class of another code", None),
        (450, "5.1.1 class of another code", None),
        (354, "3.0.0 no such class", None),
        (550, " 5.1.1 not at the start", None),
        (550, "no such user 5.1.1", None),
        (550, "5.1.1234 too long", None),
        (550, "5.1.1.1 an address", None),
        (550, "5.1", None),
        (550, "5.1.\u0661 not an ASCII digit", None),
        (550, "", None),
    ],
)
def test_enhanced_code(code: int, text: str, expected: str | None) -> None:
    """RFC 3463: the code heads the text, and its first digit is the reply's."""
    assert expected == Reply(code, text).enhanced_code


@given(text=st.text())
@example(text="\x00\r\x1b[31m\u2028\ud800")
@example(text="é" * 2000)
@example(text="\ud800" * 2000)
def test_printable_fits_any_database(text: str) -> None:
    """What is kept is at most 2048 bytes of UTF-8, without a control but the line feed."""
    kept = printable(text)
    assert len(kept.encode()) <= 2048
    assert all(c == "\n" or c.isprintable() for c in kept)


@given(text=st.text())
@example(text="é" * 2000)
@example(text="\0" * 2000)
def test_printable_is_stable(text: str) -> None:
    """What is kept once is kept the same a second time."""
    assert printable(text) == printable(printable(text))


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("5.1.1 <ada@example.com>: héllo\nsecond line", None),
        ("a\0b", f"a{MARK}b"),
        ("a\r\nb", f"a{MARK}\nb"),
        ("a\tb\x7fc", f"a{MARK}b{MARK}c"),
        ("a\ud800b", f"a{MARK}b"),
        ("a\u2028b\u202ec\ufeffd", f"a{MARK}b{MARK}c{MARK}d"),
        ("x" * 2048, None),
        ("x" * 2049, "x" * 2048),
        ("x" * 2047 + "é", "x" * 2047),
        ("x" * 2046 + "é", None),
    ],
)
def test_printable_replaces_what_cannot_be_shown(text: str, kept: str | None) -> None:
    """Words stay, controls become U+FFFD, and the cut falls between characters."""
    assert (text if kept is None else kept) == printable(text)


@pytest.mark.parametrize(
    ("secrets", "kept"),
    [
        ((), "550 link/abcdef code 123"),
        (("",), "550 link/abcdef code 123"),
        (("abcdef",), "550 link/•••• code 123"),
        (("abc", "abcdef", "123"), "550 link/•••• code ••••"),
        (("abcdef", "abc", "link/abcdef"), "550 •••• code 123"),
        (("absent",), "550 link/abcdef code 123"),
    ],
)
def test_masked_covers_the_longest_secret_first(secrets: tuple[str, ...], kept: str) -> None:
    """Every secret becomes dots, and one that contains another leaves no rest."""
    assert kept == masked("550 link/abcdef code 123", secrets)


@given(
    secrets=st.lists(st.text("ab1", min_size=1, max_size=6), max_size=4),
    text=st.text("ab1 ", max_size=60),
)
def test_masked_leaves_no_secret(secrets: list[str], text: str) -> None:
    """Whatever overlaps or repeats, no secret is left in the text."""
    assert [] == [secret for secret in secrets if secret in masked(text, secrets)]


@pytest.mark.parametrize("member", [*Phase, *Outcome])
def test_words_read_as_their_value(member: Phase | Outcome) -> None:
    """A phase or an outcome in a sentence is its value."""
    assert member.value == str(member) == f"{member}"
