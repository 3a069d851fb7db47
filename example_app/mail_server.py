"""A mail server for this machine alone: STARTTLS, a throw-away authority, a password.

It takes mail the way a provider does, and keeps what it gets instead of passing it on.
"""

from __future__ import annotations

import asyncio
import email
import email.policy
import hmac
import logging
import secrets
import ssl
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import cast, final

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

# aiosmtpd warns of an attribute of its own, once a login.
logging.getLogger("mail.log").setLevel(logging.ERROR)

HOST = "127.0.0.1"
#: Seconds that starting and stopping may take.
_PATIENCE = 10.0


@dataclass(frozen=True)
class ReceivedMail:
    """One mail, as the server took it over."""

    #: How many came before it.
    number: int
    recipients: tuple[str, ...]
    message: EmailMessage
    #: ``TLSv1.3``; None if it came in cleartext.
    tls_version: str | None
    signed_in: bool

    @property
    def subject(self) -> str:
        """What it is about."""
        return str(self.message["Subject"])

    @property
    def text(self) -> str:
        """Its text part."""
        return self._body("plain") or ""

    @property
    def html(self) -> str | None:
        """Its HTML part, if it has one."""
        return self._body("html")

    def _body(self, kind: str) -> str | None:
        part = self.message.get_body((kind,))
        return None if part is None else str(part.get_content()).replace("\r\n", "\n")


@final
class MailServer:
    """Use it as a context manager; between its start and its end ``uri`` leads to it."""

    def __init__(self) -> None:
        self._user, self._password = "harbour", secrets.token_urlsafe(18)
        self._folder = tempfile.TemporaryDirectory(prefix="harbour-ca-")
        self._tls = self._certify()
        self._mails: list[ReceivedMail] = []
        self._arrived = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="mail server", daemon=True)
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event
        self.port = 0

    @property
    def uri(self) -> str:
        """The value for COURIER_SMTP_URI: STARTTLS, and the certificate is verified."""
        return f"smtp://{self._user}:{self._password}@{HOST}:{self.port}/"

    @property
    def ca_file(self) -> str:
        """The value for COURIER_SMTP_CA_FILE: the authority to trust."""
        return str(Path(self._folder.name, "ca.pem"))

    @property
    def mails(self) -> tuple[ReceivedMail, ...]:
        """Everything received so far, oldest first."""
        with self._arrived:
            return tuple(self._mails)

    def wait_for(
        self,
        wanted: Callable[[ReceivedMail], bool] = lambda _mail: True,
        *,
        timeout: float,
        after: int = 0,
    ) -> ReceivedMail:
        """The first mail that is ``wanted``, now or within ``timeout`` seconds.

        :param after: how many of the oldest mails to leave out.
        :raises TimeoutError: if none came.
        """
        with self._arrived:
            found = self._arrived.wait_for(
                lambda: next((mail for mail in self._mails[after:] if wanted(mail)), None), timeout
            )
        if found is None:
            raise TimeoutError(f"expected a mail within {timeout:g} seconds, saw none")
        return found

    def __enter__(self) -> MailServer:
        self._thread.start()
        if not self._ready.wait(_PATIENCE):
            raise TimeoutError(f"the mail server did not start within {_PATIENCE:g} seconds")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_PATIENCE)
        self._folder.cleanup()

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - named by aiosmtpd
        """Keep a mail."""
        content = cast("bytes", envelope.content)
        message = email.message_from_bytes(content, policy=email.policy.default)
        tls = server.transport.get_extra_info("ssl_object") if server.transport else None
        with self._arrived:
            mail = ReceivedMail(
                number=len(self._mails),
                recipients=tuple(envelope.rcpt_tos),
                message=message,
                tls_version=tls.version() if tls else None,
                signed_in=bool(session.authenticated),
            )
            self._mails.append(mail)
            self._arrived.notify_all()
        return f"250 2.0.0 OK: kept as number {mail.number}"

    def _certify(self) -> ssl.SSLContext:
        authority = trustme.CA(organization_name="Harbour's own authority")
        authority.cert_pem.write_to_path(self.ca_file)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        authority.issue_cert(HOST).configure_cert(context)
        return context

    def _sign_in(
        self,
        server: SMTP,  # noqa: ARG002 - aiosmtpd's signature
        session: Session,  # noqa: ARG002
        envelope: Envelope,  # noqa: ARG002
        mechanism: str,  # noqa: ARG002
        given: LoginPassword,
    ) -> AuthResult:
        right = hmac.compare_digest(given.login, self._user.encode())
        right &= hmac.compare_digest(given.password, self._password.encode())
        return AuthResult(success=right, handled=False)

    def _connection(self) -> SMTP:
        return SMTP(
            self,
            hostname="mail.harbour.example",
            ident="Harbour's mail server",
            enable_SMTPUTF8=True,
            tls_context=self._tls,
            require_starttls=True,
            auth_required=True,
            authenticator=self._sign_in,
        )

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        connections: list[SMTP] = []

        def connect() -> SMTP:
            connections.append(self._connection())
            return connections[-1]

        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(connect, HOST, 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for connection in connections:
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()
