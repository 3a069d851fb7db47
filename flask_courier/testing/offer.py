"""What a ``FaultServer`` offers its clients, and how much of it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Literal

Security = Literal["none", "starttls", "implicit"]

#: What EHLO may announce besides STARTTLS and AUTH.
EXTENSIONS = ("PIPELINING", "SIZE", "8BITMIME", "SMTPUTF8", "ENHANCEDSTATUSCODES")


@dataclass
class Offer:
    """How a server presents itself; what may change while it runs is read for every reply."""

    security: Security
    tls: ssl.SSLContext | None
    login: tuple[str, str] | None = field(repr=False)
    mechanisms: tuple[str, ...]
    extensions: frozenset[str]
    max_size: int
    hostname: str
    brief: bool
    #: Messages a second, or None for any number.
    rate_limit: float | None
    #: Connections at a time, or None for any number.
    max_connections: int | None
    #: Seconds before each group of replies goes out.
    latency: float
    _allowance: float = 0.0
    _measured_at: float | None = None

    def reply(self, code: int, enhanced: str, text: str) -> bytes:
        """One reply line, with its enhanced code (RFC 2034) where those are offered."""
        if "ENHANCEDSTATUSCODES" in self.extensions:
            return f"{code} {enhanced} {text}\r\n".encode()
        return f"{code} {text}\r\n".encode()

    def hello(self) -> bytes:
        """The answer to HELO."""
        return f"250 {self.hostname}\r\n".encode()

    def greeting(self, *, encrypted: bool) -> bytes:
        """The answer to EHLO (RFC 5321 section 4.1.1.1)."""
        lines = [self.hostname]
        lines += [
            f"SIZE {self.max_size}" if name == "SIZE" else name
            for name in EXTENSIONS
            if name in self.extensions
        ]
        if self.security == "starttls" and not encrypted:
            lines.append("STARTTLS")
        elif self.login is not None:
            lines.append(f"AUTH {' '.join(self.mechanisms)}")
        return "".join(
            f"250{' ' if number == len(lines) else '-'}{line}\r\n"
            for number, line in enumerate(lines, 1)
        ).encode()

    def admits(self, now: float) -> bool:
        """Whether one more message fits under ``rate_limit``; if so, it is counted.

        What is not used is saved up for at most a second, as providers do.

        :param now: ``time.monotonic()``.
        """
        limit = self.rate_limit
        if limit is None:
            return True
        if self._measured_at is None:
            self._allowance = max(1.0, limit)
        else:
            saved = self._allowance + (now - self._measured_at) * limit
            self._allowance = min(max(1.0, limit), saved)
        self._measured_at = now
        if self._allowance < 1.0:
            return False
        self._allowance -= 1.0
        return True
