"""The worker: claim, prepare, send, record, until it is told to stop.

One asyncio loop. Database work runs through ``call``, which is the worker's own database thread, or
the calling thread itself for ``deliver_pending``; no transaction is open while anything is awaited.
A message whose handling fails in a way nobody foresaw is given back, and never stops the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable
from functools import partial

from flask_courier.core.ids import fraction
from flask_courier.core.messages import Lane, Parcel
from flask_courier.core.pace import Pace
from flask_courier.core.status import Status
from flask_courier.delivery.carrier import Carrier, Result, Upcoming
from flask_courier.delivery.hands import Hands
from flask_courier.delivery.housekeeper import Housekeeper
from flask_courier.delivery.intake import Intake, Outlook, Taken
from flask_courier.delivery.ledger import Ledger, Recorded
from flask_courier.delivery.parts import AFTER, DatabaseCall, WorkerParts
from flask_courier.delivery.recorder import AWAY, Recorder
from flask_courier.delivery.solitude import Solitude
from flask_courier.storage.uow import told

logger = logging.getLogger("flask_courier.worker")

#: Seconds between two looks at the queue when nothing wakes the worker.
POLL = 1.0
#: The same where every commit wakes it.
_POLL_WOKEN = 5.0
#: While the SMTP server cannot be used, no more than one look in so many seconds.
_DEAF = 0.25
#: The shortest rest. What is due and cannot be claimed makes it longer, up to ``POLL``.
_MOMENT = 0.02
#: Parcels that are prepared ahead, for each session. A batch costs something, however small it is.
_AHEAD = 8


class Worker:
    """Delivers the messages of one application; lives in one event loop.

    :param call: how database work is run.
    """

    def __init__(self, parts: WorkerParts, call: DatabaseCall) -> None:
        self._parts = parts
        self._call = call
        self._transport = parts.transport()
        self._ledger = ledger = Ledger(
            worker=parts.name,
            worker_kind=parts.kind,
            database=parts.database,
            preparer=parts.preparer,
            transport=self._transport.name,
            keeps_mail=self._transport.keeps_mail,
        )
        self._intake = Intake(ledger)
        self._recorder = Recorder(ledger, call)
        self._hands = Hands()
        self._keeper = Housekeeper(ledger, self._hands, self._recorder, call)
        self._pace = Pace(parts.preparer.config.smtp_connections)
        self._carrier = Carrier(
            transport=self._transport,
            hands=self._hands,
            recorder=self._recorder,
            pace=self._pace,
            ledger=ledger,
            call=call,
            leave_turn=self._intake.leave_turn,
            on_accepted=parts.on_accepted,
        )
        #: How often each status was reached by this worker.
        self.outcomes: Counter[Status] = Counter()
        self._carriers: set[asyncio.Task[None]] = set()
        self._room = _AHEAD * parts.preparer.config.smtp_connections
        self._turn = 0
        self._woken = asyncio.Event()
        self._stopping = False
        self._blocked = False
        self._solitude = Solitude(self._hands, self._carrier.put_back)
        self._shortest = _MOMENT
        #: Asked whether every commit wakes this worker.
        self.hears_commits: Callable[[], bool] = lambda: False

    def wake(self) -> None:
        """Look at the queue now; from the loop's own thread only."""
        self._woken.set()

    def stop(self) -> None:
        """Finish what is in hand, claim nothing more; from the loop's own thread only."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Deliver until :meth:`stop`."""
        keeper = asyncio.create_task(self._keeper.keep_house())
        who = {"worker": self._parts.name}
        logger.info("worker started", extra={"action": "worker_start", **who})
        try:
            while not self._stopping:
                # Cleared before the look: a commit that comes during it is not missed.
                self._woken.clear()
                if not await self._look():
                    await self._rest()
            await self._finish()
        finally:
            keeper.cancel()
            await self._hang_up()
            logger.info("worker stopped", extra={"action": "worker_stop", **who})

    async def drain(self) -> None:
        """Deliver everything that is due now, and return."""
        keeper = asyncio.create_task(self._keeper.keep_leases())
        try:
            # Somebody asked for mail to go now: that is a reason to try a server anew.
            probe: Taken | None = await self._call(partial(self._intake.probe, at_once=True))
            while True:
                self._woken.clear()
                room = self._room - self._hands.ready
                look = partial(self._intake.take, room, self._turn, alone=not self._hands.claims)
                taken: Taken = probe or await self._call(look)
                self._begin(taken)
                if self._carriers:
                    await self._woken.wait()
                elif not taken.claimed and not taken.settled:
                    return
                probe = None
        finally:
            await self._finish()
            keeper.cancel()
            await self._hang_up()

    async def _look(self) -> bool:
        """Take what there is room for; False if nothing more can be taken for now."""
        if self._recorder.in_trouble:
            await self._pause(AWAY)
            return True
        await self._solitude.check()
        look = self._next_look()
        if look is None:
            return False
        try:
            taken: Taken | None = await self._call(look)
        except Exception as error:  # noqa: BLE001 - whatever is said, it is said to this look alone
            logger.warning("no queue: %s", told(error), extra={"action": "claim_failed"})
            await asyncio.sleep(AWAY)
            return True
        if taken is None:
            return False
        self._begin(taken)
        return taken.is_full

    def _next_look(self) -> Callable[[], Taken | None] | None:
        """What to take from the queue now, or None if there is enough in hand."""
        if self._blocked:
            return self._intake.probe
        alone, apart = not self._hands.claims, self._solitude.apart
        take = partial(self._intake.take, turn=self._turn, apart=apart)
        if self._solitude.is_wanted:
            return partial(take, 1, alone=True) if alone else None
        room, sessions = self._room - self._hands.ready, self._pace.connections
        if room >= self._room // 2:
            return partial(take, room, alone=alone)
        # Whatever waits in hand, mail that somebody waits for at a screen goes before it.
        if self._hands.waiting(Lane.ACCOUNT) < sessions:
            return partial(take, sessions, urgent=True)
        return None

    def _begin(self, taken: Taken) -> None:
        # Whoever is taken alone would else meet the same turn, and perhaps never be its lane's.
        self._turn += taken.claimed + taken.suspects
        if taken.claimed:
            self._shortest = _MOMENT
        self.outcomes += taken.settled
        self._solitude.note(suspects=taken.suspects)
        lease = self._parts.preparer.lease.total_seconds()
        self._hands.take(taken.parcels, taken.at, lease, probe=taken.probing)
        self._start_carriers()

    def _start_carriers(self) -> None:
        wanted = min(self._pace.connections, len(self._carriers) + self._hands.ready)
        while len(self._carriers) < wanted:
            task = asyncio.create_task(self._carry())
            self._carriers.add(task)
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._carriers.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a carrier failed: %s", told(error), extra={"action": "carrier_failed"})
        # Those that left together, because fewer sessions are allowed now, may have been too many.
        if not self._stopping:
            self._start_carriers()
        self._woken.set()

    async def _carry(self) -> None:
        """Send one parcel after the other until none is ready, or no more may go."""
        result: Result | None = None
        upcoming = Upcoming(self._next, self._may_announce)
        try:
            while self._goes_on and not (self._blocked and upcoming.is_announced):
                delay = self._pace.delay(time.monotonic())
                if delay > 0:
                    if delay > POLL:
                        upcoming.leave(self._carrier)
                    await asyncio.sleep(min(delay, POLL))
                    continue
                parcel = upcoming.next()
                if parcel is None:
                    break
                result = await self._carrier.carry(
                    parcel, len(self._carriers), result, upcoming.announce
                )
                result.add_done_callback(self._count)
                if result.done():
                    await self._heed(result.result())
        finally:
            left = upcoming.leave(self._carrier)
        if left and self._blocked:
            await self._carrier.put_back()
        if result is not None:
            await asyncio.shield(result)

    @property
    def _goes_on(self) -> bool:
        return not self._stopping and len(self._carriers) <= self._pace.connections

    def _may_announce(self) -> bool:
        return self._goes_on and not self._blocked and self._pace.delay(time.monotonic()) <= 0

    def _next(self) -> Parcel | None:
        parcel = self._hands.next()
        if self._hands.ready < self._room // 2:
            self._woken.set()
        return parcel

    def _count(self, result: Result) -> None:
        recorded = None if result.cancelled() else result.result()
        if recorded is not None and recorded.status is not None:
            self.outcomes[recorded.status] += 1

    async def _heed(self, recorded: Recorded | None) -> None:
        """While the breaker is open nothing waits in hand: it may take long."""
        blocked = None if recorded is None else recorded.blocked
        if blocked is None:
            return
        if blocked and not self._blocked:
            logger.warning(
                "the SMTP server cannot be used now; mail waits",
                extra={"action": "breaker_open", "transport": self._transport.name},
            )
        self._blocked = blocked
        if blocked:
            await self._carrier.put_back()

    async def _rest(self) -> None:
        """Sleep until the next message is due, a commit wakes us, or the poll says so."""
        wait = (_POLL_WOKEN if self.hears_commits() else POLL) * (0.75 + fraction() / 2)
        if self._hands.ready < self._room // 2:
            outlook = await self._keeper.attempt(self._intake.outlook)
            if isinstance(outlook, Outlook):
                self._blocked = outlook.probe is not None
                if outlook.due is not None:
                    due = max(outlook.due, outlook.probe or 0.0)
                    wait = min(wait, max(due, self._shortest))
                    # What is due and was not claimed is locked elsewhere, nobody knows how long.
                    self._shortest = _MOMENT if due > 0 else min(2 * self._shortest, POLL)
        # A commit brings no news of an SMTP server that is down.
        await asyncio.sleep(min(wait, _DEAF) if self._blocked else 0)
        await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._woken.wait(), seconds)

    async def _finish(self) -> None:
        """Put back what was not started; let what is on the wire come to its end, within bounds."""
        self._stopping = True
        await self._carrier.put_back()
        if self._carriers:
            _, late = await asyncio.wait(self._carriers, timeout=self._parts.drain)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=self._parts.drain * AFTER)
            # What sessions had announced and not begun.
            await self._carrier.put_back()
        await self._recorder.finish(self._parts.drain * AFTER)

    async def _hang_up(self) -> None:
        """Let go of the connections; a server that does not hear its QUIT holds nobody up."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._transport.close(), self._parts.drain * AFTER)
