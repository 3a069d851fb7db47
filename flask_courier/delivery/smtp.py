"""One SMTP connection: the only module that knows aiosmtplib.

aiosmtplib connects, encrypts and authenticates over a socket that is dialled here, so that the name
on the certificate may differ from the host. A message then goes out command by command, which tells
exactly how far it came; whatever goes wrong is answered as a ``SendResult``, never raised.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

import aiosmtplib

from flask_courier.core.clock import utc_now
from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Phase, Reply, classify, masked, printable
from flask_courier.core.smtp_uri import Security, SmtpUri
from flask_courier.delivery.dial import dial
from flask_courier.delivery.envelope import Envelope, SmtpSettings
from flask_courier.delivery.tls import words

T = TypeVar("T")

# Seconds. RFC 5321 section 4.5.3.2 asks for these or more once the connection stands.
_OPEN_TIMEOUT = 30.0
_COMMAND_TIMEOUT = 300.0
_DATA_TIMEOUT = 120.0
_DOT_TIMEOUT = 600.0
_QUIT_TIMEOUT = 5.0

_LINE_START_DOT = re.compile(rb"^\.", re.MULTILINE)
_CLOSING = 421
_START_INPUT = 354


class _Fault(Exception):
    """How far an exchange came before it ended, and what was said last."""

    def __init__(self, phase: Phase, text: str, reply: Reply | None = None) -> None:
        super().__init__(phase, text)
        self.phase = phase
        self.text = text
        self.reply = reply


class SmtpSession:
    """A connection that is logged in; it carries one message at a time."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._smtp: aiosmtplib.SMTP | None = None
        self._phase = Phase.DIAL
        self._address: str | None = None
        # Kept from the handshake: what a broken connection was like is asked for afterwards.
        self._tls_version: str | None = None
        self._tls_cipher: str | None = None
        # A transaction that ended before the final dot is still open on the server, which then
        # answers 503 to the next MAIL (RFC 5321 section 4.1.1.5).
        self._needs_reset = False
        #: Whether a message has gone out over it: then its first fault may be old age.
        self.used = False
        #: ``loop.time()`` of the last reply.
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the connection still stands, as far as this side knows."""
        return self._smtp is not None and self._smtp.is_connected

    async def open(self) -> SendResult | None:
        """Connect, encrypt and log in; None if that worked, else what it came to."""
        timing = _Timing()
        try:
            await asyncio.wait_for(self._establish(), _OPEN_TIMEOUT)
        except _Fault as fault:
            refused = fault
        except asyncio.TimeoutError:
            refused = _Fault(self._phase, f"no answer within {_OPEN_TIMEOUT:.0f} seconds")
        else:
            self.idle_since = asyncio.get_running_loop().time()
            return None
        self.abort()
        return self._result(refused, timing, ())

    async def send(self, envelope: Envelope) -> SendResult:
        """Carry one message; the session must be open."""
        timing = _Timing()
        try:
            reply = await self._transaction(envelope)
        except _Fault as fault:
            end = fault
            if fault.reply is None:
                self.abort()
        else:
            end = _Fault(Phase.DOT, reply.text, reply)
        self.used = True
        self.idle_since = asyncio.get_running_loop().time()
        return self._result(end, timing, envelope.unspeakable())

    async def close(self) -> None:
        """Say QUIT and close."""
        if self._smtp is not None and self._smtp.is_connected:
            # The server may be gone or slow; nothing is lost with a QUIT that it does not hear.
            with contextlib.suppress(aiosmtplib.SMTPException, OSError, asyncio.TimeoutError):
                await asyncio.wait_for(self._smtp.execute_command(b"QUIT"), _QUIT_TIMEOUT)
        self.abort()

    def abort(self) -> None:
        """Close without a word."""
        smtp, self._smtp = self._smtp, None
        if smtp is not None:
            if isinstance(smtp.transport, asyncio.WriteTransport):
                # Not close(): TLS would wait for the server's farewell, longer than a loop may run.
                smtp.transport.abort()
            smtp.close()

    async def _establish(self) -> None:
        uri = self._settings.uri
        try:
            sock, self._address = await dial(uri.host, uri.port)
        except OSError as error:
            raise _Fault(Phase.DIAL, f"no connection: {words(error)}") from error
        self._smtp = smtp = aiosmtplib.SMTP(
            hostname=uri.tls_name,
            port=None,
            sock=sock,
            local_hostname=self._settings.local_name,
            timeout=_OPEN_TIMEOUT,
            use_tls=uri.security is Security.IMPLICIT,
            start_tls=False,
            tls_context=self._settings.tls,
        )
        first = Phase.TLS if uri.security is Security.IMPLICIT else Phase.BANNER
        await self._step(first, smtp.connect)
        await self._step(Phase.EHLO, smtp.ehlo)
        if uri.security is Security.STARTTLS:
            if not smtp.supports_extension("starttls"):
                raise _Fault(
                    Phase.TLS,
                    "the server does not offer STARTTLS, which the URI requires; nothing was sent",
                )
            await self._step(
                Phase.TLS,
                lambda: smtp.starttls(server_hostname=uri.tls_name, tls_context=self._settings.tls),
            )
            await self._step(Phase.EHLO, smtp.ehlo)
        if uri.security is not Security.PLAINTEXT:
            self._note_tls(smtp)
        if uri.username is not None and uri.password is not None:
            await self._log_in(smtp)

    async def _log_in(self, smtp: aiosmtplib.SMTP) -> None:
        """One AUTH a connection: repeated failures lock accounts."""
        uri, offered = self._settings.uri, smtp.supported_auth_methods
        if not {"plain", "login"} & set(offered):
            raise _Fault(
                Phase.AUTH, "the server offers neither AUTH PLAIN nor AUTH LOGIN on this connection"
            )
        log_in = smtp.auth_plain if "plain" in offered else smtp.auth_login
        await self._step(Phase.AUTH, partial(log_in, uri.username or "", uri.password or ""))

    async def _transaction(self, envelope: Envelope) -> Reply:
        smtp = self._smtp
        if smtp is None or smtp.protocol is None:
            raise _Fault(Phase.MAIL, "the connection is closed")
        if self._needs_reset:
            await self._command(Phase.MAIL, {250}, b"RSET")
        self._needs_reset = True
        extra = []
        if not (envelope.sender + envelope.recipient).isascii():
            if not smtp.supports_extension("smtputf8"):
                text = "5.6.7 the server does not support SMTPUTF8, which this address needs"
                raise _Fault(Phase.RCPT, text, Reply(550, text))
            extra = [b"SMTPUTF8"]
        sender, recipient = envelope.sender.encode(), envelope.recipient.encode()
        await self._command(Phase.MAIL, {250}, b"MAIL", b"FROM:<" + sender + b">", *extra)
        await self._command(Phase.RCPT, {250, 251, 252}, b"RCPT", b"TO:<" + recipient + b">")
        await self._command(Phase.DATA, {_START_INPUT}, b"DATA", timeout=_DATA_TIMEOUT)
        protocol = smtp.protocol
        body = (
            envelope.payload if envelope.payload.endswith(b"\r\n") else envelope.payload + b"\r\n"
        )

        async def final_dot() -> aiosmtplib.SMTPResponse:
            protocol.write(_LINE_START_DOT.sub(b"..", body) + b".\r\n")
            return await protocol.read_response(timeout=_DOT_TIMEOUT)

        reply = _reply(await self._step(Phase.DOT, final_dot))
        self._needs_reset = False
        if reply.code // 100 not in (2, 4, 5) or reply.code == _CLOSING:
            self.abort()
        if not 200 <= reply.code < 300:
            raise _Fault(Phase.DOT, reply.text, reply)
        return reply

    async def _command(
        self, phase: Phase, expected: set[int], *words: bytes, timeout: float = _COMMAND_TIMEOUT
    ) -> None:
        smtp = self._smtp
        if smtp is None:
            raise _Fault(phase, "the connection is closed")
        response = await self._step(phase, lambda: smtp.execute_command(*words, timeout=timeout))
        reply = _reply(response)
        if reply.code not in expected:
            if reply.code == _CLOSING or reply.code < 400:
                # It closes, or it answers something that was not asked: out of step either way.
                self.abort()
            raise _Fault(phase, reply.text, reply)

    async def _step(self, phase: Phase, call: Callable[[], Awaitable[T]]) -> T:
        """Await ``call``; whatever aiosmtplib and asyncio raise becomes a fault of ``phase``."""
        self._phase = phase
        try:
            return await call()
        except aiosmtplib.SMTPResponseException as error:
            reply = Reply(error.code, error.message) if error.code > 0 else None
            raise _Fault(phase, error.message, reply) from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            # ValueError: a certificate error is one, and so is a command with a control character.
            cause = None if isinstance(error, aiosmtplib.SMTPTimeoutError) else error.__cause__
            raise _Fault(phase, words(cause or error)) from error

    def _note_tls(self, smtp: aiosmtplib.SMTP) -> None:
        tls = smtp.get_transport_info("ssl_object") if smtp.is_connected else None
        if tls is not None:
            self._tls_version, self._tls_cipher = tls.version(), tls.cipher()[0]

    def _result(self, end: _Fault, timing: _Timing, secrets: tuple[str, ...]) -> SendResult:
        uri, reply = self._settings.uri, end.reply
        return SendResult(
            outcome=classify(end.phase, reply),
            phase=end.phase,
            transport=uri.origin,
            started_at=timing.started_at,
            duration=timing.elapsed(),
            host=uri.host,
            address=self._address,
            tls_version=self._tls_version,
            tls_cipher=self._tls_cipher,
            code=reply.code if reply else None,
            enhanced_code=reply.enhanced_code if reply else None,
            text=printable(masked(end.text, (*secrets, *_spellings(uri)))),
        )


class _Timing:
    """When something began, by the wall clock, and how long it takes, by the monotonic one."""

    def __init__(self) -> None:
        self.started_at: datetime = utc_now()
        self._begun = time.monotonic()

    def elapsed(self) -> timedelta:
        return timedelta(seconds=time.monotonic() - self._begun)


def _reply(response: aiosmtplib.SMTPResponse) -> Reply:
    return Reply(response.code, response.message)


def _spellings(uri: SmtpUri) -> tuple[str, ...]:
    """The credentials as a server may quote them: plain, and as AUTH sends them (RFC 4616)."""
    if uri.username is None or uri.password is None:
        return ()
    plain = (uri.username, uri.password, f"\0{uri.username}\0{uri.password}")
    return (*plain, *(base64.b64encode(word.encode()).decode() for word in plain))
