"""Results on their way into the database: each is kept until it is there.

Results that arrive while a transaction is under way share the next one. A session waits for its
own, so that a crash repeats at most what was on the wire.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Outcome
from flask_courier.delivery.breaker import Delivery
from flask_courier.delivery.ledger import Ledger, Recorded
from flask_courier.storage.uow import is_away, told

logger = logging.getLogger("flask_courier.worker")

#: Results that share a transaction at most.
_TOGETHER = 64
#: Seconds that a result waits for others: less than a transaction takes.
_MOMENT = 0.002
#: Seconds after which whoever waits for a result looks around.
_SECOND = 1.0
#: Seconds before a database that is away is asked again: less than once a second, all in all.
AWAY = 1.5
#: How often a result that the database refuses alone is tried again: for half a lease.
_TRIES = 20
#: The server has such mail, or may have it: it must not go out again and again.
_MAY_BE_THERE = frozenset({Outcome.ACCEPTED, Outcome.UNKNOWN})


@dataclass(frozen=True)
class _Waiting:
    """A result, and whoever waits for what it leads to."""

    delivery: Delivery
    future: asyncio.Future[Recorded | None]

    def answer(self, recorded: Recorded | None) -> None:
        """Tell it."""
        if not self.future.done():
            self.future.set_result(recorded)


class Recorder:
    """Writes results down, many in one transaction; lives in the worker's loop.

    :param call: how database work is run.
    """

    def __init__(self, ledger: Ledger, call: Callable[..., Any]) -> None:
        self._ledger = ledger
        self._call = call
        self._waiting: list[_Waiting] = []
        self._stubborn: set[asyncio.Task[None]] = set()
        self._writer: asyncio.Task[None] | None = None
        self._all_here = asyncio.Event()
        # Those who wait for a result, and what wakes them in any case.
        self._sleepers: set[asyncio.Future[None]] = set()
        self._alarm: asyncio.TimerHandle | None = None
        #: Sessions whose results are still to come.
        self.expected = 0
        #: Whether the database is away, with results waiting for it.
        self.in_trouble = False

    def submit(self, delivery: Delivery) -> asyncio.Future[Recorded | None]:
        """What the result led to, once it is written; None if it cannot be."""
        future: asyncio.Future[Recorded | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(delivery, future))
        if len(self._waiting) >= self.expected:
            self._all_here.set()
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        return future

    async def wait(self, result: asyncio.Future[Recorded | None]) -> None:
        """Wait until ``result`` is there, but for a second at most."""
        # asyncio.wait sets a timer for each, and takes five times as long; here all share one.
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()

        def wake(_: object) -> None:
            if not waiter.done():
                waiter.set_result(None)

        if self._alarm is None:
            self._alarm = loop.call_later(_SECOND, self._ring)
        self._sleepers.add(waiter)
        result.add_done_callback(wake)
        try:
            await waiter
        finally:
            result.remove_done_callback(wake)
            self._sleepers.discard(waiter)

    def _ring(self) -> None:
        self._alarm = None
        for waiter in self._sleepers:
            if not waiter.done():
                waiter.set_result(None)

    async def finish(self, timeout: float) -> None:
        """Wait for what is still on its way, ``timeout`` seconds at most."""
        writers = {task for task in (self._writer, *self._stubborn) if task and not task.done()}
        if writers:
            await asyncio.wait(writers, timeout=timeout)

    async def _write(self) -> None:
        while self._waiting:
            await self._gather()
            batch, self._waiting = self._waiting[:_TOGETHER], self._waiting[_TOGETHER:]
            await self._settle(batch)

    async def _gather(self) -> None:
        """Give results that are about to come a moment: they share the transaction."""
        self._all_here.clear()
        if len(self._waiting) < min(self.expected, _TOGETHER):
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._all_here.wait(), _MOMENT)

    async def _settle(self, batch: Sequence[_Waiting]) -> None:
        """Write the batch, or, if the database refuses it, one result after the other."""
        try:
            answers = await self._persist([one.delivery for one in batch])
        except Exception as error:  # noqa: BLE001 - a result outlives whatever is said to it
            logger.warning(
                "results are refused: %s", told(error), extra={"action": "record_failed"}
            )
        else:
            for one, answer in zip(batch, answers, strict=True):
                one.answer(answer)
            return
        if len(batch) == 1:
            # Beside the others: they do not wait for it.
            task = asyncio.create_task(self._insist(batch[0]))
            self._stubborn.add(task)
            task.add_done_callback(self._stubborn.discard)
            return
        for one in batch:
            await self._settle([one])

    async def _insist(self, one: _Waiting) -> None:
        """Try again for half a lease, then with less and less of the result."""
        for _ in range(_TRIES):
            if await self._is_taken(one):
                return
        delivery, message_id = one.delivery, str(one.delivery.claim.id)
        delivery.result = _in_ascii(delivery.result)
        if await self._is_taken(one):
            return
        may_be_there = delivery.result.outcome in _MAY_BE_THERE
        if may_be_there and await self._is_taken(one, history=False):
            logger.error(
                "the database refuses an attempt: its message is settled without it",
                extra={"action": "attempt_lost", "message_id": message_id},
            )
            return
        logger.error(
            "the database refuses a result: it is lost, and its lease brings the message back",
            extra={"action": "result_lost", "message_id": message_id},
        )
        one.answer(None)

    async def _is_taken(self, one: _Waiting, *, history: bool = True) -> bool:
        await asyncio.sleep(AWAY)
        try:
            [answer] = await self._persist([one.delivery], history=history)
        except Exception as error:  # noqa: BLE001 - the same
            logger.warning(
                "a result is refused: %s",
                told(error),
                extra={"action": "record_failed", "message_id": str(one.delivery.claim.id)},
            )
            return False
        one.answer(answer)
        return True

    async def _persist(
        self, batch: Sequence[Delivery], *, history: bool = True
    ) -> Sequence[Recorded]:
        """Write the batch, however long the database is away."""
        record = partial(self._ledger.record, batch, history=history)
        while True:
            try:
                recorded: Sequence[Recorded] = await self._call(record)
            except Exception as error:
                if not is_away(error):
                    self.in_trouble = False
                    raise
                if not self.in_trouble:
                    logger.warning(
                        "the database is away; %d results wait for it in memory",
                        len(batch) + len(self._waiting),
                        extra={"action": "database_away"},
                    )
                self.in_trouble = True
                await asyncio.sleep(AWAY)
            else:
                self.in_trouble = False
                return recorded


def _in_ascii(result: SendResult) -> SendResult:
    """The result with what the server said in the characters that every database can hold."""
    return replace(result, text=result.text.encode("ascii", "replace").decode())
