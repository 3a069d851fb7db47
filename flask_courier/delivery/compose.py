"""A parcel to the bytes on the wire; the only place where a token meets its mail.

Deterministic: the same parcel gives the same bytes, so that a retry is a copy and a receiver that
compares Message-IDs sees one mail (RFC 5322 section 3.6.4).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from email import policy
from email.utils import format_datetime
from functools import lru_cache, partial
from types import MappingProxyType

import idna

from flask_courier.core.accounts import ADDRESS_LIMIT
from flask_courier.core.config import Sender
from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Mail, Rendered
from flask_courier.core.providers import always, completed, tracking_off
from flask_courier.delivery.encode import encode_body, encode_mailbox, encode_text, fold

_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_HOSTILE_HEADER = "a header of this mail would hold CR, LF or NUL; it was not sent"
_HOSTILE_ADDRESS = (
    "an address of this mail cannot stand in a header, so it was not sent: correct the address in"
    " the account or in the settings"
)
_BAD_TEXT = (
    "a mail holds a lone surrogate, half of a character, which no encoding can carry; it was not"
    " sent: find out where its context gets such text"
)
_HOSTILE = re.compile(r"[\r\n\0]")
_FIELD = re.compile(r"[!-9;-~]+:[^\r\n\0]*(?:\r\n[ \t][^\r\n\0]*)*\r\n")
#: RFC 5322 section 3.4.1, with RFC 6532 section 3.2: the dots may stand anywhere, as some do.
_DOT_ATOM = r'[^\s\0-\x20\x7f()<>\[\]:;@\\,"]+'
_ADDRESS = re.compile(rf'(?:{_DOT_ATOM}|"(?:[ !#-\[\]-~]|\\[ -~])*")@(?:{_DOT_ATOM}|\[[!-Z^-~]+\])')
#: The same for every mail. RFC 3834 section 5: tells responders not to answer.
_FIXED = "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n"


def composer(host: str, *, sender: Sender, headers: Mapping[str, str]) -> Callable[[Mail], bytes]:
    """What composes every mail that goes out by the SMTP server at ``host``.

    :param headers: what the application adds; what the provider there needs comes on top.
    """
    return partial(
        compose,
        sender=sender,
        headers=completed(headers, always(host)),
        link_headers=tracking_off(host),
    )


def compose(
    parcel: Mail,
    *,
    sender: Sender,
    headers: Mapping[str, str],
    link_headers: Mapping[str, str] = _NO_HEADERS,
) -> bytes:
    """The message with CRLF line ends, 7 bits wide unless an address needs SMTPUTF8.

    ``link_headers`` are added to a mail that carries a token, where ``headers`` has no such name.

    :raises RenderError: if a header would hold CR, LF or NUL, or an address or a text cannot be
        written.
    """
    mail = filled(parcel)
    if _HOSTILE.search(f"{mail.subject}{parcel.recipient}{parcel.message_id_header}"):
        raise RenderError(_HOSTILE_HEADER)
    # No cache may see the subject or a body: they can hold a token.
    extra = _extra_fields(
        tuple(headers.items()),
        () if parcel.credentials is None else tuple(link_headers.items()),
    )
    try:
        head = (
            f"{_from_field(sender)}\r\n"
            f"To: {_header_address(parcel.recipient)}\r\n"
            f"{encode_text('Subject', mail.subject)}\r\n"
            f"Date: {_date(parcel.date.replace(microsecond=0))}\r\n"
            f"Message-ID: {parcel.message_id_header}\r\n"
            f"{_FIXED}{extra}"
        )
        return head.encode() + _content(mail, parcel.message_id_header)
    except UnicodeEncodeError:
        raise RenderError(_BAD_TEXT) from None


def filled(parcel: Mail) -> Rendered:
    """The mail with its tokens and its code put in."""
    if parcel.credentials is None:
        return parcel.rendered
    return parcel.rendered.fill(*parcel.credentials.values)


def wire_address(address: str) -> str:
    """``address`` as header and envelope have it: its domain in ASCII (RFC 5891).

    A local part beyond ASCII stays and needs SMTPUTF8; its domain is ASCII all the same, so that
    no server on the way has to know how to look it up.

    :raises RenderError: if the domain is none.
    """
    if address.isascii():
        return address
    local, at_sign, domain = address.rpartition("@")
    return local + at_sign + _ascii_domain(domain)


@lru_cache(maxsize=256)
def _ascii_domain(domain: str) -> str:
    if domain.isascii():
        return domain
    try:
        return idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        raise RenderError(_HOSTILE_ADDRESS) from None


def _header_address(address: str) -> str:
    wired = wire_address(address)
    if not _ADDRESS.fullmatch(wired) or len(wired.encode()) > ADDRESS_LIMIT:
        raise RenderError(_HOSTILE_ADDRESS)
    return wired


@lru_cache(maxsize=64)
def _date(moment: datetime) -> str:
    return format_datetime(moment)


@lru_cache(maxsize=64)
def _from_field(sender: Sender) -> str:
    if _HOSTILE.search(sender.name + sender.address):
        raise RenderError(_HOSTILE_HEADER)
    return encode_mailbox("From", sender.name, _header_address(sender.address))


@lru_cache(maxsize=64)
def _extra_fields(own: tuple[tuple[str, str], ...], defaults: tuple[tuple[str, str], ...]) -> str:
    return "".join(
        _extra_field(name, value) for name, value in completed(dict(own), dict(defaults)).items()
    )


def _extra_field(name: str, value: str) -> str:
    if _HOSTILE.search(name + value):
        raise RenderError(_HOSTILE_HEADER)
    if value.isascii():
        # As it was written: who writes an encoded word here wants one.
        field = f"{fold(name, value.strip())}\r\n"
    else:
        # It knows which fields hold addresses (Reply-To), where only names may be encoded.
        field = policy.SMTP.header_factory(name, value).fold(policy=policy.SMTP)
    # Pythons before 3.12.5 let a line break through that they found in an encoded word.
    if not _FIELD.fullmatch(field):
        raise RenderError(_HOSTILE_HEADER)
    return field


def _content(mail: Rendered, message_id: str) -> bytes:
    text = _part("plain", mail.text)
    if mail.html is None:
        return text
    boundary = _boundary(message_id)
    begin = f"\r\n--{boundary}\r\n".encode()
    return b"".join(
        (
            f'Content-Type: multipart/alternative;\r\n boundary="{boundary}"\r\n'.encode(),
            begin,
            text,
            begin,
            _part("html", mail.html),
            f"\r\n--{boundary}--\r\n".encode(),
        )
    )


def _part(kind: str, text: str) -> bytes:
    encoding, lines = encode_body(text)
    head = (
        f'Content-Type: text/{kind}; charset="utf-8"\r\n'
        f"Content-Transfer-Encoding: {encoding}\r\n\r\n"
    )
    return head.encode() + lines


def _boundary(message_id: str) -> str:
    """A boundary that every retry repeats; no part contains "--=_" once it is encoded."""
    return "=_" + hashlib.sha256(message_id.encode()).hexdigest()[:32]
