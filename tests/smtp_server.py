"""A real SMTP server in a thread: STARTTLS or implicit TLS, AUTH, and answers on demand."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import quote

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USERNAME = "mailer@acme.example"
PASSWORD = "s3cret/+pass word"
_DEADLINE = 20.0


@dataclass
class Authority:
    """A certificate authority that nobody else trusts."""

    ca: trustme.CA
    path: Path

    def context(self, *names: str) -> ssl.SSLContext:
        """A server's TLS context with a certificate for ``names``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert(*names).configure_cert(context)
        return context


def make_authority(folder: Path) -> Authority:
    """A fresh authority, its certificate in a file below ``folder``."""
    ca = trustme.CA()
    path = folder / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return Authority(ca, path)


@dataclass
class MailServer:
    """What arrived, and how to answer what comes next."""

    port: int
    security: str
    #: ``{"RCPT": "550 5.1.1 no such user"}``: said instead of going on, until taken out.
    answers: dict[str, str] = field(default_factory=dict)
    #: Logins as the client sent them.
    logins: list[tuple[str, str]] = field(default_factory=list)
    #: How many connections were made.
    connections: int = 0
    #: Raw messages, each with its envelope.
    envelopes: list[Envelope] = field(default_factory=list)
    #: Cleared, it keeps the answer to the final dot back.
    may_answer: threading.Event = field(default_factory=threading.Event)
    #: Set when a message has come to its final dot.
    at_dot: threading.Event = field(default_factory=threading.Event)
    _arrived: threading.Condition = field(default_factory=threading.Condition)

    @property
    def uri(self) -> str:
        """The SMTP URI of a client that may log in."""
        scheme = "smtps" if self.security == "implicit" else "smtp"
        tail = "?disable_starttls=true" if self.security == "none" else ""
        login = f"{quote(USERNAME, safe='')}:{quote(PASSWORD, safe='')}@"
        return f"{scheme}://{login}localhost:{self.port}/{tail}"

    @property
    def mails(self) -> list[EmailMessage]:
        """What arrived, parsed."""
        return [
            message_from_bytes(envelope.original_content or b"", policy=policy.default)
            for envelope in self.envelopes
        ]

    def wait_for(self, count: int) -> list[EmailMessage]:
        """Wait until ``count`` mails have arrived in all; answer them."""
        with self._arrived:
            enough = self._arrived.wait_for(lambda: len(self.envelopes) >= count, _DEADLINE)
        assert enough, f"{len(self.envelopes)} of {count} mails arrived within {_DEADLINE} seconds"
        return self.mails

    def keep(self, envelope: Envelope) -> None:
        """A mail has been accepted."""
        with self._arrived:
            self.envelopes.append(envelope)
            self._arrived.notify_all()


class _Handler:
    """aiosmtpd's hooks: answers on demand, and keeps what arrives."""

    def __init__(self, server: MailServer) -> None:
        self._server = server

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's own name and signature
        self, server: Any, session: Session, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        del server, envelope
        session.host_name = hostname
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session
        if "MAIL" in self._server.answers:
            return self._server.answers["MAIL"]
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Any, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        if "RCPT" in self._server.answers:
            return self._server.answers["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802
        del server, session
        self._server.at_dot.set()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._server.may_answer.wait, _DEADLINE)
        if "DATA" in self._server.answers:
            return self._server.answers["DATA"]
        self._server.keep(envelope)
        return "250 2.0.0 queued"


@contextmanager
def smtp_server(
    *,
    tls: ssl.SSLContext | None = None,
    security: str = "starttls",
    port: int = 0,
    login: bool = True,
    without_auth: tuple[str, ...] = (),
) -> Iterator[MailServer]:
    """A server on a loopback port until the end of the block.

    :param security: ``starttls``, ``implicit`` or ``none``.
    :param port: 0 for any free one; the port of an earlier server to come back there.
    :param login: whether mail is only taken after AUTH.
    :param without_auth: AUTH mechanisms that are not offered.
    """
    server = MailServer(port, security)
    server.may_answer.set()

    def authenticate(
        _smtp: Any, _session: Any, _envelope: Any, _kind: str, data: Any
    ) -> AuthResult:
        if "AUTH" in server.answers:
            return AuthResult(success=False, handled=False, message=server.answers["AUTH"])
        assert isinstance(data, LoginPassword)
        pair = (data.login.decode(), data.password.decode())
        server.logins.append(pair)
        return AuthResult(success=pair == (USERNAME, PASSWORD), handled=False)

    def protocol() -> SMTP:
        server.connections += 1
        smtp = SMTP(
            _Handler(server),
            hostname="mail.acme.example",
            tls_context=tls if security == "starttls" else None,
            require_starttls=security == "starttls",
            authenticator=authenticate if login else None,
            auth_require_tls=security == "starttls",
            auth_exclude_mechanism=without_auth,
            enable_SMTPUTF8=True,
        )
        # Its constructor warns of AUTH without TLS, and implicit TLS it does not see.
        smtp._auth_required = login
        return smtp

    with served(protocol, port, tls if security == "implicit" else None) as bound:
        server.port = bound
        try:
            yield server
        finally:
            server.may_answer.set()


@contextmanager
def closed_port() -> Iterator[int]:
    """A loopback port where nobody listens; ``smtp_server`` may, nobody else will take it."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextmanager
def served(
    protocol: Callable[[], asyncio.BaseProtocol], port: int = 0, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """Serve ``protocol`` from a loop in a thread; answers the port."""
    loop = asyncio.new_event_loop()
    bound: list[int] = []
    ready = threading.Event()

    async def start() -> asyncio.AbstractServer:
        listener = await loop.create_server(protocol, "localhost", port, ssl=tls)
        bound.append(listener.sockets[0].getsockname()[1])
        ready.set()
        return listener

    async def stop(listener: asyncio.AbstractServer) -> None:
        listener.close()
        tasks = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await loop.shutdown_default_executor()

    def run() -> None:
        asyncio.set_event_loop(loop)
        listener = loop.run_until_complete(start())
        loop.run_forever()
        loop.run_until_complete(stop(listener))
        loop.close()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(_DEADLINE), "the SMTP server did not start"
    try:
        yield bound[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_DEADLINE)
