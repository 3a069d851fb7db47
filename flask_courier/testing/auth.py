"""The server's side of AUTH PLAIN and AUTH LOGIN, without the verdict (RFC 4954, RFC 4616)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field

_CANCEL = b"*"
_EMPTY = b"="


@dataclass(frozen=True)
class Attempt:
    """What a client wants to log in with."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    mechanism: str


class Exchange:
    """One AUTH command, line by line."""

    def __init__(self, mechanism: str) -> None:
        self._mechanism = mechanism
        self._heard: list[str] = []

    def take(self, line: bytes | None) -> bytes | Attempt | None:
        """The next line, or None if AUTH came without one.

        Answers what to say next, or the attempt once it is whole, or None if the client gave up or
        sent what cannot be read.
        """
        if line == _CANCEL:
            return None
        if line is not None:
            try:
                text = base64.b64decode(b"" if line == _EMPTY else line, validate=True)
                self._heard.append(text.decode())
            except (binascii.Error, UnicodeDecodeError):
                return None
        return self._plain() if self._mechanism == "PLAIN" else self._login()

    def _plain(self) -> bytes | Attempt | None:
        if not self._heard:
            return b"334 \r\n"
        parts = self._heard[0].split("\0")
        return Attempt(parts[1], parts[2], "PLAIN") if len(parts) == 3 else None

    def _login(self) -> bytes | Attempt:
        if len(self._heard) < 2:
            prompt = (b"Username:", b"Password:")[len(self._heard)]
            return b"334 " + base64.b64encode(prompt) + b"\r\n"
        return Attempt(self._heard[0], self._heard[1], "LOGIN")
