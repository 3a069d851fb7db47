"""The SMTP transport: sessions that are reused while they are useful, and closed politely."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from flask_courier.core.config import Sender
from flask_courier.core.messages import Parcel, SendResult
from flask_courier.core.replies import Phase
from flask_courier.delivery.compose import composer, wire_address
from flask_courier.delivery.envelope import Envelope, SmtpSettings
from flask_courier.delivery.smtp import SmtpSession
from flask_courier.delivery.transport import at_once, none_follows

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
        self._compose = composer(settings.uri.host, sender=sender, headers=headers)
        self._idle: list[SmtpSession] = []
        # By claim: what a session has been told that it carries next.
        self._announced: dict[tuple[uuid.UUID, str], tuple[SmtpSession, Envelope]] = {}
        self._is_wary = False
        self._reaper: asyncio.Task[None] | None = None
        self._farewells: set[asyncio.Task[None]] = set()

    async def send(
        self,
        parcel: Parcel,
        *,
        is_held: Callable[[], bool],
        ready: Callable[[], Awaitable[None]] = at_once,
        follow: Callable[[], Parcel | None] = none_follows,
    ) -> SendResult:
        """Carry ``parcel`` over a session that is open already, or over a new one."""
        session, envelope = self._announced.pop(parcel.claim.key, (None, None))
        if envelope is None:
            envelope = self._envelope(parcel)
        while True:
            session = session or self._take_idle()
            if session is None:
                session = SmtpSession(self._settings)
                refused = await session.open()
                if refused is not None:
                    return refused
            is_reused = session.carried > 0
            try:
                result = await session.send(
                    envelope,
                    is_held=is_held,
                    ready=ready,
                    follow=partial(self._announce, session, follow),
                )
            except BaseException:
                # Cancelled in mid-message: closing now makes the server drop what it has so far
                # (RFC 5321 section 4.1.1.10).
                session.abort()
                raise
            self._is_wary = self._is_wary or session.is_wary
            if is_reused and _was_stale(result) and not session.is_open:
                session = None
                continue
            if all(session is not one for one, _ in self._announced.values()):
                self._put_back(session)
            return result

    def withdraw(self, parcel: Parcel) -> None:
        """Hang up where ``parcel`` has been announced: the server drops it without its dot."""
        session, _ = self._announced.pop(parcel.claim.key, (None, None))
        if session is not None:
            session.abort()

    def _announce(
        self, session: SmtpSession, follow: Callable[[], Parcel | None]
    ) -> Envelope | None:
        """What ``session`` carries next, if it carries any more."""
        # The message that is under way is not counted yet.
        if self._is_wary or self._has_served(session, session.carried + 1):
            return None
        parcel = follow()
        if parcel is None:
            return None
        try:
            envelope = self._envelope(parcel)
        except Exception:  # noqa: BLE001 - its own turn comes, and tells
            return None
        self._announced[parcel.claim.key] = session, envelope
        return envelope

    async def close(self) -> None:
        """QUIT on every idle session."""
        for session, _ in self._announced.values():
            session.abort()
        self._announced.clear()
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
            secrets = parcel.credentials.values
        return Envelope(
            sender=wire_address(self._sender.address),
            recipient=wire_address(parcel.recipient),
            payload=self._compose(parcel),
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
        if self._has_served(session, session.carried):
            self._say_farewell(session)
            return
        self._idle.append(session)
        if self._reaper is None or self._reaper.done():
            self._reaper = asyncio.create_task(self._close_when_idle())

    def _has_served(self, session: SmtpSession, messages: int) -> bool:
        reuse = self._settings.reuse
        return messages >= reuse.messages or session.idle_since - session.opened_at >= reuse.age

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
