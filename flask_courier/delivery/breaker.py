"""What results say about the transport: whether its breaker opens, closes, or stays as it is."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from flask_courier.core.breaker import wait_after
from flask_courier.core.causes import CAUSES
from flask_courier.core.ids import fraction
from flask_courier.core.messages import Claim, SendResult
from flask_courier.core.replies import Outcome
from flask_courier.core.suspicion import Suspicion
from flask_courier.storage import outbox, transports
from flask_courier.storage.uow import Session

#: Seconds between two notes that all is well, and as often as ``transports.ok`` writes one.
_OK_INTERVAL = 10.0
#: Refusals of this kind speak of this worker and not of the transport.
_OURS = frozenset({"lease_lost", "worker_stopped"})
#: From RCPT on it is the message that is refused: the transport works.
_WORKS = (Outcome.ACCEPTED, Outcome.REJECTED, Outcome.DEFERRED, Outcome.UNKNOWN)


@dataclass
class Delivery:
    """One attempt that has ended, on its way into the database."""

    claim: Claim
    result: SendResult
    #: The mail carries a token; a repeat shows the reader the same link, and does no harm.
    carries_token: bool
    #: It went out alone, to see whether the transport is back.
    probing: bool = False
    #: Filled in once, before the first try to write it down.
    effect: Effect | None = None

    @property
    def is_fault(self) -> bool:
        """Whether it opens the breaker, or keeps it open."""
        return self.effect is not None and self.effect.fault


@dataclass(frozen=True)
class Effect:
    """What a result means for the transport."""

    #: Whether it opens the breaker, or keeps it open.
    fault: bool = False
    #: Messages that were blamed for what turns out to be the transport's doing.
    refunds: tuple[uuid.UUID, ...] = ()


@dataclass
class Breaker:
    """One worker's view of one transport."""

    name: str
    #: Throttled answers in a row that are as good as a server that is down.
    patience: int
    _suspicion: Suspicion = field(default_factory=Suspicion)
    _throttled: int = 0
    _next_ok: float = 0.0

    def weigh(self, delivery: Delivery) -> None:
        """Find out what the result means; once for each, in the order in which they came."""
        if delivery.effect is None:
            delivery.effect = self._effect(delivery)

    def _effect(self, delivery: Delivery) -> Effect:
        result = delivery.result
        if result.outcome is Outcome.ACCEPTED:
            self._suspicion.note_accepted()
            self._throttled = 0
            return Effect()
        if result.suspect is not None:
            return self._suspect(delivery, result.suspect)
        if result.outcome is Outcome.THROTTLED:
            self._throttled += 1
            if not delivery.probing and self._throttled < self.patience:
                return Effect()
        elif result.outcome not in (Outcome.TRANSPORT_FAULT, Outcome.OPERATOR_FAULT):
            return Effect()
        if result.cause in _OURS:
            return Effect()
        self._throttled = 0
        return Effect(fault=True, refunds=tuple(self._suspicion.take()))

    def _suspect(self, delivery: Delivery, suspect: Outcome) -> Effect:
        claim = delivery.claim
        domain = claim.recipient.rpartition("@")[2]
        # An earlier attempt of it was counted; this one is not going to be.
        was_blamed = claim.id in self._suspicion
        found = self._suspicion.note(claim.id, domain, suspect)
        if found is None and delivery.probing:
            found = (suspect, self._suspicion.take())
        if found is None:
            return Effect()
        outcome, suspects = found
        delivery.result = replace(delivery.result, outcome=outcome, suspect=None)
        refunds = tuple(one for one in suspects if was_blamed or one != claim.id)
        return Effect(fault=True, refunds=refunds)

    def write(self, session: Session, deliveries: Sequence[Delivery]) -> bool | None:
        """Write down what ``deliveries`` mean.

        :return: whether the breaker is open now, or None if they say nothing of it.
        """
        for delivery in deliveries:
            if delivery.effect is not None and delivery.effect.refunds:
                outbox.refund(session, delivery.effect.refunds)
        faults = [one for one in deliveries if one.is_fault]
        # What went out before the breaker opened says less than the probe does.
        probe = next((one for one in deliveries if one.probing), None)
        if probe is not None and not probe.is_fault and probe.result.outcome in _WORKS:
            transports.ok(session, self.name, create=True)
            return False
        if faults:
            self._open(session, probe if probe is not None and probe.is_fault else faults[-1])
            return True
        if any(one.result.outcome is Outcome.ACCEPTED for one in deliveries):
            self._note_ok(session)
        return None

    def _open(self, session: Session, delivery: Delivery) -> None:
        result = delivery.result
        cause = CAUSES.get(result.cause)
        transports.fault(
            session,
            self.name,
            outcome=result.outcome,
            cause=result.cause,
            reason=result.text if cause is None else cause.meaning,
            error=result.text,
            message_id=delivery.claim.id,
            wait=lambda faults: wait_after(
                result.outcome, faults, jitter=fraction(), hint=result.wait
            ),
            probing=delivery.probing,
        )

    def _note_ok(self, session: Session) -> None:
        if time.monotonic() >= self._next_ok:
            transports.ok(session, self.name, create=True, closes=False)
            self._next_ok = time.monotonic() + _OK_INTERVAL
