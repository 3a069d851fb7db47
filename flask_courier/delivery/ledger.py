"""What a worker tells the database, each in a transaction of its own.

Everything here blocks, and runs where the database may be talked to: in the worker's database
thread, or in the calling thread of ``deliver_pending``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta

from flask_courier.core.clock import utc_now
from flask_courier.core.ids import fraction
from flask_courier.core.messages import Claim, Parcel, SendResult
from flask_courier.core.retry import Decision, Progress, counts, decide
from flask_courier.core.status import Status
from flask_courier.delivery.prepare import LEASE, Preparer
from flask_courier.storage import attempts, dialect, outbox, retention, waiting, workers
from flask_courier.storage.uow import Database, Session

_DAY = 86_400
#: A message that fails unforeseen this often is given up.
_POISON_CLAIMS = 5
_POISON_WAIT = timedelta(seconds=10)
#: Seconds between two looks at the queue when nothing wakes the worker.
POLL = 1.0
#: Seconds between two sweeps for lost leases and expired messages.
_SWEEP = 5.0


@dataclass
class Ledger:
    """One worker's side of the tables."""

    worker: str
    worker_kind: str
    database: Database
    preparer: Preparer
    #: Whether mail stays on this machine, so that its seed may be kept.
    keeps_mail: bool
    #: ``time.monotonic()`` of the next sweep.
    _next_sweep: float = 0.0

    def claim(self, count: int) -> list[Claim]:
        """Take up to ``count`` due messages."""
        sweep = time.monotonic() >= self._next_sweep
        if sweep:
            self._next_sweep = time.monotonic() + _SWEEP

        def work(session: Session) -> list[Claim]:
            if sweep:
                outbox.reclaim_expired_leases(session)
                outbox.expire_overdue(session)
            return outbox.claim(session, count=count, lease=LEASE)

        return self.database.transact(work)

    def seconds_until_due(self) -> float | None:
        """How long until there is something to claim, or None if nothing waits."""
        return self.database.transact(waiting.seconds_until_due)

    def prepare(self, claim: Claim) -> Parcel | None:
        """What the next attempt needs, or None if there is to be none."""
        return self.database.transact(lambda session: self.preparer.parcel(session, claim))

    def record(self, claim: Claim, parcel: Parcel, result: SendResult) -> Status | None:
        """Write the result; answer the status it led to, or None if the lease was lost."""

        def work(session: Session) -> Status | None:
            outbox.hold(session, claim, lease=LEASE)
            decision = self._decide(session, claim, parcel, result)
            settled = outbox.record(
                session, claim, result, decision, worker=self.worker, keep_seed=self.keeps_mail
            )
            return decision.status if settled else None

        return self.database.transact(work)

    def release(self, claim: Claim, reason: str, delay: timedelta) -> None:
        """Give the message back, due again after ``delay``."""
        self.database.transact(
            lambda session: outbox.release(session, claim, reason=reason, delay=delay)
        )

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
            outbox.hold(session, claim, lease=LEASE)
            if claim.claims - attempts.count(session, claim.id) >= _POISON_CLAIMS:
                outbox.close(session, claim, Status.ABANDONED, "poison", error=error)
            else:
                outbox.release(session, claim, reason="failed", delay=_POISON_WAIT)

        self.database.transact(work)

    def heartbeat(self, claims: list[Claim]) -> None:
        """Be seen, and renew the leases of ``claims``."""

        def work(session: Session) -> None:
            workers.seen(session, name=self.worker, kind=self.worker_kind)
            for claim in claims:
                outbox.hold(session, claim, lease=LEASE)

        self.database.transact(work)

    def purge(self) -> None:
        """Forget one batch of what is older than it is kept."""
        config, now = self.preparer.config, utc_now()
        contents = self.database.transact(
            lambda session: retention.outlived_contents(
                session, now=now, retention=config.content_retention
            )
        )
        if contents:
            self.database.transact(lambda session: retention.delete_contents(session, contents))
        messages = self.database.transact(
            lambda session: retention.outlived(session, now=now, retention=config.retention)
        )
        if messages:
            self.database.transact(lambda session: retention.delete_messages(session, messages))
        windows = [limit.seconds for limit in (*config.recipient_limit, *config.requester_limit)]
        longest = timedelta(seconds=max(_DAY, *windows))
        self.database.transact(
            lambda session: retention.delete_idle_counters(session, older_than=longest)
        )

    def _decide(
        self, session: Session, claim: Claim, parcel: Parcel, result: SendResult
    ) -> Decision:
        progress = Progress(
            attempts=claim.attempts + counts(result.outcome),
            claims=claim.claims,
            unknown=attempts.count_unknown(session, claim.id),
            repeatable=parcel.credentials is not None,
            expires_at=claim.expires_at,
        )
        return decide(
            result.outcome,
            progress,
            retries=self.preparer.config.message_retries,
            now=dialect.now(session),
            jitter=fraction(),
        )
