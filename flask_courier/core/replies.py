"""What an SMTP server's answer means for a message.

A session reports the phase it was in and the reply it got; ``reply_table.judge`` says what that
amounts to. Up to and including MAIL a fault speaks about the connection, the login or the sender,
never about the recipient; from RCPT on it speaks first about the message (RFC 5321 sections 3.3,
4.2).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

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
    #: The server wants less mail, or fewer connections, for now; says nothing of the message.
    THROTTLED = "throttled"
    #: The connection or its server failed and may recover alone; says nothing of the message.
    TRANSPORT_FAULT = "transport_fault"
    #: The connection, its encryption, its login or the sender was refused in a way that lasts until
    #: somebody changes something; says nothing of the message.
    OPERATOR_FAULT = "operator_fault"
    #: The connection broke after the final dot: the server may or may not have the message
    #: (RFC 1047).
    UNKNOWN = "unknown"

    def __str__(self) -> str:
        return self.value


#: Outcomes that speak of the transport and use none of the message's attempts.
TRANSPORT_OUTCOMES = frozenset({Outcome.THROTTLED, Outcome.TRANSPORT_FAULT, Outcome.OPERATOR_FAULT})


class Trouble(str, enum.Enum):
    """What broke where no reply of the server says it."""

    #: The host's name does not exist (EAI_NONAME).
    NO_SUCH_HOST = "no_such_host"
    #: The resolver did not answer, or not finally (EAI_AGAIN).
    LOOK_UP = "look_up"
    #: Nobody listens, or no route leads there.
    REFUSED = "refused"
    TIMED_OUT = "timed_out"
    #: The connection ended before the answer came.
    DROPPED = "dropped"
    CERTIFICATE_EXPIRED = "certificate_expired"
    #: It is for another name than the one that was dialled, or named by ``server_name``.
    CERTIFICATE_NAME = "certificate_name"
    #: Its issuer is not known here, or it has none but itself.
    CERTIFICATE_ISSUER = "certificate_issuer"
    #: The certificate does not prove that this is the server, for any other reason.
    CERTIFICATE = "certificate"
    #: Any other failure of the TLS handshake.
    TLS = "tls"
    #: STARTTLS is required and not offered.
    NO_STARTTLS = "no_starttls"
    #: The URI has a login and the server offers no mechanism that is known here.
    NO_AUTH = "no_auth"
    #: The address needs SMTPUTF8 (RFC 6531), which the server does not offer.
    NO_SMTPUTF8 = "no_smtputf8"
    #: A line nobody asked for, a reply that does not fit its place, or no SMTP reply at all.
    OUT_OF_STEP = "out_of_step"
    #: This worker was about to lose its lease and hung up before the final dot.
    LEASE = "lease"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Verdict:
    """What the end of an attempt amounts to."""

    outcome: Outcome
    #: Which row of the table said so: a stable word that pages and ``--json`` show, and that
    #: ``core.causes`` puts in plain language.
    cause: str
    #: The soonest that trying again makes sense, if the reply or its kind says so.
    wait: timedelta | None = None
    #: For an answer from RCPT on that may be meant for all mail (a dropped connection, 421, "relay
    #: denied"): the outcome it has if several messages for different domains get it in a row.
    #: One alone speaks of its message.
    suspect: Outcome | None = None


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
