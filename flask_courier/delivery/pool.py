"""The SMTP transport: sessions that are reused while they are useful, and closed politely."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from flask_courier.core.config import Sender
from flask_courier.core.messages import Parcel, SendResult
from flask_courier.core.replies import Outcome, Phase
from flask_courier.delivery.compose import compose
from flask_courier.delivery.envelope import Envelope, SmtpSettings
from flask_courier.delivery.smtp import SmtpSession

#: Seconds a session may stand idle. Servers wait 5 minutes (RFC 5321 section 4.5.3.2.7); many less.
_MAX_IDLE = 30.0
_CLOSING = 421


class SmtpTransport:
    """One SMTP URI, over as many sessions as are asked for at a time.

    The worker bounds how many that are; every session serves one message at a time.
    """

    keeps_mail = False

    def __init__(
        self, settings: SmtpSettings, *, sender: Sender, headers: Mapping[str, str]
    ) -> None:
        self._settings = settings
        self._sender = sender
        self._headers = headers
        self._idle: list[SmtpSession] = []
        self._reaper: asyncio.Task[None] | None = None

    async def send(self, parcel: Parcel) -> SendResult:
        """Carry ``parcel`` over a session that is open already, or over a new one."""
        envelope = self._envelope(parcel)
        while True:
            session = self._take_idle() or SmtpSession(self._settings)
            if not session.is_open:
                refused = await session.open()
                if refused is not None:
                    return refused
            reused = session.used
            try:
                result = await session.send(envelope)
            except BaseException:
                # Cancelled in mid-message: closing now makes the server drop what it has so far
                # (RFC 5321 section 4.1.1.10).
                session.abort()
                raise
            if reused and _was_stale(result):
                continue
            self._put_back(session)
            return result

    async def close(self) -> None:
        """QUIT on every idle session."""
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        idle, self._idle = self._idle, []
        await asyncio.gather(*(session.close() for session in idle))

    def _envelope(self, parcel: Parcel) -> Envelope:
        secrets: tuple[str, ...] = ()
        if parcel.credentials is not None:
            secrets = (parcel.credentials.token.value, parcel.credentials.code.value)
        return Envelope(
            sender=self._sender.address,
            recipient=parcel.recipient,
            payload=compose(parcel, sender=self._sender, headers=self._headers),
            secrets=secrets,
        )

    def _take_idle(self) -> SmtpSession | None:
        """The session used last: the others may then grow old enough to be closed."""
        while self._idle:
            session = self._idle.pop()
            if session.is_open:
                return session
        return None

    def _put_back(self, session: SmtpSession) -> None:
        if session.is_open:
            self._idle.append(session)
            if self._reaper is None or self._reaper.done():
                self._reaper = asyncio.create_task(self._close_when_idle())

    async def _close_when_idle(self) -> None:
        loop = asyncio.get_running_loop()
        while self._idle:
            oldest = min(session.idle_since for session in self._idle)
            await asyncio.sleep(max(0.0, oldest + _MAX_IDLE - loop.time()))
            limit = loop.time() - _MAX_IDLE
            old = [session for session in self._idle if session.idle_since <= limit]
            self._idle = [session for session in self._idle if session.idle_since > limit]
            await asyncio.gather(*(session.close() for session in old))


def _was_stale(result: SendResult) -> bool:
    """Whether the server had closed the session while it was idle, which says nothing today."""
    return (
        result.outcome is Outcome.TRANSPORT_FAULT
        and result.phase is Phase.MAIL
        and result.code in (None, _CLOSING)
    )
