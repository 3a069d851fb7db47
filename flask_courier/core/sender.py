"""Who mail comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass

from email_validator import EmailNotValidError, validate_email

from flask_courier.core.characters import has_control
from flask_courier.core.hosts import is_host_name
from flask_courier.core.settings import refusal, wrong_type

_WANTED = '"Name <name@example.com>", an address, or a pair of name and address'
#: email-validator refuses names such as "localhost" and "corp.local", which a mail of one's own
#: may well come from. Below this suffix, which it does not refuse, it judges only their form.
_ORDINARY = ".example"


@dataclass(frozen=True)
class Sender:
    """A mailbox for the From field: a display name, which may be empty, and an ASCII address."""

    name: str
    address: str


def read_sender(name: str, value: object) -> Sender:
    """A sender from text or a pair; an international domain is turned into its ASCII form."""
    display, address = _split(name, value)
    if has_control(display) or has_control(address):
        raise refusal(f"{name} contains a line break or another control character: remove it.")
    checked = _ascii_address(address.strip())
    if checked is None:
        raise refusal(
            f"{name} has no valid address, or one that is not ASCII before the '@': write"
            f" {_WANTED}."
        )
    return Sender(display.strip(), checked)


def _split(name: str, value: object) -> tuple[str, str]:
    match value:
        case str(text):
            return _split_text(text)
        case [str(display), str(address)]:
            return display, address
        case _:
            raise wrong_type(name, _WANTED, value)


def _split_text(text: str) -> tuple[str, str]:
    """Name and address of ``Name <address>`` (RFC 5322 section 3.4), or no name and the text."""
    display, bracket, address = text.strip().rpartition("<")
    if not bracket or not address.endswith(">"):
        return "", text
    display = display.strip()
    if len(display) > 1 and display.startswith('"') and display.endswith('"'):
        display = re.sub(r"\\(.)", r"\1", display[1:-1])
    return display, address[:-1]


def _ascii_address(text: str) -> str | None:
    try:
        checked = validate_email(text + _ORDINARY, check_deliverability=False, allow_smtputf8=False)
    except EmailNotValidError:
        return None
    domain = checked.ascii_domain.removesuffix(_ORDINARY)
    return f"{checked.local_part}@{domain}" if is_host_name(domain) else None
