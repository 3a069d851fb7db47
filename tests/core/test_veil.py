"""Addresses are masked wherever they stand, and nothing else is."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.status import Status
from flask_courier.core.veil import veiled


@dataclass(frozen=True)
class Row:
    """A message, as far as it matters here."""

    recipient: str
    last_error: str | None = None
    message_id_header: str | None = None
    status: Status = Status.SENT
    kind: str = "recovery"


@dataclass(frozen=True)
class Reply:
    """A server's words."""

    reply: str


@dataclass(frozen=True)
class Whole:
    """A message with what belongs to it."""

    entry: Row
    attempts: tuple[Reply, ...]
    notes: list[str]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ada@example.com", "a•••@example.com"),
        ("5.1.1 <ada@example.com>: unknown", "5.1.1 <a•••@example.com>: unknown"),
        ("RCPT TO:<ada+x@example.com>", "RCPT TO:<a•••@example.com>"),
        ('"ada b"@x and "a.b"@example.com', '"ada b"@x and "•••@example.com'),
        ("ada@example.com,bob@example.com", "a•••@example.com,b•••@example.com"),
        ("ädä@exämple.com", "ä•••@exämple.com"),
        ("https://x.example/?q=ada@example.com", "https://x.example/?q•••@example.com"),
        ("no address @ all", "no address @ all"),
        ("250 2.0.0 queued as 4F", "250 2.0.0 queued as 4F"),
        ("", ""),
    ],
)
def test_text(text: str, expected: str) -> None:
    """Of each address its first letter and its domain are left."""
    assert expected == veiled(text)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("5.1.1 User ada.l unknown", "5.1.1 User a••• unknown"),
        ("no mailbox ADA.L here", "no mailbox A••• here"),
        ("<SRS0=x=example.com=ada.l@relay>", "<S•••@relay>"),
        ("ada.l=example.com", "a•••=example.com"),
        ("ada.lovelace is another", "ada.lovelace is another"),
        ("4.7.1 greylisted", "4.7.1 greylisted"),
    ],
)
def test_mailbox_alone(said: str, expected: str) -> None:
    """A server that names the mailbox without its domain names nobody either."""
    assert expected == veiled(Row("ada.l@example.com", said)).last_error


def test_short_mailbox_is_a_word() -> None:
    """A mailbox of two letters could be any word of a server's."""
    assert "is it so" == veiled(Row("is@example.com", "is it so")).last_error


def test_words_of_ours_stay() -> None:
    """What is not text from elsewhere keeps its words, whatever the mailbox is called."""
    row = veiled(Row("recovery@example.com", message_id_header="<1@acme.example>"))
    assert ("r•••@example.com", "<1@acme.example>", Status.SENT, "recovery") == (
        row.recipient,
        row.message_id_header,
        row.status,
        row.kind,
    )


def test_what_a_message_is_made_of() -> None:
    """The veil falls over all that belongs to a message, which names its mailbox."""
    whole = Whole(
        Row("ada@example.com"),
        (Reply("ada is full"), Reply("<ada@example.com>")),
        ["bob@x.example"],
    )
    assert (("a••• is full", "<a•••@example.com>"), ["b•••@x.example"]) == (
        tuple(one.reply for one in veiled(whole).attempts),
        veiled(whole).notes,
    )


@pytest.mark.parametrize("letter", ["a", "@", '"', "a."])
def test_long_text_without_a_blank(letter: str) -> None:
    """It is read once, and not once more from each of its letters, which would take hours."""
    text = letter * 1_000_000
    assert f"{text} a•••@example.com" == veiled(f"{text} ada@example.com")


@given(st.text(), st.from_regex(r"[a-z]{3,12}", fullmatch=True), st.text())
def test_no_address_is_left(before: str, local: str, after: str) -> None:
    """Whatever stands around it, the address that a message went to is in no text of it."""
    address = f"{local}@example.com"
    row = veiled(Row(address, f"{before} {address} {after}"))
    assert address not in str(row)
