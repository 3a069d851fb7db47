"""What a ``FaultServer`` remembers: every connection, every login, every mail it took."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage


@dataclass(frozen=True)
class Login:
    """One AUTH command that came to its end."""

    username: str = field(repr=False)
    password: str = field(repr=False)
    mechanism: str
    accepted: bool
    #: ``time.monotonic()``.
    at: float


@dataclass
class Connection:
    """One connection, from its first byte to its last."""

    #: The first one is 1.
    number: int
    peer: str
    #: ``time.monotonic()``.
    opened_at: float
    #: ``"TLSv1.3"``, or None while it is in the clear.
    tls_version: str | None = None
    tls_cipher: str | None = None
    #: What the client called itself with EHLO.
    client_name: str | None = None
    #: The user who is logged in.
    username: str | None = field(default=None, repr=False)
    logins: list[Login] = field(default_factory=list["Login"])
    #: The commands in the order they came, without arguments.
    verbs: list[str] = field(default_factory=list[str])
    #: What was said, without payloads: ``b"C: …"`` for the client, ``b"S: …"`` for the server.
    #: What the client says within AUTH is masked.
    transcript: list[bytes] = field(default_factory=list[bytes], repr=False)
    #: Why a TLS handshake failed, if one did.
    tls_error: str | None = None
    closed_at: float | None = None
    #: Whether the client said QUIT.
    said_quit: bool = False

    @property
    def is_open(self) -> bool:
        """Whether it has not ended yet."""
        return self.closed_at is None

    @property
    def dialogue(self) -> str:
        """The transcript to be read by people, one line each."""
        return b"\n".join(self.transcript).decode("utf-8", "backslashreplace")


@dataclass(frozen=True)
class ReceivedMessage:
    """One mail that the server accepted."""

    #: The address that MAIL named; empty for the null reverse-path.
    sender: str
    recipients: tuple[str, ...]
    #: The payload as it crossed the wire, dots stuffed, up to the line end before the final dot.
    wire: bytes = field(repr=False)
    #: The parameters of MAIL, such as ``"SMTPUTF8"`` and ``"SIZE=2048"``.
    options: tuple[str, ...] = ()
    #: The number of the connection that brought it.
    connection: int = 0
    tls_version: str | None = None
    username: str | None = field(default=None, repr=False)
    #: ``time.monotonic()`` of the final dot.
    at: float = 0.0

    @property
    def content(self) -> bytes:
        """The message itself: the payload without its dot-stuffing (RFC 5321 section 4.5.2)."""
        return (b"\r\n" + self.wire).replace(b"\r\n.", b"\r\n")[2:]

    @property
    def mail(self) -> EmailMessage:
        """The message, parsed with the standard library's default policy."""
        return message_from_bytes(self.content, policy=policy.default)

    @property
    def subject(self) -> str:
        """The subject, decoded; empty if there is none."""
        return str(self.mail.get("Subject", ""))

    @property
    def message_id(self) -> str | None:
        """The Message-ID header with its brackets: the same for every copy of a mail."""
        found = self.mail.get("Message-ID")
        return None if found is None else str(found).strip()

    @property
    def text(self) -> str:
        """The plain-text part, decoded, lines ending with LF; empty if there is none."""
        return self._part("plain")

    @property
    def html(self) -> str:
        """The HTML part, decoded, lines ending with LF; empty if there is none."""
        return self._part("html")

    def _part(self, subtype: str) -> str:
        part = self.mail.get_body((subtype,))
        return "" if part is None else str(part.get_content()).replace("\r\n", "\n")


class Ledger:
    """Everything that came, written on the server's thread and read on any."""

    def __init__(self) -> None:
        #: Notified whenever something is added.
        self.changed = threading.Condition()
        self.messages: list[ReceivedMessage] = []
        self.connections: list[Connection] = []
        #: Every reply that went out, by its code.
        self.replies: Counter[int] = Counter()
        self._opened = 0

    def open(self, peer: str, now: float) -> Connection:
        """A new connection."""
        with self.changed:
            self._opened += 1
            connection = Connection(self._opened, peer, now)
            self.connections.append(connection)
            self.changed.notify_all()
        return connection

    def close(self, connection: Connection, now: float) -> None:
        """A connection has ended."""
        with self.changed:
            connection.closed_at = now
            self.changed.notify_all()

    def keep(self, message: ReceivedMessage) -> None:
        """A mail has been accepted."""
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()

    def hear(self, connection: Connection, verb: str) -> None:
        """A command has come."""
        with self.changed:
            connection.verbs.append(verb)
            self.changed.notify_all()

    def say(self, code: int | None) -> None:
        """A reply goes out; None if it is not one."""
        with self.changed:
            if code is not None:
                self.replies[code] += 1
            self.changed.notify_all()

    def forget(self) -> None:
        """Start with an empty record; connections go on being numbered."""
        with self.changed:
            self.messages, self.replies = [], Counter()
            self.connections = [one for one in self.connections if one.is_open]

    def wait(self, reached: Callable[[], bool], timeout: float) -> bool:
        """Wait until ``reached`` is true; whether it became so within ``timeout`` seconds."""
        with self.changed:
            return self.changed.wait_for(reached, timeout)
