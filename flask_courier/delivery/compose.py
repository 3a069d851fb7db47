"""A parcel to the bytes on the wire; the only place where a token meets its mail.

Deterministic: the same parcel gives the same bytes, so that a retry is a copy and a receiver that
compares Message-IDs sees one mail (RFC 5322 section 3.6.4).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from email import policy
from email.header import Header
from email.headerregistry import Address
from email.message import EmailMessage

from flask_courier.core.config import Sender
from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Parcel, Rendered

#: RFC 3834 section 5: tells responders not to answer. Applications may override neither.
_AUTO_SUBMITTED = "auto-generated"
_HOSTILE_HEADER = "a header of this mail would hold CR, LF or NUL; it was not sent"


def compose(parcel: Parcel, *, sender: Sender, headers: Mapping[str, str]) -> bytes:
    """The message with CRLF line ends, 7 bits wide unless an address needs SMTPUTF8.

    :raises RenderError: if a header would hold CR, LF or NUL.
    """
    message = _message(parcel, filled(parcel), sender)
    for name, value in headers.items():
        message[name] = value
    raw = message.as_bytes()
    _check_headers(message, raw)
    return raw


def _message(parcel: Parcel, mail: Rendered, sender: Sender) -> EmailMessage:
    for value in (mail.subject, sender.name, sender.address, parcel.recipient):
        if any(character in value for character in "\r\n\0"):
            raise RenderError(_HOSTILE_HEADER)
    utf8 = not (parcel.recipient + sender.address).isascii()
    # 7bit: not every server takes 8 bits, and none has been asked (RFC 6152).
    policies = policy.SMTPUTF8 if utf8 else policy.SMTP
    message = EmailMessage(policy=policies.clone(cte_type="7bit"))
    message["From"] = _address(sender.name, sender.address)
    message["To"] = _address("", parcel.recipient)
    if "=?" in mail.subject:
        # As a value it would be decoded, and may then hold line breaks or anything else.
        message.set_raw("Subject", Header(mail.subject, "utf-8", header_name="Subject").encode())
    else:
        message["Subject"] = mail.subject
    message["Date"] = parcel.date
    message["Message-ID"] = parcel.message_id_header
    message["Auto-Submitted"] = _AUTO_SUBMITTED
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
        message.set_boundary(_boundary(parcel))
    return message


def _address(name: str, address: str) -> Address:
    if address.isascii():
        return Address(name, addr_spec=address)
    # addr_spec= refuses a local part beyond ASCII, which RFC 6531 allows.
    local_part, _, domain = address.rpartition("@")
    return Address(name, local_part, domain)


def _check_headers(message: EmailMessage, raw: bytes) -> None:
    """Make sure of what was generated: Pythons before 3.12.5 let a decoded line break through.

    :raises RenderError: unless the headers on the wire are those that were set, in lines of CRLF.
    """
    lines = raw.partition(b"\r\n\r\n")[0].split(b"\r\n")
    names = [line.partition(b":")[0].decode() for line in lines if line[:1] not in (b" ", b"\t")]
    if names != message.keys() or any(byte in b"".join(lines) for byte in (b"\r", b"\n", b"\0")):
        raise RenderError(_HOSTILE_HEADER)


def filled(parcel: Parcel) -> Rendered:
    """The mail with its token and code put in."""
    if parcel.credentials is None:
        return parcel.rendered
    return parcel.rendered.fill(parcel.credentials.token.value, parcel.credentials.code.value)


def _boundary(parcel: Parcel) -> str:
    """A boundary that every retry repeats; "=_" cannot occur in quoted-printable or base64."""
    return "=_" + hashlib.sha256(parcel.message_id_header.encode()).hexdigest()[:32]
