"""One SMTP connection: the only module that knows aiosmtplib.

aiosmtplib connects, encrypts and authenticates over a socket that is dialled here, so that the name
on the certificate may differ from the host. Then its transport is taken over by a
:class:`~flask_courier.delivery.wire.Wire`, and messages go out over that. Whatever goes wrong is
answered as a ``SendResult``, never raised.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar, cast

import aiosmtplib

from flask_courier.core.clock import utc_now
from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Phase, Reply, Trouble
from flask_courier.core.reply_table import judge
from flask_courier.core.smtp_uri import Security
from flask_courier.delivery.dial import dial
from flask_courier.delivery.discretion import Discretion
from flask_courier.delivery.envelope import Envelope, SmtpSettings
from flask_courier.delivery.exchange import Exchange, nobody
from flask_courier.delivery.fault import Fault
from flask_courier.delivery.tls import not_after, trouble_of, words
from flask_courier.delivery.transport import at_once
from flask_courier.delivery.wire import QUIT, Wire, cut

T = TypeVar("T")

#: Best first. Over TLS the first two are alike; CRAM-MD5 needs a server that keeps passwords in a
#: form that can be read back, so that few who offer it can check it.
_MECHANISMS = ("plain", "login", "cram-md5")


class SmtpSession:
    """A connection that is logged in; it carries one message at a time."""

    def __init__(self, settings: SmtpSettings) -> None:
        self._settings = settings
        self._discretion = Discretion(settings.uri)
        self._socket: socket.socket | None = None
        self._transport: asyncio.Transport | None = None
        self._wire: Wire | None = None
        self._exchange: Exchange | None = None
        #: The IP address it reached.
        self.address: str | None = None
        #: ``"TLSv1.3"`` and the like; None in the clear.
        self.tls_version: str | None = None
        self.tls_cipher: str | None = None
        #: When the server's certificate expires; None in the clear, or if it was not verified.
        self.not_after: datetime | None = None
        #: The keywords that the server gave with its last EHLO, in capitals (RFC 5321 4.1.1.1).
        self.extensions: frozenset[str] = frozenset()
        #: Which AUTH logged in: ``"PLAIN"``, ``"LOGIN"`` or ``"CRAM-MD5"``; None without a login.
        self.mechanism: str | None = None
        #: How many messages it has been given.
        self.carried = 0
        #: ``loop.time()`` when it was opened, and of the end of its last message.
        self.opened_at = 0.0
        self.idle_since = 0.0

    @property
    def is_open(self) -> bool:
        """Whether the connection still stands, as far as this side knows."""
        return self._wire is not None and self._wire.is_open

    @property
    def is_wary(self) -> bool:
        """Whether the server did not take a message that was announced behind a dot."""
        return self._exchange is not None and self._exchange.is_wary

    async def open(self) -> SendResult | None:
        """Connect, encrypt and log in; None if that worked, else what it came to."""
        timing = _Timing()
        try:
            await self._establish()
        except Fault as fault:
            self.abort()
            return self._result(fault, timing, None)
        except BaseException:
            self.abort()
            raise
        self.opened_at = self.idle_since = asyncio.get_running_loop().time()
        return None

    async def send(
        self,
        envelope: Envelope,
        *,
        is_held: Callable[[], bool],
        ready: Callable[[], Awaitable[None]] = at_once,
        follow: Callable[[], Envelope | None] = nobody,
    ) -> SendResult:
        """Carry one message.

        :param is_held: as :meth:`flask_courier.delivery.transport.Transport.send` takes it.
        :param ready: the same.
        :param follow: what this session is given next, if that is known already; asked together
            with ``is_held``.
        """
        timing = _Timing()
        if self._exchange is None:
            end = Fault(Phase.MAIL, "the connection is closed", trouble=Trouble.DROPPED)
            return self._result(end, timing, envelope)
        try:
            reply = await self._exchange.carry(envelope, is_held, ready, follow)
        except Fault as fault:
            end = fault
        else:
            end = Fault(Phase.DOT, reply.text, reply=reply)
        self.carried += 1
        self.idle_since = asyncio.get_running_loop().time()
        return self._result(end, timing, envelope)

    async def close(self) -> None:
        """Say QUIT and close."""
        try:
            if self._wire is not None:
                # The server may be gone or slow; nothing is lost with a QUIT that it does not hear.
                await self._wire.ask(b"QUIT\r\n", (QUIT,))
        finally:
            self.abort()

    def abort(self) -> None:
        """Close without a word."""
        if self._wire is not None:
            self._wire.abort()
            return
        if self._transport is not None:
            cut(self._transport)
        if self._socket is not None:
            # aiosmtplib lets go of a transport that it could not use, with a mere close().
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    async def _establish(self) -> None:
        uri, timeouts = self._settings.uri, self._settings.timeouts
        smtp = aiosmtplib.SMTP(
            hostname=uri.tls_name,
            port=None,
            local_hostname=self._settings.local_name,
            timeout=timeouts.handshake,
            use_tls=uri.security is Security.IMPLICIT,
            start_tls=False,
            tls_context=self._settings.tls,
        )
        self._socket, self.address = await dial(uri.host, uri.port, timeouts)
        await self._step(smtp, Phase.BANNER, partial(smtp.connect, sock=self._socket))
        await self._step(smtp, Phase.EHLO, smtp.ehlo)
        if uri.security is Security.STARTTLS:
            if not smtp.supports_extension("starttls"):
                raise Fault(
                    Phase.TLS,
                    "the server does not offer STARTTLS, which the URI requires; nothing was sent",
                    trouble=Trouble.NO_STARTTLS,
                )
            start = partial(
                smtp.starttls, server_hostname=uri.tls_name, tls_context=self._settings.tls
            )
            await self._step(smtp, Phase.TLS, start)
            await self._step(smtp, Phase.EHLO, smtp.ehlo)
        self._note_tls()
        self.extensions = frozenset(word.upper() for word in smtp.esmtp_extensions)
        if uri.username is not None and uri.password is not None:
            await self._log_in(smtp, uri.username, uri.password)
        self._take_over(smtp)

    async def _log_in(self, smtp: aiosmtplib.SMTP, username: str, password: str) -> None:
        """One AUTH a connection: repeated failures lock accounts."""
        offered = smtp.supported_auth_methods
        chosen = next((name for name in _MECHANISMS if name in offered), None)
        if chosen is None:
            text = "the server offers neither AUTH PLAIN nor LOGIN nor CRAM-MD5 on this connection"
            raise Fault(Phase.AUTH, text, trouble=Trouble.NO_AUTH)
        ways = {
            "plain": smtp.auth_plain,
            "login": smtp.auth_login,
            "cram-md5": smtp.auth_crammd5,
        }
        await self._step(smtp, Phase.AUTH, partial(ways[chosen], username, password))
        self.mechanism = chosen.upper()

    async def _step(
        self, smtp: aiosmtplib.SMTP, phase: Phase, call: Callable[[], Awaitable[T]]
    ) -> T:
        """Await ``call``; whatever aiosmtplib and asyncio raise becomes a fault of ``phase``."""
        try:
            return await call()
        except aiosmtplib.SMTPResponseException as error:
            # Below 400 it answers something that was not asked; -1 is no reply at all.
            reply = Reply(error.code, error.message) if error.code > 0 else None
            trouble = None if error.code >= 400 else Trouble.OUT_OF_STEP
            raise Fault(phase, error.message, reply=reply, trouble=trouble) from error
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise self._explained(phase, error) from error
        finally:
            # aiosmtplib forgets it when something goes wrong; :meth:`abort` must not.
            if smtp.transport is not None:
                self._transport = cast("asyncio.Transport", smtp.transport)

    def _explained(self, phase: Phase, error: Exception) -> Fault:
        """What an error that is no reply means; aiosmtplib hides the reason behind its own."""
        cause = error.__cause__ or error
        if phase is Phase.BANNER and self._settings.uri.security is Security.IMPLICIT:
            # The banner comes after the handshake, and what aiosmtplib says of it is its own.
            phase = Phase.BANNER if isinstance(cause, aiosmtplib.SMTPException) else Phase.TLS
        if isinstance(error, aiosmtplib.SMTPTimeoutError):
            patience = self._settings.timeouts.handshake
            return Fault(phase, f"no answer within {patience:g} seconds", trouble=Trouble.TIMED_OUT)
        if isinstance(error, aiosmtplib.SMTPServerDisconnected | aiosmtplib.SMTPConnectError):
            reason = cause if isinstance(cause, OSError) else None
            if reason is None or isinstance(reason, aiosmtplib.SMTPException):
                text = "the server closed the connection"
                return Fault(phase, text, trouble=Trouble.DROPPED)
            return Fault(phase, words(reason), trouble=trouble_of(reason))
        if isinstance(error, OSError):
            return Fault(phase, words(error), trouble=trouble_of(error))
        return Fault(phase, words(error), trouble=Trouble.OUT_OF_STEP)

    def _note_tls(self) -> None:
        tls = self._transport.get_extra_info("ssl_object") if self._transport else None
        if tls is not None:
            self.tls_version, self.tls_cipher = tls.version(), tls.cipher()[0]
            self.not_after = not_after(tls)

    def _take_over(self, smtp: aiosmtplib.SMTP) -> None:
        """Give the transport to a wire; nothing may be awaited between the last reply and this.

        What the server sent behind its last reply stays with aiosmtplib and is never looked at:
        nothing was asked. What arrives from now on is refused for the same reason, by the wire.
        """
        transport = cast("asyncio.Transport | None", smtp.transport)
        if transport is None or transport.is_closing():
            text = "the server closed the connection"
            raise Fault(Phase.MAIL, text, trouble=Trouble.DROPPED)
        self._wire = Wire(transport, self._settings.timeouts)
        transport.set_protocol(self._wire)
        self._exchange = Exchange(self._wire, self.extensions, pipelining=self._settings.pipelining)

    def _result(self, end: Fault, timing: _Timing, envelope: Envelope | None) -> SendResult:
        uri, reply = self._settings.uri, end.reply
        # A reply out of step answers something else, and means nothing here.
        heard = None if end.trouble is Trouble.OUT_OF_STEP else reply
        verdict = judge(end.phase, heard, end.trouble)
        return SendResult(
            outcome=verdict.outcome,
            phase=end.phase,
            transport=self._settings.name or uri.origin,
            started_at=timing.started_at,
            duration=timing.elapsed(),
            host=uri.host,
            address=self.address,
            tls_version=self.tls_version,
            tls_cipher=self.tls_cipher,
            code=reply.code if reply else None,
            enhanced_code=reply.enhanced_code if reply else None,
            text=self._discretion.kept(end.text, envelope),
            cause=verdict.cause,
            wait=verdict.wait,
            suspect=verdict.suspect,
        )


class _Timing:
    """When something began, by the wall clock, and how long it takes, by the monotonic one."""

    def __init__(self) -> None:
        self.started_at: datetime = utc_now()
        self._begun = time.monotonic()

    def elapsed(self) -> timedelta:
        return timedelta(seconds=time.monotonic() - self._begun)
