"""Addresses out of texts, for readers who may see that there is mail and not whose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

from flask_courier.core.accounts import mask_address

T = TypeVar("T")

#: Any address, in angle brackets or out of them, with its local part quoted or not.
#: It begins where a run of such characters does: tried at each of them, a long one takes minutes.
_PART = r"""[^\s<>()\[\]{},;:"'|/?&"""
_ADDRESS = re.compile(rf"""(?:"[^"\s]*"|(?<!{_PART}]){_PART}]+)@{_PART}@]+""")
#: Servers quote a local part alone, too; a shorter one could be any word.
_SHORTEST = 3
#: Is written like an address, is none, and is what people are asked for.
_NO_ADDRESS = frozenset({"message_id_header"})
#: Where a mailbox may stand without its domain; elsewhere its name may be a word of ours.
_FOREIGN = frozenset({"last_error", "reply", "subject", "text", "html"})


def veiled(value: T, recipient: str | None = None) -> T:
    """``value`` with every address in it masked, also in what it is made of.

    :param recipient: whose mailbox its texts may name without the domain; a value with a
        ``recipient`` knows by itself.
    """
    return cast("T", _veiled(value, recipient))


def _veiled(value: Any, recipient: str | None) -> Any:
    if type(value) is str:
        return _ADDRESS.sub(lambda found: mask_address(found[0]), value)
    if isinstance(value, (tuple, list)):
        items: list[Any] = [_veiled(item, recipient) for item in cast("Sequence[Any]", value)]
        return items if isinstance(value, list) else tuple(items)
    if not is_dataclass(value) or isinstance(value, type):
        return value
    known = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
    recipient = known.get("recipient", recipient) or _recipient_of(known) or recipient
    return replace(
        value,
        **{
            name: _field(name, item, recipient)
            for name, item in known.items()
            if name not in _NO_ADDRESS
        },
    )


def _recipient_of(known: dict[str, Any]) -> str | None:
    """Of a message with all that is known of it, its own."""
    entry = known.get("entry")
    found: str | None = getattr(entry, "recipient", None)
    return found


def _field(name: str, value: Any, recipient: str | None) -> Any:
    if name == "recipient" and isinstance(value, str):
        return mask_address(value)
    if name in _FOREIGN and isinstance(value, str) and recipient:
        return veiled_text(value, recipient)
    return _veiled(value, recipient)


def veiled_text(text: str, recipient: str) -> str:
    """``text`` without any address, and without the mailbox of ``recipient``."""
    text = veiled(text)
    local = recipient.rpartition("@")[0]
    if len(local) < _SHORTEST:
        return text
    word = re.compile(rf"(?<!\w){re.escape(local)}(?![\w•])", re.IGNORECASE)
    return word.sub(lambda found: f"{found[0][:1]}•••", text)
