"""A parcel to the bytes on the wire; the only place where a token meets its mail.

Deterministic: the same parcel gives the same bytes, so that a retry is a copy and a receiver that
compares Message-IDs sees one mail (RFC 5322 section 3.6.4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage

from flask_courier.core.config import Sender
from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Parcel, Rendered

#: RFC 3834 section 5: tells responders not to answer. Applications may override neither.
_AUTO_SUBMITTED = "auto-generated"


def compose(parcel: Parcel, *, sender: Sender, headers: Mapping[str, str]) -> bytes:
    """The message with CRLF line ends, 7 bits wide unless an address needs SMTPUTF8.

    :raises RenderError: if a header would hold CR, LF or NUL.
    """
    mail = filled(parcel)
    for value in (mail.subject, sender.name, sender.address, parcel.recipient):
        if any(character in value for character in "\r\n\0"):
            raise RenderError("a header of this mail would hold CR, LF or NUL; it was not sent")
    utf8 = not (parcel.recipient + sender.address).isascii()
    message = EmailMessage(policy=policy.SMTPUTF8 if utf8 else policy.SMTP)
    message["From"] = Address(sender.name, addr_spec=sender.address)
    message["To"] = Address(addr_spec=parcel.recipient)
    message["Subject"] = mail.subject
    message["Date"] = parcel.date
    message["Message-ID"] = parcel.message_id_header
    message["Auto-Submitted"] = _AUTO_SUBMITTED
    for name, value in headers.items():
        message[name] = value
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
        message.set_boundary(_boundary(parcel))
    return message.as_bytes()


def filled(parcel: Parcel) -> Rendered:
    """The mail with its token and code put in."""
    if parcel.credentials is None:
        return parcel.rendered
    return parcel.rendered.fill(parcel.credentials.token.value, parcel.credentials.code.value)


def _boundary(parcel: Parcel) -> str:
    """A boundary that every retry repeats; "=_" cannot occur in quoted-printable or base64."""
    return "=_" + hashlib.sha256(parcel.message_id_header.encode()).hexdigest()[:32]
