"""The worker: claim, prepare, send, record, until it is told to stop.

One asyncio loop. Database work runs through ``call``, which is the worker's own database thread, or
the calling thread itself for ``deliver_pending``; no transaction is open while anything is awaited.
A message whose handling fails in a way nobody foresaw is given back, and never stops the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from flask_courier.core.errors import RenderError
from flask_courier.core.ids import fraction
from flask_courier.core.messages import Claim, Parcel, RecordedMessage, SendResult
from flask_courier.core.replies import Outcome
from flask_courier.core.status import Status
from flask_courier.delivery.compose import filled
from flask_courier.delivery.ledger import POLL, Ledger
from flask_courier.delivery.prepare import LEASE, Preparer
from flask_courier.delivery.transport import Transport
from flask_courier.storage.uow import Database

logger = logging.getLogger("flask_courier.worker")

#: Seconds a worker waits before it looks again after the database refused it.
_DATABASE_WAIT = 1.0
#: Seconds before each further try to write a result down.
_RECORD_WAITS = (0.1, 0.5, 2.0, 5.0, 10.0)


class DatabaseCall(Protocol):
    """Runs a function that talks to the database, away from the event loop."""

    def __call__(self, function: Callable[..., Any], /, *args: Any) -> Awaitable[Any]:
        """Answer what ``function`` answers."""
        ...


@dataclass(frozen=True)
class WorkerParts:
    """What a worker is made of."""

    name: str
    kind: str
    database: Database
    preparer: Preparer
    transport: Callable[[], Transport]
    #: Called with every accepted mail while somebody records them.
    on_accepted: Callable[[RecordedMessage], None] | None = None


class Worker:
    """Delivers the messages of one application; lives in one event loop.

    :param call: how database work is run.
    """

    def __init__(self, parts: WorkerParts, call: DatabaseCall) -> None:
        self._parts = parts
        self._call = call
        self._transport = parts.transport()
        self._ledger = Ledger(
            worker=parts.name,
            worker_kind=parts.kind,
            database=parts.database,
            preparer=parts.preparer,
            keeps_mail=self._transport.keeps_mail,
        )
        config = parts.preparer.config
        self._sessions = asyncio.Semaphore(config.smtp_connections)
        # Messages that are prepared while others are on the wire; resolving junk holds no session.
        self._room = 2 * config.smtp_connections
        self._claims: dict[asyncio.Task[None], Claim] = {}
        self._woken = asyncio.Event()
        self._stopping = False
        #: How often each status was reached by this worker.
        self.outcomes: Counter[Status] = Counter()

    def wake(self) -> None:
        """Look at the queue now; from the loop's own thread only."""
        self._woken.set()

    def stop(self) -> None:
        """Finish what is in hand, claim nothing more; from the loop's own thread only."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Deliver until :meth:`stop`."""
        keeper = asyncio.create_task(self._keep_house())
        logger.info("worker started", extra={"action": "worker_start", "worker": self._parts.name})
        try:
            while not self._stopping:
                # Cleared before the look: a commit that comes during it is not missed.
                self._woken.clear()
                if not await self._take():
                    await self._rest()
            await self._finish()
        finally:
            keeper.cancel()
            await self._transport.close()
            logger.info(
                "worker stopped", extra={"action": "worker_stop", "worker": self._parts.name}
            )

    async def drain(self) -> None:
        """Deliver everything that is due now, and return."""
        keeper = asyncio.create_task(self._keep_leases())
        try:
            while True:
                claims = await self._call(self._ledger.claim, self._room - len(self._claims))
                self._begin(claims)
                if not self._claims:
                    return
                await asyncio.wait(self._claims, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await self._finish()
            keeper.cancel()
            await self._transport.close()

    async def _take(self) -> int:
        """Claim what there is room for and start on it; answer how many."""
        room = self._room - len(self._claims)
        if room <= 0:
            return 0
        try:
            claims = await self._call(self._ledger.claim, room)
        except Exception:
            # Whatever the database says, it says it to this look alone.
            logger.exception("the queue cannot be read", extra={"action": "claim_failed"})
            await self._pause(_DATABASE_WAIT)
            return 0
        self._begin(claims)
        return len(claims)

    def _begin(self, claims: list[Claim]) -> None:
        for claim in claims:
            task = asyncio.create_task(self._handle(claim))
            self._claims[task] = claim
            task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._claims.pop(task, None)
        self._woken.set()

    async def _rest(self) -> None:
        """Sleep until the next message is due, a commit wakes us, or the poll says so."""
        wait = POLL * (0.75 + fraction() / 2)
        try:
            due = await self._call(self._ledger.seconds_until_due)
        except Exception:
            logger.exception("the queue cannot be read", extra={"action": "poll_failed"})
            due = None
        if due is not None and len(self._claims) < self._room:
            # Never less than a moment: what is due and was not claimed is locked by another worker.
            wait = min(wait, max(due, 0.02))
        await self._pause(wait)

    async def _pause(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except asyncio.TimeoutError:
            return

    async def _finish(self) -> None:
        """Let what is in hand come to its end."""
        while self._claims:
            await asyncio.wait(self._claims)

    async def _handle(self, claim: Claim) -> None:
        try:
            parcel = await self._call(self._ledger.prepare, claim)
            if parcel is None:
                return
            async with self._sessions:
                if self._stopping:
                    await self._call(self._ledger.release, claim, "worker_stopped", timedelta(0))
                    return
                result = await self._transport.send(parcel)
                status = await self._keep_recording(claim, parcel, result)
            self._tell(claim, parcel, result, status)
        except RenderError as error:
            await self._let_go(self._ledger.give_up, claim, "template", str(error))
        except Exception as error:
            logger.exception(
                "a message could not be handled",
                extra={"action": "message_failed", "message_id": str(claim.id)},
            )
            await self._let_go(self._ledger.fail, claim, type(error).__name__)

    async def _keep_recording(
        self, claim: Claim, parcel: Parcel, result: SendResult
    ) -> Status | None:
        """Write the result down; a database that is away for a moment does not lose it."""
        for wait in _RECORD_WAITS:
            try:
                status: Status | None = await self._call(self._ledger.record, claim, parcel, result)
            except Exception:
                logger.exception(
                    "a result cannot be recorded yet",
                    extra={"action": "record_failed", "message_id": str(claim.id)},
                )
                await asyncio.sleep(wait)
            else:
                return status
        return await self._call(self._ledger.record, claim, parcel, result)  # type: ignore[no-any-return]

    def _tell(
        self, claim: Claim, parcel: Parcel, result: SendResult, status: Status | None
    ) -> None:
        if status is not None:
            self.outcomes[status] += 1
        # The server's words may hold an address: they are for the delivery log alone.
        logger.log(
            logging.INFO if result.outcome is Outcome.ACCEPTED else logging.WARNING,
            "attempt %s at %s, code %s; the delivery log has the server's words",
            result.outcome,
            result.phase,
            result.code,
            extra={
                "action": "attempt",
                "message_id": str(claim.id),
                "outcome": str(result.outcome),
                "phase": str(result.phase),
                "code": result.code,
            },
        )
        if result.outcome is Outcome.ACCEPTED and self._parts.on_accepted is not None:
            self._parts.on_accepted(_recorded(parcel))

    async def _let_go(self, how: Callable[..., None], claim: Claim, *words: str) -> None:
        try:
            await self._call(how, claim, *words)
        except Exception:
            # The lease brings it back.
            logger.exception(
                "a message cannot be given back yet",
                extra={"action": "release_failed", "message_id": str(claim.id)},
            )

    async def _keep_house(self) -> None:
        """Be seen, renew the leases of what is in hand, forget what is old."""
        while True:
            await self._keep(self._ledger.heartbeat, list(self._claims.values()))
            await self._keep(self._ledger.purge)
            await asyncio.sleep(LEASE.total_seconds() / 3)

    async def _keep_leases(self) -> None:
        """Renew the leases of what is in hand."""
        while True:
            await asyncio.sleep(LEASE.total_seconds() / 3)
            await self._keep(self._ledger.heartbeat, list(self._claims.values()))

    async def _keep(self, work: Callable[..., None], *args: Any) -> None:
        try:
            await self._call(work, *args)
        except Exception:
            logger.exception("housekeeping failed", extra={"action": "housekeeping_failed"})


def _recorded(parcel: Parcel) -> RecordedMessage:
    mail = filled(parcel)
    token = code = link = None
    if parcel.credentials is not None:
        token, code = parcel.credentials.token.value, parcel.credentials.code.value
        link = next((word for word in mail.text.split() if token in word), None)
    return RecordedMessage(
        parcel.claim.kind, parcel.recipient, mail.subject, mail.text, mail.html, link, token, code
    )
