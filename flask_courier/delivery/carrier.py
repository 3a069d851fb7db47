"""One parcel on its way: over a session, and its result into the database."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from flask_courier.core.clock import utc_now
from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Claim, Parcel, RecordedMessage, SendResult
from flask_courier.core.pace import Pace
from flask_courier.core.replies import Outcome, Phase
from flask_courier.delivery.breaker import Delivery
from flask_courier.delivery.compose import filled
from flask_courier.delivery.hands import Hands
from flask_courier.delivery.ledger import Ledger, Recorded
from flask_courier.delivery.recorder import Recorder
from flask_courier.delivery.transport import Transport
from flask_courier.storage.uow import told

logger = logging.getLogger("flask_courier.worker")

_TOO_MANY_PHASES = frozenset({Phase.DIAL, Phase.TLS, Phase.BANNER, Phase.EHLO, Phase.AUTH})
_STOPPED = "this worker was stopped and hung up"
#: How often a final dot waits another second for the result before, which may stand behind other
#: work with the database; fewer times while that is away. Servers give three minutes (RFC 5321
#: section 4.5.3.2.5).
_PATIENCE, _PATIENCE_AWAY = 60, 10

#: What a parcel's result leads to.
Result = asyncio.Future[Recorded | None]


@dataclass(frozen=True)
class Carrier:
    """Sends parcels for a worker; lives in its loop."""

    transport: Transport
    hands: Hands
    recorder: Recorder
    pace: Pace
    ledger: Ledger
    #: How database work is run.
    call: Callable[..., Any]
    #: Database work, for the end of a probe that has shown nothing.
    leave_turn: Callable[[], None]
    #: Called for every accepted mail, with what makes it readable for whoever records it.
    on_accepted: Callable[[Callable[[], RecordedMessage]], None] | None

    async def carry(
        self,
        parcel: Parcel,
        sessions: int,
        before: Result | None,
        follow: Callable[[], Parcel | None],
    ) -> Result:
        """Send ``parcel``; answer what its result leads to, which holds None if it is nothing.

        A result that was good news may still be on its way into the database: the next parcel of
        the session is announced meanwhile. All others are written down.

        :param sessions: how many sessions are busy, this one included.
        :param before: the result of the session's parcel before. The final dot waits for it, so
            that a crash repeats at most one mail for each session.
        :param follow: as :meth:`flask_courier.delivery.transport.Transport.send` takes it.
        """
        claim = parcel.claim
        probing = self.hands.is_probe(claim)
        result = _nothing()
        try:
            if self.hands.is_held(claim):
                result = await self._carry(parcel, sessions, before, follow)
            else:
                # It has waited here for longer than it lives, or than its lease lasts.
                self.transport.withdraw(parcel)
                await self._try([claim], self.ledger.give_back, [claim])
        finally:
            result.add_done_callback(lambda _: self.hands.drop(claim))
        if probing:
            recorded = await asyncio.shield(result)
            if recorded is None or recorded.blocked is None:
                await self._try([claim], self.leave_turn)
        return result

    async def put_back(self) -> None:
        """Put back everything that waits in hand."""
        probing, claims = self.hands.probe_waits, self.hands.empty()
        if claims:
            await self._try(claims, self.ledger.give_back, claims)
        if probing:
            await self._try(claims, self.leave_turn)

    def withdraw(self, parcel: Parcel) -> None:
        """Put a parcel that ``follow`` answered back among those that wait."""
        self.transport.withdraw(parcel)
        self.hands.put_back(parcel)

    async def _carry(
        self,
        parcel: Parcel,
        sessions: int,
        before: Result | None,
        follow: Callable[[], Parcel | None],
    ) -> Result:
        claim = parcel.claim
        try:
            self.recorder.expected = sessions
            result = await self._send(parcel, sessions, before, follow)
            delivery = Delivery(
                claim, result, parcel.credentials is not None, self.hands.is_probe(claim)
            )
            recorded = self.recorder.submit(delivery)
            recorded.add_done_callback(lambda _: self._tell(parcel, delivery.result))
            if result.outcome is not Outcome.ACCEPTED or self.transport.keeps_mail:
                # Good news may wait; where nothing leaves there is nothing to do meanwhile.
                await asyncio.shield(recorded)
        except RenderError as error:
            await self._try([claim], self.ledger.give_up, claim, "template", str(error))
        except Exception as error:  # noqa: BLE001 - one message may raise anything
            extra = {"action": "message_failed", "message_id": str(claim.id)}
            logger.warning("a message could not be handled: %s", told(error), extra=extra)
            await self._try([claim], self.ledger.fail, claim, type(error).__name__)
        else:
            return recorded
        return _nothing()

    def _tell(self, parcel: Parcel, result: SendResult) -> None:
        _log(parcel, result)
        if result.outcome is Outcome.ACCEPTED and self.on_accepted is not None:
            self.on_accepted(partial(_recorded, parcel))

    async def _send(
        self,
        parcel: Parcel,
        sessions: int,
        before: Result | None,
        follow: Callable[[], Parcel | None],
    ) -> SendResult:
        started, begun = time.monotonic(), utc_now()
        past_dot = False

        async def ready() -> None:
            if before is not None:
                await self._wait(before, parcel.claim)

        def is_held() -> bool:
            nonlocal past_dot
            is_written = before is None or before.done()
            past_dot = is_written and self.hands.is_held(parcel.claim)
            return past_dot

        self.pace.started(started)
        try:
            result = await self.transport.send(parcel, is_held=is_held, ready=ready, follow=follow)
        except asyncio.CancelledError:
            # The drain is over. What the server may have is unknown; the rest was dropped with the
            # connection (RFC 5321 section 4.1.1.10).
            result = SendResult(
                Outcome.UNKNOWN if past_dot else Outcome.TRANSPORT_FAULT,
                Phase.DOT if past_dot else Phase.DATA,
                self.transport.name.partition("#")[0],
                begun,
                timedelta(seconds=time.monotonic() - started),
                text=_STOPPED,
                cause="worker_stopped",
            )
        self._set_pace(result, sessions)
        return result

    async def _wait(self, before: Result, claim: Claim) -> None:
        """Wait for a result as long as it makes sense: counted, since a busy loop is no clock."""
        waits = 0
        while not before.done() and self.hands.is_held(claim):
            if waits >= (_PATIENCE_AWAY if self.recorder.in_trouble else _PATIENCE):
                return
            await self.recorder.wait(before)
            waits += 1

    def _set_pace(self, result: SendResult, sessions: int) -> None:
        now = time.monotonic()
        if result.outcome is Outcome.ACCEPTED:
            self.pace.accepted(now)
        elif result.outcome is Outcome.THROTTLED and result.phase in _TOO_MANY_PHASES:
            # Each one that is refused is one too many; what is allowed has counted the others.
            self.pace.too_many(now, min(sessions, self.pace.connections))
        elif result.outcome is Outcome.THROTTLED:
            hint = None if result.wait is None else result.wait.total_seconds()
            self.pace.throttled(now, hint=hint, sessions=sessions)

    async def _try(self, claims: Sequence[Claim], work: Callable[..., None], *args: Any) -> None:
        """Database work that ends with ``claims``; if it fails, their leases bring them back."""
        try:
            await self.call(work, *args)
        except Exception as error:  # noqa: BLE001 - the lease brings it back
            logger.warning(
                "a message cannot be given back yet: %s",
                told(error),
                extra={"action": "release_failed", "message_id": str(claims[0].id)},
            )


@dataclass
class Upcoming:
    """What one session sends next, and whether the server has been told so."""

    take: Callable[[], Parcel | None]
    may_announce: Callable[[], bool]
    _announced: Parcel | None = None

    @property
    def is_announced(self) -> bool:
        """Whether there is a parcel that the server has been told of."""
        return self._announced is not None

    def announce(self) -> Parcel | None:
        """The parcel to tell the server of now, if any."""
        if self._announced is None and self.may_announce():
            self._announced = self.take()
        return self._announced

    def next(self) -> Parcel | None:
        """The parcel to send now: the one that was announced before all others."""
        parcel, self._announced = self._announced or self.take(), None
        return parcel

    def leave(self, carrier: Carrier) -> bool:
        """Leave what was announced to another session; answer whether there was anything."""
        parcel, self._announced = self._announced, None
        if parcel is not None:
            carrier.withdraw(parcel)
        return parcel is not None


def _nothing() -> Result:
    nothing: Result = asyncio.get_running_loop().create_future()
    nothing.set_result(None)
    return nothing


def _log(parcel: Parcel, result: SendResult) -> None:
    """One line for each attempt; the server's words may hold an address and are not in it."""
    level = logging.INFO if result.outcome is Outcome.ACCEPTED else logging.WARNING
    if logger.isEnabledFor(level):
        logger.log(
            level,
            "attempt %s at %s, code %s; the delivery log has the server's words",
            result.outcome,
            result.phase,
            result.code,
            extra={
                "action": "attempt",
                "message_id": str(parcel.claim.id),
                "outcome": str(result.outcome),
                "phase": str(result.phase),
                "code": result.code,
                "cause": result.cause,
            },
        )


def _recorded(parcel: Parcel) -> RecordedMessage:
    mail = filled(parcel)
    token = code = link = None
    if parcel.credentials is not None:
        token, code, _ = parcel.credentials.values
        link = next((word for word in mail.text.split() if token in word), None)
    return RecordedMessage(
        parcel.claim.kind, parcel.recipient, mail.subject, mail.text, mail.html, link, token, code
    )
