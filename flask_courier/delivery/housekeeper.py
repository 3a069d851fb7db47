"""What a worker does besides mail: be seen, renew its leases, forget what is old."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from flask_courier.delivery.hands import Hands
from flask_courier.delivery.ledger import Ledger
from flask_courier.delivery.recorder import Recorder
from flask_courier.storage.uow import told

logger = logging.getLogger("flask_courier.worker")


@dataclass(frozen=True)
class Housekeeper:
    """Keeps house for one worker; lives in its loop."""

    ledger: Ledger
    hands: Hands
    recorder: Recorder
    #: How database work is run.
    call: Callable[..., Any]

    async def keep_house(self) -> None:
        """Be seen, renew the leases of what is in hand, forget what is old; until cancelled."""
        while True:
            if not self.recorder.in_trouble:
                await self._renew()
                # A flood makes more rows in a round than one batch holds.
                while await self.attempt(self.ledger.purge):
                    await self._renew()
            await asyncio.sleep(self._interval)

    async def keep_leases(self) -> None:
        """Renew the leases of what is in hand; until cancelled."""
        while True:
            await asyncio.sleep(self._interval)
            await self._renew()

    async def attempt(self, work: Callable[..., Any], *args: Any) -> Any:
        """Database work that the next round, or a lease, makes good if it fails; then None."""
        try:
            return await self.call(work, *args)
        except Exception as error:  # noqa: BLE001 - the next round makes it good
            extra = {"action": "housekeeping_failed"}
            logger.warning("housekeeping failed: %s", told(error), extra=extra)
            return None

    @property
    def _interval(self) -> float:
        return self.ledger.preparer.lease.total_seconds() / 3

    async def _renew(self) -> None:
        renewed = await self.attempt(self.ledger.heartbeat, self.hands.claims)
        if renewed is not None:
            self.hands.renew(*renewed)
