"""The configuration as it is in force, without anything that must stay secret."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast
from urllib.parse import urlsplit

from flask_courier.core.config import KEYS, LOG_SENDER, CourierConfig, Key, Sender
from flask_courier.core.durations import describe
from flask_courier.core.smtp_uri import Security, SmtpUri

_HIDDEN = "hidden"
_PROTECTION = {
    Security.STARTTLS: "STARTTLS",
    Security.IMPLICIT: "TLS from the first byte",
    Security.PLAINTEXT: "NOT ENCRYPTED",
}


@dataclass(frozen=True)
class Setting:
    """One key of the configuration."""

    name: str
    #: What is in force, in words.
    value: str
    is_default: bool
    #: What the key is for.
    doc: str


def settings(config: CourierConfig) -> list[Setting]:
    """Every key of ``config``, and the secret ones without their values."""
    return [*(_setting(config, key) for key in KEYS), _secret_keys(config)]


def _setting(config: CourierConfig, key: Key) -> Setting:
    value = getattr(config, key.field)
    return Setting(key.name, _words(value), _default(key) == value, key.doc)


def _default(key: Key) -> object:
    if key.field == "default_sender":
        return LOG_SENDER
    return None if key.default is None else key.read(key.name, key.default)


def _secret_keys(config: CourierConfig) -> Setting:
    older = len(config.secret_keys) - 1
    words = f"set, {_HIDDEN}" if older >= 0 else "not set"
    if older > 0:
        words += f"; {older} in SECRET_KEY_FALLBACKS"
    return Setting("SECRET_KEY", words, is_default=False, doc="What every token is signed with.")


def _words(value: Any) -> str:  # noqa: PLR0911 - one answer for each type of a setting
    match value:
        case None:
            return "none"
        case bool():
            return "on" if value else "off"
        case enum.Enum():
            return str(value.value)
        case timedelta():
            return describe(value)
        case SmtpUri():
            return _server(value)
        case Sender():
            return f"{value.name} <{value.address}>".strip()
        case Mapping():
            headers = cast("Mapping[str, str]", value)
            return ", ".join(f"{name}: {_HIDDEN}" for name in headers) or "none"
        case tuple():
            return " ".join(str(limit) for limit in cast("tuple[object, ...]", value))
        case str():
            return _url(value)
        case _:
            return str(value)


def _server(uri: SmtpUri) -> str:
    parts = [
        uri.origin,
        _PROTECTION[uri.security],
        "no login" if uri.username is None else f"user name and password {_HIDDEN}",
        *([] if uri.verify else ["certificate NOT verified"]),
        *([f"certificate of {uri.server_name}"] if uri.server_name else []),
    ]
    return ", ".join(parts)


def _url(text: str) -> str:
    """``text`` without a query, which may hold a key of another service."""
    parts = urlsplit(text)
    return f"{text.partition('?')[0]}?{_HIDDEN}" if parts.query else text
