"""Parcels as the worker hands them to a transport."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

from flask_courier.core.config import Sender
from flask_courier.core.messages import Claim, Credentials, Lane, Parcel, Rendered, marks
from flask_courier.core.tokens import Secret

SENDER = Sender("Acme", "no-reply@acme.example")
MOMENT = datetime(2031, 5, 1, 12, 0, tzinfo=timezone.utc)
PLACEHOLDER = "0" * 32
TOKEN_MARK, CODE_MARK, NOT_ME_MARK = marks(PLACEHOLDER)
TOKEN = "dG9rZW4.c2lnbmF0dXJl"
CODE = "48151623"
NOT_ME = "bm90bWU.c2lnbmF0dXJl"
MESSAGE_ID = "<0123456789abcdef@acme.example>"


def make_claim(**values: Any) -> Claim:
    """A claim on a message to Ada."""
    fields: dict[str, Any] = {
        "id": uuid.UUID(int=1),
        "kind": "recovery",
        "recipient": "ada@example.com",
        "account_ref": None,
        "locale": None,
        "context": {},
        "lane": Lane.ACCOUNT,
        "attempts": 0,
        "claims": 1,
        "created_at": MOMENT,
        "expires_at": MOMENT + timedelta(minutes=30),
        "prepared_at": None,
        "lease_token": "0" * 32,
        "message_id_header": None,
    }
    return Claim(**{**fields, **values})


def make_parcel(
    text: str = "hello\n",
    *,
    subject: str = "Hello",
    html: str | None = None,
    recipient: str = "ada@example.com",
    secret: bool = False,
) -> Parcel:
    """A parcel; with ``secret`` its marks stand for a token and a code."""
    credentials = Credentials(Secret(TOKEN), Secret(CODE), Secret(NOT_ME)) if secret else None
    rendered = Rendered(subject, text, html, PLACEHOLDER if secret else None)
    return Parcel(recipient, rendered, MOMENT, MESSAGE_ID, credentials, make_claim())
