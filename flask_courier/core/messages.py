"""The values that cross the floors: what is queued, what is claimed, what came of it."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flask_courier.core.replies import Outcome, Phase
from flask_courier.core.tokens import Key, Purpose, Secret, Seed

#: What a context value may be once it has passed through JSON.
Context = Mapping[str, Any]

#: Context keys that begin so belong to the extension.
RESERVED_PREFIX = "_"
#: Where a message keeps the URL its links are built from, if PUBLIC_URL is not set.
PUBLIC_URL_KEY = "_public_url"

#: Where a change of address keeps how its account was when its owner asked, as an HMAC.
STATE_KEY = "_state"

#: Where a verification keeps which browser the account was made in, as an HMAC.
BROWSER_KEY = "_browser"


class Lane(enum.IntEnum):
    """Which queue a message waits in; a lower lane is claimed first."""

    #: Somebody is waiting for it at a screen: recovery, verification.
    ACCOUNT = 0
    #: Everything else: notices and the application's own mail.
    NOTICE = 1


@dataclass(frozen=True)
class NewMessage:
    """One mail to one recipient, before it is queued."""

    kind: str
    recipient: str
    lane: Lane
    lifetime: timedelta
    account_ref: str | None = None
    locale: str | None = None
    context: Context = field(default_factory=dict[str, Any])
    requester_key: str | None = None
    #: How long it stays unseen by workers; an answer must not be timed by its delivery.
    delay: timedelta = timedelta(0)
    #: When it is due, if not at once; its life counts from then.
    send_at: datetime | None = None
    #: A second message of the kind with the same key is not queued.
    idempotency_key: str | None = None
    resend_of: uuid.UUID | None = None


@dataclass(frozen=True)
class Claim:
    """A message a worker holds a lease on, as it was when it was claimed."""

    id: uuid.UUID
    kind: str
    recipient: str
    account_ref: str | None
    locale: str | None
    context: Context
    lane: int
    attempts: int
    claims: int
    created_at: datetime
    expires_at: datetime
    prepared_at: datetime | None
    lease_token: str
    message_id_header: str | None
    #: The database's time when it was claimed.
    claimed_at: datetime | None = None

    @property
    def key(self) -> tuple[uuid.UUID, str]:
        """Tells this claim from an earlier one of the same message."""
        return self.id, self.lease_token


@dataclass(frozen=True)
class Draft:
    """What a kind's ``prepare`` answers: everything its templates need."""

    recipient: str
    account_ref: str | None
    #: Templates are ``<template>.subject.txt``, ``.txt`` and ``.html``.
    template: str
    #: JSON, and spans and moments that become words of the mail's language.
    context: Context
    #: Language tags for the mail, the most welcome first.
    locales: tuple[str | None, ...] = ()
    #: The path before the token in the link, or None for a mail that carries no token.
    link_path: str | None = None
    #: What a mail with a link carries.
    credentials: Credentials | None = None
    #: The path before the token of the "this was not me" link, or None for a mail without one.
    not_me_path: str | None = None
    #: Whether the code opens what the link opens.
    with_code: bool = True


@dataclass(frozen=True)
class Refusal:
    """What a kind's ``prepare`` answers when no mail goes out; the row keeps the reason."""

    reason: str


#: What stands on every page and in every record in place of a token or a code.
DOTS = "••••••••"


@dataclass(frozen=True)
class Rendered:
    """A mail as templates made it: where a token and a code go stands a placeholder."""

    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str | None = field(repr=False)
    #: 128 random bits drawn for this render, or None where there is nothing to put in.
    placeholder: str | None = None

    def fill(self, token: str, code: str, not_me: str) -> Rendered:
        """The same mail with its tokens and its code where the templates asked for them."""
        if self.placeholder is None:
            return self
        marked = marks(self.placeholder)

        def put_in(part: str) -> str:
            for mark, secret in zip(marked, (token, code, not_me), strict=True):
                part = part.replace(mark, secret)
            return part

        return Rendered(
            put_in(self.subject),
            put_in(self.text),
            None if self.html is None else put_in(self.html),
        )

    def masked(self) -> Rendered:
        """The same mail with dots where the tokens and the code went."""
        return self.fill(DOTS, DOTS, DOTS)


def marks(placeholder: str) -> tuple[str, str, str]:
    """What templates get instead of a token, of a code, and of a "this was not me" token.

    Letters and digits, so that no escaping changes them; none is part of another.
    """
    return f"{placeholder}t", f"{placeholder}c", f"{placeholder}n"


@dataclass(frozen=True)
class Credentials:
    """What a mail carries and nothing keeps."""

    token: Secret
    code: Secret
    #: The token of the "this was not me" link.
    not_me: Secret
    #: What the two tokens carry, signed.
    token_id: bytes = field(default=b"", repr=False)
    not_me_id: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, key: Key, seed: Seed, *, digits: int) -> Credentials:
        """What a mail of this seed carries, the same each time it is derived.

        :param digits: how many a code has.
        """
        token_id, not_me_id = key.token_id(seed), key.token_id(seed.of(Purpose.NOT_ME))
        return cls(
            key.sign(seed.purpose, token_id),
            key.code(seed, digits),
            key.sign(Purpose.NOT_ME, not_me_id),
            token_id,
            not_me_id,
        )

    @property
    def values(self) -> tuple[str, str, str]:
        """All of them in the clear, in the order of :func:`marks`."""
        return self.token.value, self.code.value, self.not_me.value


@dataclass(frozen=True)
class Mail:
    """Everything that the bytes of one mail are made of."""

    recipient: str
    rendered: Rendered
    #: Fixed when the message was prepared, so that a retry is byte-equal.
    date: datetime
    message_id_header: str
    credentials: Credentials | None


@dataclass(frozen=True)
class Parcel(Mail):
    """Everything one delivery attempt needs; holds no database row."""

    claim: Claim


@dataclass(frozen=True)
class SendResult:
    """What one delivery attempt came to, told by the SMTP session; judged by ``core.retry``."""

    outcome: Outcome
    phase: Phase
    transport: str
    #: Wall-clock start by the worker's clock, and length by its monotonic one.
    started_at: datetime
    duration: timedelta
    host: str | None = None
    address: str | None = None
    tls_version: str | None = None
    tls_cipher: str | None = None
    code: int | None = None
    enhanced_code: str | None = None
    #: The server's words, or what broke, masked and printable.
    text: str = ""
    #: As in ``core.replies.Verdict``.
    cause: str = ""
    wait: timedelta | None = None
    suspect: Outcome | None = None


@dataclass(frozen=True)
class RecordedMessage:
    """A mail as ``record_messages`` shows it to a test: with everything in the clear."""

    kind: str
    recipient: str
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str | None = field(repr=False)
    link: str | None = field(repr=False)
    token: str | None = field(repr=False)
    code: str | None = field(repr=False)
