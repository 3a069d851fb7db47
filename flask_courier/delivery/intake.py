"""What a worker takes from the queue: due messages, claimed and prepared, or one to probe with.

Everything here blocks, and runs where the database may be talked to: in the worker's database
thread, or in the calling thread of ``deliver_pending``.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from flask_courier.core.messages import Claim, Parcel
from flask_courier.core.status import Status
from flask_courier.delivery.clock import lease_clock
from flask_courier.delivery.ledger import POISON_CLAIMS, Ledger
from flask_courier.delivery.prepare import Batch
from flask_courier.storage import attempts, dialect, outbox, transports, waiting
from flask_courier.storage.uow import Session, is_away, told

logger = logging.getLogger("flask_courier.worker")

#: Seconds between two sweeps for lost leases and expired messages.
_SWEEP = 5.0
#: Claims without a report after which a message is taken alone.
_SUSPECT_CLAIMS = 2
#: Seconds after which a batch is tried no further message by message: each may wait for a lock, and
#: results and leases wait with it.
_PATIENCE = 5.0
#: How long a probe may take before another worker probes.
_PROBE_LEASE = timedelta(seconds=60)


@dataclass
class Taken:
    """What a look at the queue brought."""

    parcels: list[Parcel]
    #: How many messages were claimed.
    claimed: int
    #: How often each status was reached without an attempt.
    settled: Counter[Status]
    #: When the messages were claimed, by ``lease_clock()``.
    at: float
    #: It brought as many as were asked for: there may be more.
    is_full: bool = False
    #: There are messages that must be taken alone, and are due.
    suspects: bool = False
    #: The one parcel is to find out whether the transport is back.
    probing: bool = False


@dataclass(frozen=True)
class Outlook:
    """When there will be something to do, in seconds; None for never, as things stand."""

    due: float | None
    #: The breaker is open, and somebody may probe then.
    probe: float | None


@dataclass(frozen=True)
class _Sorted:
    """Claims that may be prepared, and what became of the others."""

    kept: list[Claim]
    settled: Counter[Status]
    suspects: bool


class _NothingDue(Exception):
    """The probe was won and there is nothing to send: leave it to whoever has something."""


class Intake:
    """The claiming side of one worker."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._database = ledger.database
        self._preparer = ledger.preparer
        self._transport = ledger.transport
        # By time.monotonic().
        self._next_sweep = 0.0
        # By lease_clock(): until then nobody else probes.
        self._turn_ends = 0.0
        # The turn came to nothing, and the database may not know it yet.
        self._wasted_turn = False

    def take(
        self,
        count: int,
        turn: int,
        *,
        urgent: bool = False,
        alone: bool = False,
        apart: timedelta | None = None,
    ) -> Taken:
        """Claim up to ``count`` due messages and prepare them; none while the breaker is open.

        :param urgent: take account mail only.
        :param alone: nothing is in hand, so that a message may be taken which may be what its last
            workers died of.
        :param apart: how long such messages are put off where they may not be taken, so that other
            mail is found instead; None leaves them where they are.
        """
        self._sweep()

        def work(session: Session) -> _Sorted:
            claims = outbox.claim(
                session,
                count=count,
                lease=self._preparer.lease,
                turn=turn,
                urgent=urgent,
                transport=self._transport,
            )
            return self._sort(session, claims, alone=alone, apart=apart)

        now = lease_clock()
        found = self._database.transact(work)
        taken = self._prepare(found.kept, found.settled, now)
        taken.suspects = found.suspects
        taken.is_full = taken.claimed >= count
        return taken

    def probe(self, *, at_once: bool = False) -> Taken | None:
        """Claim one message to find out whether the transport is back; None if it is not our turn.

        Another than the one that failed last, if another is due: its fault may be its own.

        :param at_once: whether to probe before the breaker's time, because somebody asked to.
        """
        # In an outage, too, lives end; and what a prober held when it died may be all there is to
        # probe with.
        self._sweep()

        at_once = at_once or self._owes_turn

        def work(session: Session) -> list[Claim]:
            if at_once:
                transports.hurry(session, self._transport)
            if not transports.win_probe(session, self._transport, lease=_PROBE_LEASE):
                raise _NothingDue
            last = transports.last_faulty(session, self._transport)
            lease = self._preparer.lease
            claims = outbox.claim(session, count=1, lease=lease, but_not=last)
            claims = claims or outbox.claim(session, count=1, lease=lease)
            if not claims:
                raise _NothingDue
            return claims

        now = lease_clock()
        try:
            claims = self._database.transact(work)
        except _NothingDue:
            return None
        self._turn_ends = now + _PROBE_LEASE.total_seconds()
        # Until it is known that there is something to send.
        self._wasted_turn = True
        taken = self._prepare(claims, Counter(), now)
        taken.probing = True
        self._wasted_turn = False
        if not taken.parcels:
            self.leave_turn()
        return taken

    def leave_turn(self) -> None:
        """The probe has ended and shown nothing: the next message may probe at once.

        If the database is away, it is told at the next probe. Once the turn has ended there is
        nothing to leave: another worker may be probing.
        """
        if lease_clock() < self._turn_ends:
            self._wasted_turn = True
            self._database.transact(lambda session: transports.hurry(session, self._transport))
            self._wasted_turn = False

    @property
    def _owes_turn(self) -> bool:
        return self._wasted_turn and lease_clock() < self._turn_ends

    def _sweep(self) -> None:
        """Bring back what dead workers held, and end what has outlived its time."""
        if time.monotonic() < self._next_sweep:
            return
        self._next_sweep = time.monotonic() + _SWEEP

        def work(session: Session) -> None:
            outbox.reclaim_expired_leases(session)
            outbox.expire_overdue(session)

        self._database.transact(work)

    def _sort(
        self, session: Session, claims: Sequence[Claim], *, alone: bool, apart: timedelta | None
    ) -> _Sorted:
        """Give up what was claimed again and again by workers that never reported.

        They had other mail in hand as well: so that none of it is taken for what they died of, a
        message that may be it is taken alone.
        """
        kept: list[Claim] = []
        suspects: list[Claim] = []
        settled: Counter[Status] = Counter()
        for claim in claims:
            silent = 0
            if claim.claims > _SUSPECT_CLAIMS:
                silent = claim.claims - 1 - attempts.count(session, claim.id)
            if silent >= POISON_CLAIMS:
                outbox.close(session, claim, Status.ABANDONED, "poison")
                settled[Status.ABANDONED] += 1
            elif silent >= _SUSPECT_CLAIMS:
                suspects.append(claim)
            else:
                kept.append(claim)
        if suspects and alone:
            outbox.give_back(session, [*suspects[1:], *kept])
            return _Sorted(suspects[:1], settled, suspects=True)
        outbox.give_back(session, suspects, delay=apart)
        return _Sorted(kept, settled, suspects=bool(suspects) and apart is None)

    def _prepare(self, claims: list[Claim], settled: Counter[Status], now: float) -> Taken:
        taken = Taken([], len(claims), settled, now)
        if claims:
            batch = self._batch(claims)
            taken.parcels = batch.parcels
            taken.settled += batch.settled
        return taken

    def _batch(self, claims: list[Claim]) -> Batch:
        """Prepare the claims together; if that fails, each by itself, and put off who fails."""
        try:
            try:
                return self._prepared(claims, fresh=True)
            except outbox.LeaseLost:
                return self._prepared(claims, fresh=False)
        except Exception as error:  # noqa: BLE001 - one message may raise anything
            if len(claims) == 1:
                self._unforeseen(claims[0], error)
                return Batch([], Counter())
        whole = Batch([], Counter())
        give_up_at = time.monotonic() + _PATIENCE
        try:
            for number, claim in enumerate(claims):
                if time.monotonic() > give_up_at:
                    self._ledger.put_off(claims[number:])
                    break
                batch = self._batch([claim])
                whole.parcels += batch.parcels
                whole.settled += batch.settled
        except Exception as error:
            # What is prepared goes out; the leases of the others bring them back.
            if not is_away(error):
                raise
        return whole

    def _prepared(self, claims: list[Claim], *, fresh: bool) -> Batch:
        def work(session: Session) -> Batch:
            with dialect.impatient(session):
                return self._preparer.batch(session, claims, fresh=fresh)

        return self._database.transact(work)

    def _unforeseen(self, claim: Claim, error: Exception) -> None:
        extra = {"action": "message_failed", "message_id": str(claim.id)}
        logger.error("a message could not be handled: %s", told(error), extra=extra)
        if is_away(error):
            # A lock on the application's own rows, perhaps: the message has done nothing.
            self._ledger.put_off([claim])
        else:
            self._ledger.fail(claim, type(error).__name__)

    def outlook(self) -> Outlook:
        """When to look again."""

        def work(session: Session) -> Outlook:
            return Outlook(
                due=waiting.seconds_until_due(session),
                probe=transports.seconds_until_probe(session, self._transport),
            )

        return self._database.transact(work)
