"""What a worker tells the database, each in a transaction of its own.

Everything here blocks, and runs where the database may be talked to: in the worker's database
thread, or in the calling thread of ``deliver_pending``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from flask_courier.core.clock import utc_now
from flask_courier.core.ids import fraction
from flask_courier.core.messages import Claim
from flask_courier.core.replies import Outcome
from flask_courier.core.retry import Decision, Progress, counts, decide
from flask_courier.core.status import Status
from flask_courier.delivery.breaker import Breaker, Delivery
from flask_courier.delivery.clock import lease_clock
from flask_courier.delivery.prepare import Preparer
from flask_courier.storage import (
    attempts,
    dialect,
    outbox,
    retention,
    transports,
    workers,
)
from flask_courier.storage.uow import Database, Session

_DAY = 86_400
#: A message whose claims come to no report so often is given up.
POISON_CLAIMS = 5
_POISON_WAIT = timedelta(seconds=10)


@dataclass(frozen=True)
class Recorded:
    """What one result led to."""

    #: None if the message is another worker's by now.
    status: Status | None
    #: Whether the transport's breaker is open; None if the result says nothing of it.
    blocked: bool | None


@dataclass
class Ledger:
    """One worker's side of the tables."""

    worker: str
    worker_kind: str
    database: Database
    preparer: Preparer
    #: What the transport's row is called.
    transport: str
    #: Whether mail stays on this machine, so that its seed may be kept.
    keeps_mail: bool
    breaker: Breaker = field(init=False)

    def __post_init__(self) -> None:
        patience = 3 * self.preparer.config.smtp_connections
        self.breaker = Breaker(self.transport, patience)

    def record(self, deliveries: Sequence[Delivery], *, history: bool = True) -> list[Recorded]:
        """Write results, in one transaction; answer what each led to.

        :param history: False moves the messages and writes nothing else: no attempt, and nothing
            of the transport.
        """
        for delivery in deliveries:
            self.breaker.weigh(delivery)
        if all(one.result.outcome is Outcome.ACCEPTED for one in deliveries):
            # One statement settles them all, unless a lease has changed hands.
            try:
                return self.database.transact(
                    lambda s: self._record(s, deliveries, history=history)
                )
            except outbox.LeaseLost:
                pass
        return self.database.transact(lambda s: self._record_held(s, deliveries, history=history))

    def _record_held(
        self, session: Session, deliveries: Sequence[Delivery], *, history: bool
    ) -> list[Recorded]:
        claims = [one.claim for one in deliveries]
        lease = self.preparer.lease
        outbox.retake(session, claims, lease=lease)
        held = {claim.key for claim in outbox.hold(session, claims, lease=lease)}
        lost = [(one.claim.id, one.result) for one in deliveries if one.claim.key not in held]
        if lost and history:
            outbox.keep_history(session, lost, worker=self.worker)
        ours = [one for one in deliveries if one.claim.key in held]
        recorded = iter(self._record(session, ours, history=history) if ours else [])
        return [
            next(recorded) if one.claim.key in held else Recorded(None, blocked=None)
            for one in deliveries
        ]

    def _record(
        self, session: Session, deliveries: Sequence[Delivery], *, history: bool
    ) -> list[Recorded]:
        decisions = [self._decide(session, one, history=history) for one in deliveries]
        settlements = [
            outbox.Settlement(one.claim, one.result, decision, one.carries_token)
            for one, decision in zip(deliveries, decisions, strict=True)
        ]
        outbox.record(
            session, settlements, worker=self.worker, keep_seed=self.keeps_mail, history=history
        )
        silent = self.keeps_mail or not history
        blocked = None if silent else self.breaker.write(session, deliveries)
        return [Recorded(one.decision.status, blocked) for one in settlements]

    def _decide(self, session: Session, delivery: Delivery, *, history: bool) -> Decision:
        claim, result = delivery.claim, delivery.result
        if result.outcome is Outcome.ACCEPTED:
            return Decision(Status.SENT)
        unknown = result.outcome is Outcome.UNKNOWN
        # 421 is an answer: whoever can say it has not choked on the message.
        dropped = result.suspect is not None and result.code is None
        progress = Progress(
            attempts=claim.attempts + counts(result.outcome),
            claims=claim.claims,
            unknown=attempts.count_unknown(session, claim.id) if unknown else 0,
            dropped=attempts.count_dropped(session, claim.id) if dropped else 0,
            # Repeats are counted by their attempts.
            repeatable=delivery.carries_token and history,
            expires_at=claim.expires_at,
        )
        return decide(
            result.outcome,
            progress,
            retries=self.preparer.config.message_retries,
            now=dialect.now(session),
            jitter=fraction(),
            hint=result.wait,
        )

    def give_back(self, claims: Sequence[Claim]) -> None:
        """Put back what was not started."""
        self.database.transact(lambda session: outbox.give_back(session, claims))

    def put_off(self, claims: Sequence[Claim]) -> None:
        """Give back what cannot be prepared just now, as if it had not been claimed."""

        def work(session: Session) -> None:
            for claim in claims:
                outbox.release(session, claim, reason="failed", delay=_POISON_WAIT, counts=False)

        self.database.transact(work)

    def give_up(self, claim: Claim, reason: str, error: str) -> None:
        """Abandon a message that nothing can be done with."""
        self.database.transact(
            lambda session: outbox.close(session, claim, Status.ABANDONED, reason, error=error)
        )

    def fail(self, claim: Claim, error: str) -> None:
        """Give back a message that failed unforeseen; abandon it if it keeps doing so.

        Claims that ended with an attempt do not count: they say nothing against the message.
        """

        def work(session: Session) -> None:
            outbox.hold(session, [claim], lease=self.preparer.lease)
            if claim.claims - attempts.count(session, claim.id) >= POISON_CLAIMS:
                outbox.close(session, claim, Status.ABANDONED, "poison", error=error)
            else:
                outbox.release(session, claim, reason="failed", delay=_POISON_WAIT)

        self.database.transact(work)

    def heartbeat(self, claims: Sequence[Claim]) -> tuple[list[Claim], float]:
        """Be seen, and renew leases; answer those that were not lost, and how long they last."""
        until = lease_clock() + self.preparer.lease.total_seconds()

        def work(session: Session) -> list[Claim]:
            workers.seen(session, name=self.worker, kind=self.worker_kind)
            if not claims:
                return []
            return outbox.hold(session, claims, lease=self.preparer.lease)

        return self.database.transact(work), until

    def purge(self) -> bool:
        """Forget one batch of what is older than it is kept; answer whether there may be more."""
        config, now = self.preparer.config, utc_now()
        purged = retention.purge(
            self.database,
            now=now,
            contents=config.content_retention,
            messages=config.retention,
            counters=config.longest_window,
        )
        self.database.transact(lambda session: transports.forget(session, config.retention))
        return max(purged.messages, purged.contents) >= retention.BATCH
