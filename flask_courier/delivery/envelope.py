"""What an SMTP session is given: where to go, how long to wait, and what to carry there."""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from flask_courier.core.replies import masked
from flask_courier.core.smtp_uri import SmtpUri

#: Characters a line of the payload must have to be recognised in a reply.
_SHORTEST_QUOTE = 6

_LINE_END = re.compile(rb"\r\n|\r|\n")


@dataclass(frozen=True)
class Timeouts:
    """Seconds that each part of a connection may take."""

    #: For one address of the host.
    address: float = 10.0
    #: For looking the host up and reaching any address of it.
    dial: float = 30.0
    #: For each of TLS, the banner, EHLO and AUTH. RFC 5321 section 4.5.3.2.1 would wait 5 minutes
    #: for a banner; here nothing is lost by giving up, and mail that somebody waits for gains.
    handshake: float = 60.0
    #: For the replies to MAIL, RCPT and RSET (RFC 5321 sections 4.5.3.2.2 and .3).
    command: float = 300.0
    #: For 354 (section 4.5.3.2.4).
    data: float = 120.0
    #: For room to write the next part of a payload (section 4.5.3.2.5).
    block: float = 180.0
    #: For the reply to the final dot (section 4.5.3.2.6): giving up early makes duplicates.
    dot: float = 600.0
    #: For the reply to QUIT; nothing depends on it.
    quit: float = 5.0


@dataclass(frozen=True)
class Reuse:
    """How long a connection is kept for further messages."""

    #: Seconds without a message. Servers wait 5 minutes (RFC 5321 section 4.5.3.2.7); many less.
    idle: float = 30.0
    #: Seconds since it was opened, as in Postfix (``smtp_connection_reuse_time_limit``): a provider
    #: that moves its name to other machines, or changes its certificate, is followed.
    age: float = 300.0
    #: Messages, as in Exim (``connection_max_messages``): below what servers commonly allow, and
    #: the price of a new connection spread over so many is small.
    messages: int = 500


@dataclass(frozen=True)
class SmtpSettings:
    """What every connection of a transport has in common."""

    uri: SmtpUri
    #: None for cleartext.
    tls: ssl.SSLContext | None
    #: The name given with EHLO (RFC 5321 section 4.1.1.1).
    local_name: str
    #: What the transport's rows are called: host, port, and something that changes with the URI.
    name: str = ""
    #: Whether several commands may go out at once (RFC 2920).
    pipelining: bool = True
    timeouts: Timeouts = Timeouts()
    reuse: Reuse = Reuse()


@dataclass(frozen=True)
class Envelope:
    """One message on the wire: RFC 5321 addresses, RFC 5322 bytes, and what no reply may repeat."""

    sender: str
    recipient: str
    payload: bytes = field(repr=False)
    #: The token and the code inside the payload.
    secrets: tuple[str, ...] = field(repr=False)

    def lines(self) -> bytes:
        """The payload in lines that end with CRLF, the last one too.

        A bare CR or LF never goes out (RFC 5321 section 2.3.8): some servers would take it for a
        line end, and what follows for the end of the message and further commands.
        """
        payload = self.payload
        ends = payload.count(b"\r\n")
        if not ends == payload.count(b"\n") == payload.count(b"\r"):
            payload = _LINE_END.sub(b"\r\n", payload)
        return payload if payload.endswith(b"\r\n") else payload + b"\r\n"

    def unspeakable(self, longest: int = sys.maxsize) -> tuple[str, ...]:
        """What no record of a reply may repeat: the secrets, in whatever encoding they went out.

        :param longest: leave out what is longer, since it is not in a text of so many characters.

        Quoted-printable and base64 break a token over lines, so every line of the payload counts.
        """
        if not self.secrets:
            return ()
        lines = self.payload.decode("utf-8", "replace").splitlines()
        return (*self.secrets, *[line for line in lines if _SHORTEST_QUOTE <= len(line) <= longest])


def without(text: str, words: Sequence[str]) -> str:
    """The same as ``masked(text, words)``, in a tenth of the time where ``text`` has none of them.

    A reply is short, and nearly all say nothing of the mail. Where no word is in ``text``, nothing
    would have been replaced; where any is, everything is done.
    """
    if [word for word in words if word in text]:
        return masked(text, words)
    return text


def stuffed(lines: bytes) -> bytes:
    """``lines`` with a dot before each dot that begins a line (RFC 5321 section 4.5.2)."""
    if b"\r\n." in lines:
        lines = lines.replace(b"\r\n.", b"\r\n..")
    return b"." + lines if lines.startswith(b".") else lines
