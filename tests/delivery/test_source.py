"""A mail for people to read: what goes out, with a dot in place of each character of a secret."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Credentials
from flask_courier.core.tokens import TOKEN_LENGTH, Key, KeyRing, Purpose, Secret, Seed
from flask_courier.delivery.compose import composer
from flask_courier.delivery.source import masked_source
from tests.delivery.parcels import CODE_MARK, NOT_ME_MARK, SENDER, TOKEN_MARK, make_parcel

KEY = Key(b"a secret of more than sixteen")
SEED = Seed(Purpose.RECOVERY, "message", bytes(range(16)))
TOKEN = KEY.sign(Purpose.RECOVERY, KEY.token_id(SEED))
CODE = KEY.code(SEED, 8)
REAL = Credentials(TOKEN, CODE, Secret(TOKEN.value[::-1]))
COMPOSE = composer("smtp.mailgun.org", sender=SENDER, headers={"X-Site": "acme"})
WORDS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=90)


def test_length_of_a_token() -> None:
    """A stand-in is as long as a signed token."""
    assert TOKEN_LENGTH == len(
        KeyRing([b"a secret of more than sixteen"]).current.sign(Purpose.RECOVERY, bytes(16)).value
    )


@given(before=WORDS, after=WORDS)
@example(before="日本語" * 30, after="\n" + "é" * 80)
@example(before="x" * 75, after="")
def test_source_is_what_goes_out(before: str, after: str) -> None:
    """Every character is the one that goes out or a dot, in any encoding; no secret is in it."""
    text = f"{before}https://acme.example/{TOKEN_MARK} {CODE_MARK}{after}\n{NOT_ME_MARK}\n"
    parcel = make_parcel(
        text, html=f"<p>{text}</p>", subject=f"Your code: {CODE_MARK}", secret=True
    )
    sent = COMPOSE(replace(parcel, credentials=REAL)).decode()
    shown = masked_source(COMPOSE, parcel, code_digits=len(CODE.value))
    assert len(sent) == len(shown)
    assert {"•"} == {b for a, b in zip(sent, shown, strict=True) if a != b}
    assert all(secret not in shown for secret in REAL.values)
    assert "X-Site: acme\r\nX-Mailgun-Track-Clicks: no" in shown


def test_mail_without_a_secret() -> None:
    """A mail that carries no secret is shown as it goes out."""
    parcel = make_parcel("F9•\n")
    assert COMPOSE(parcel).decode() == masked_source(COMPOSE, parcel, code_digits=8)


def test_mail_that_cannot_be_written() -> None:
    """What no worker would send is not shown either: the error says why."""
    parcel = make_parcel(recipient="ada@example.com\r\nBcc: eve@example.com")
    with pytest.raises(RenderError):
        masked_source(COMPOSE, parcel, code_digits=8)
