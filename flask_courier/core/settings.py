"""Readers of single settings: a raw value in, a typed value out, or an error that names the key.

A raw value may come from Python or, through ``app.config.from_prefixed_env()``, from JSON; so a
setting is never a type that JSON cannot write, and a number is never taken from text.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import TypeVar

from flask_courier.core.characters import has_control
from flask_courier.core.errors import ConfigError
from flask_courier.core.hosts import is_address_literal, is_host_name

ValueT = TypeVar("ValueT")
EnumT = TypeVar("EnumT", bound=enum.Enum)

#: Called with the key's name and a raw value that is not None; raises ``ConfigError``.
Reader = Callable[[str, object], ValueT]

_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "a boolean"),
    ((int, float), "a number"),
    (str, "text"),
    (bytes, "bytes"),
    (Mapping, "a mapping"),
    ((list, tuple), "a list"),
)


def refusal(problem: str) -> ConfigError:
    """The error for one problem, which is a sentence that begins with the key."""
    return ConfigError((problem,))


def wrong_type(name: str, wanted: str, value: object) -> ConfigError:
    """The error for a value of another type; it names the type and never repeats the value."""
    kind = next((word for types, word in _KINDS if isinstance(value, types)), "an object")
    return refusal(f"{name} must be {wanted}, not {kind}.")


def read_text(name: str, value: object) -> str:
    """One line of text that is not empty."""
    if not isinstance(value, str):
        raise wrong_type(name, "text", value)
    if not value.strip():
        raise refusal(f"{name} is empty: give it a value, or leave it out.")
    if has_control(value):
        raise refusal(f"{name} contains a line break or another control character: remove it.")
    return value


def read_path(name: str, value: object) -> str:
    """The path of a file, as text or a ``pathlib`` path; whether it exists is not looked at."""
    return read_text(name, str(value) if isinstance(value, PurePath) else value)


def read_local_name(name: str, value: object) -> str:
    """A client's name in EHLO: a host name or ``[192.0.2.1]`` (RFC 5321 section 4.1.3)."""
    text = read_text(name, value)
    if is_host_name(text) or is_address_literal(text):
        return text
    raise refusal(
        f"{name} is neither a host name nor an address literal: write it like mail.acme.example,"
        " [192.0.2.1] or [IPv6:2001:db8::1]."
    )


def read_flag(name: str, value: object) -> bool:
    """True or False."""
    if not isinstance(value, bool):
        raise wrong_type(name, "True or False", value)
    return value


def whole_number(lowest: int, highest: int) -> Reader[int]:
    """A reader of whole numbers within bounds."""

    def read(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise wrong_type(name, f"a whole number from {lowest} to {highest}", value)
        if not lowest <= value <= highest:
            raise refusal(f"{name} must be a whole number from {lowest} to {highest}.")
        return value

    return read


def choice(members: type[EnumT]) -> Reader[EnumT]:
    """A reader of the values of an enumeration."""
    words = [str(member.value) for member in members]
    wanted = f"{', '.join(words[:-1])} or {words[-1]}"

    def read(name: str, value: object) -> EnumT:
        if isinstance(value, members):
            return value
        if not isinstance(value, str):
            raise wrong_type(name, wanted, value)
        if value not in words:
            raise refusal(f"{name} must be {wanted}.")
        return members(value)

    return read
