"""What an SMTP session is given: where to go, and what to carry there."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field

from flask_courier.core.smtp_uri import SmtpUri

#: Characters a line of the payload must have to be recognised in a reply.
_SHORTEST_QUOTE = 6


@dataclass(frozen=True)
class SmtpSettings:
    """What every connection of a transport has in common."""

    uri: SmtpUri
    #: None for cleartext.
    tls: ssl.SSLContext | None
    #: The name given with EHLO (RFC 5321 section 4.1.1.1).
    local_name: str


@dataclass(frozen=True)
class Envelope:
    """One message on the wire: RFC 5321 addresses, RFC 5322 bytes, and what no reply may repeat."""

    sender: str
    recipient: str
    payload: bytes = field(repr=False)
    #: The token and the code inside the payload.
    secrets: tuple[str, ...] = field(repr=False)

    def unspeakable(self) -> tuple[str, ...]:
        """What no record of a reply may repeat: the secrets, in whatever encoding they went out.

        Quoted-printable and base64 break a token over lines, so every line of the payload counts.
        """
        if not self.secrets:
            return ()
        lines = self.payload.decode("utf-8", "replace").splitlines()
        return (*self.secrets, *(line for line in lines if len(line) >= _SHORTEST_QUOTE))
