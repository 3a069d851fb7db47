"""Header fields that the application adds to every mail."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from flask_courier.core.characters import has_control
from flask_courier.core.settings import refusal, wrong_type

#: RFC 5322 section 3.6.8 (ftext); the length leaves room for a value on the first line.
_FIELD_NAME = re.compile(r"[!-9;-~]{1,76}")
#: RFC 5322 section 2.1.1, for a value that a mail library cannot fold.
_VALUE_LIMIT = 900
#: Written for each mail by the extension, or by the servers on its way.
_RESERVED = frozenset(
    {
        "auto-submitted",
        "bcc",
        "cc",
        "date",
        "dkim-signature",
        "from",
        "message-id",
        "mime-version",
        "received",
        "return-path",
        "sender",
        "subject",
        "to",
    }
)
_RESERVED_PREFIXES = ("content-", "resent-")


def read_headers(name: str, value: object) -> Mapping[str, str]:
    """Field names and values, read-only, as they were written."""
    if not isinstance(value, Mapping):
        raise wrong_type(name, "a mapping of header names to text", value)
    fields: dict[str, str] = {}
    seen: set[str] = set()
    for field, content in cast("Mapping[object, object]", value).items():
        checked = _check_name(name, field)
        if not isinstance(content, str):
            raise wrong_type(f"{name}[{checked!r}]", "text", content)
        if has_control(content) or len(content) > _VALUE_LIMIT:
            raise refusal(
                f"{name}[{checked!r}] has a line break, another control character, or more than"
                f" {_VALUE_LIMIT} characters."
            )
        if checked.lower() in seen:
            raise refusal(f"{name}[{checked!r}] is there twice: header names ignore case.")
        seen.add(checked.lower())
        fields[checked] = content
    return MappingProxyType(fields)


def _check_name(name: str, field: object) -> str:
    if not isinstance(field, str) or not _FIELD_NAME.fullmatch(field):
        raise refusal(
            f"{name} has a header name that is not one: use printable ASCII without spaces and"
            " colons, 76 characters at most."
        )
    if field.lower() in _RESERVED or field.lower().startswith(_RESERVED_PREFIXES):
        raise refusal(f"{name}[{field!r}] is written by flask_courier itself: remove it.")
    return field
