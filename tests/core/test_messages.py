"""Mail with a placeholder: what is put in, where, and what is not touched."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.messages import DOTS, Credentials, Lane, RecordedMessage, Rendered, marks
from flask_courier.core.tokens import Secret

PLACEHOLDER = "0123456789abcdef" * 2
TOKEN_MARK, CODE_MARK, NOT_ME_MARK = marks(PLACEHOLDER)

MAIL = Rendered(
    f"Code {CODE_MARK}",
    f"{TOKEN_MARK} {CODE_MARK} {TOKEN_MARK}",
    f"<a href='/{TOKEN_MARK}'>{CODE_MARK}</a>",
    PLACEHOLDER,
)

placeholders = st.binary(min_size=16, max_size=16).map(bytes.hex)


def test_fill_puts_token_and_code_in() -> None:
    """Every mark of subject, text and HTML is replaced, and the placeholder is gone."""
    expected = Rendered("Code 123", "T 123 T", "<a href='/T'>123</a>", None)
    assert expected == MAIL.fill("T", "123", "N")


def test_masked_puts_dots_in() -> None:
    """What pages show has eight dots where the token and the code went."""
    expected = Rendered(
        f"Code {DOTS}", f"{DOTS} {DOTS} {DOTS}", f"<a href='/{DOTS}'>{DOTS}</a>", None
    )
    assert expected == MAIL.masked()
    assert "••••••••" == DOTS


def test_mail_without_html_stays_without() -> None:
    """Filling a mail of text alone makes no HTML part."""
    plain = dataclasses.replace(MAIL, html=None)
    assert plain.fill("T", "123", "N").html is None


def test_mail_without_placeholder_is_not_touched() -> None:
    """In a mail that carries nothing, not even the form of a mark is replaced."""
    mail = dataclasses.replace(MAIL, placeholder=None)
    assert mail.fill("T", "123", "N") is mail
    assert mail.masked() is mail


@given(own=placeholders, other=placeholders)
def test_marks_of_another_render_stay(own: str, other: str) -> None:
    """A context that holds the mark of some other mail receives nothing."""
    marked = marks(other)
    text = f"{' '.join(marked)} {other}"
    filled = Rendered("", text, None, own).fill("T", "123", "N").text
    assert (text == filled) == (own != other)


@given(placeholder=placeholders)
def test_marks_are_letters_and_digits(placeholder: str) -> None:
    """No escaping of HTML, URLs or headers changes a mark, and none is part of another."""
    marked = marks(placeholder)
    assert all(mark.isalnum() and mark.isascii() for mark in marked)
    assert [] == [
        (one, other) for one in marked for other in marked if one != other and one in other
    ]


def test_marks_are_the_placeholder_and_a_letter() -> None:
    """The token's mark ends in t, the code's in c, that of "this was not me" in n."""
    assert (f"{PLACEHOLDER}t", f"{PLACEHOLDER}c", f"{PLACEHOLDER}n") == marks(PLACEHOLDER)


def test_credentials_show_nothing() -> None:
    """The repr of what a mail carries shows neither token nor code."""
    shown = repr(Credentials(Secret("hunter2"), Secret("12345678"), Secret("hunter3")))
    assert "Credentials(token=Secret(), code=Secret(), not_me=Secret())" == shown


def test_account_mail_goes_first() -> None:
    """Lanes sort as they are claimed."""
    assert [Lane.ACCOUNT, Lane.NOTICE] == sorted(Lane)


def test_recorded_message_shows_no_content() -> None:
    """The repr of a recorded mail leaves out everything that holds link, token or code."""
    mail = RecordedMessage("recovery", "a@b.example", *["hunter2"] * 6)
    assert "RecordedMessage(kind='recovery', recipient='a@b.example')" == repr(mail)


def test_rendered_mail_shows_no_content() -> None:
    """The repr of a mail, which may be filled, leaves its parts out."""
    assert "Rendered(placeholder=None)" == repr(MAIL.fill("hunter2", "hunter2", "hunter2"))
