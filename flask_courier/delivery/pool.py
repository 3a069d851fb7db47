"""The SMTP transport: sessions that are reused while they are useful, and closed politely."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from flask_courier.core.config import Sender
from flask_courier.core.messages import Parcel, SendResult
from flask_courier.core.providers import always, completed, tracking_off
from flask_courier.core.replies import Phase
from flask_courier.delivery.compose import compose, wire_address
from flask_courier.delivery.envelope import Envelope, SmtpSettings
from flask_courier.delivery.smtp import SmtpSession
from flask_courier.delivery.transport import at_once

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
        self.name = settings.name
        self._sender = sender
        host = settings.uri.host
        self._headers = completed(headers, always(host))
        self._link_headers = tracking_off(host)
        self._idle: list[SmtpSession] = []
        self._reaper: asyncio.Task[None] | None = None
        self._farewells: set[asyncio.Task[None]] = set()

    async def send(
        self,
        parcel: Parcel,
        *,
        is_held: Callable[[], bool],
        ready: Callable[[], Awaitable[None]] = at_once,
    ) -> SendResult:
        """Carry ``parcel`` over a session that is open already, or over a new one."""
        envelope = self._envelope(parcel)
        while True:
            session = self._take_idle()
            if session is None:
                session = SmtpSession(self._settings)
                refused = await session.open()
                if refused is not None:
                    return refused
            is_reused = session.carried > 0
            try:
                result = await session.send(envelope, is_held=is_held, ready=ready)
            except BaseException:
                # Cancelled in mid-message: closing now makes the server drop what it has so far
                # (RFC 5321 section 4.1.1.10).
                session.abort()
                raise
            if is_reused and _was_stale(result) and not session.is_open:
                continue
            self._put_back(session)
            return result

    async def close(self) -> None:
        """QUIT on every idle session."""
        if self._reaper is not None:
            self._reaper.cancel()
            await asyncio.gather(self._reaper, return_exceptions=True)
            self._reaper = None
        idle, self._idle = self._idle, []
        self._say_farewell(*idle)
        await asyncio.gather(*self._farewells)

    def _envelope(self, parcel: Parcel) -> Envelope:
        secrets: tuple[str, ...] = ()
        if parcel.credentials is not None:
            secrets = (parcel.credentials.token.value, parcel.credentials.code.value)
        return Envelope(
            sender=wire_address(self._sender.address),
            recipient=wire_address(parcel.recipient),
            payload=compose(
                parcel,
                sender=self._sender,
                headers=self._headers,
                link_headers=self._link_headers,
            ),
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
        if not session.is_open:
            return
        reuse = self._settings.reuse
        if session.carried >= reuse.messages or session.idle_since - session.opened_at >= reuse.age:
            self._say_farewell(session)
            return
        self._idle.append(session)
        if self._reaper is None or self._reaper.done():
            self._reaper = asyncio.create_task(self._close_when_idle())

    async def _close_when_idle(self) -> None:
        loop, patience = asyncio.get_running_loop(), self._settings.reuse.idle
        while self._idle:
            oldest = min(session.idle_since for session in self._idle)
            await asyncio.sleep(max(0.0, oldest + patience - loop.time()))
            limit = loop.time() - patience
            old = [session for session in self._idle if session.idle_since <= limit]
            self._idle = [session for session in self._idle if session.idle_since > limit]
            self._say_farewell(*old)

    def _say_farewell(self, *sessions: SmtpSession) -> None:
        """QUIT, while nobody waits for the answer; :meth:`close` does."""
        for session in sessions:
            task = asyncio.create_task(session.close())
            self._farewells.add(task)
            task.add_done_callback(self._farewells.discard)


def _was_stale(result: SendResult) -> bool:
    """Whether the server had closed the session while it was idle, which says nothing today."""
    return result.phase is Phase.MAIL and result.code in (None, _CLOSING)
