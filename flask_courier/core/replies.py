"""What an SMTP server's answer means for a message.

A session reports the phase it was in and the reply it got; :func:`classify` says what that amounts
to. Up to and including MAIL a fault speaks about the connection, the login or the sender, never
about the recipient; from RCPT on it speaks first about the message (RFC 5321 sections 3.3, 4.2).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass

_ENHANCED = re.compile(r"\A([245]\.[0-9]{1,3}\.[0-9]{1,3})(?=\s|\Z)")
_REPLY_LIMIT = 2048


class Phase(str, enum.Enum):
    """How far a delivery attempt had come."""

    DIAL = "dial"
    TLS = "tls"
    BANNER = "banner"
    EHLO = "ehlo"
    AUTH = "auth"
    MAIL = "mail"
    RCPT = "rcpt"
    DATA = "data"
    #: The final dot went out: whatever happens now, the server may have the message.
    DOT = "dot"

    def __str__(self) -> str:
        return self.value


class Outcome(str, enum.Enum):
    """What one delivery attempt came to."""

    #: The server took responsibility for the message (RFC 5321 section 4.2.5).
    ACCEPTED = "accepted"
    #: A transient refusal of this message (4yz).
    DEFERRED = "deferred"
    #: A permanent refusal of this message (5yz).
    REJECTED = "rejected"
    #: The connection, its encryption, its login or the sender failed; says nothing of the message.
    TRANSPORT_FAULT = "transport_fault"
    #: The connection broke after the final dot: the server may or may not have the message
    #: (RFC 1047).
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


#: Phases whose faults are the transport's.
_TRANSPORT_PHASES = frozenset(
    {Phase.DIAL, Phase.TLS, Phase.BANNER, Phase.EHLO, Phase.AUTH, Phase.MAIL}
)


@dataclass(frozen=True)
class Reply:
    """One SMTP reply: its code, its text, and the enhanced code of RFC 3463 if it carries one."""

    code: int
    text: str

    @property
    def enhanced_code(self) -> str | None:
        """``"5.1.1"``, or None; its class must agree with the code (RFC 3463 section 2)."""
        found = _ENHANCED.match(self.text)
        if found is None or found[1][0] != str(self.code)[0]:
            return None
        return found[1]


def classify(phase: Phase, reply: Reply | None) -> Outcome:
    """What ``reply`` in ``phase`` means; None is a connection that broke or timed out.

    A reply below 400 before the final dot does not fit its place (the session expected something
    else), which is the transport's fault.
    """
    if phase in _TRANSPORT_PHASES:
        return Outcome.TRANSPORT_FAULT
    if reply is None:
        # Before the dot the server must drop the transaction (RFC 5321 section 4.1.1.10), so a
        # second try cannot make a second copy.
        return Outcome.UNKNOWN if phase is Phase.DOT else Outcome.TRANSPORT_FAULT
    if 200 <= reply.code < 300 and phase is Phase.DOT:
        return Outcome.ACCEPTED
    if 400 <= reply.code < 500:
        return Outcome.DEFERRED
    if 500 <= reply.code < 600:
        return Outcome.REJECTED
    return Outcome.UNKNOWN if phase is Phase.DOT else Outcome.TRANSPORT_FAULT


def printable(text: str) -> str:
    """``text`` as any database and page can hold it: no NUL, no control, no lone surrogate, 2 kB.

    Line breaks stay; everything else that is not printable becomes U+FFFD. The cut is made in
    UTF-8 bytes, at a character.
    """
    clean = "".join(
        c if c == "\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text
    )
    raw = clean.encode("utf-8", "replace")
    return raw[:_REPLY_LIMIT].decode("utf-8", "ignore")


def masked(text: str, secrets: Iterable[str]) -> str:
    """``text`` without any of ``secrets``: servers quote in their errors what they were sent."""
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, "••••")
    return text
