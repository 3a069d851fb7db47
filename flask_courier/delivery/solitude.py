"""Keeping hands free for a message that must be taken alone, while nobody waits for long."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

from flask_courier.delivery.hands import Hands

#: Seconds in which nothing is claimed, so that what is in hand comes to its end. Somebody may wait
#: at a screen meanwhile.
_PATIENCE = 3.0
#: How long other mail is claimed when one session has taken longer: a server may take ten minutes
#: over a final dot (RFC 5321 section 4.5.3.2.6).
_APART = timedelta(seconds=15)


class Solitude:
    """When a worker claims nothing, because a message waits that must be taken alone.

    :param put_back: gives back everything in hand that has not been started.
    """

    def __init__(self, hands: Hands, put_back: Callable[[], Awaitable[None]]) -> None:
        self._hands = hands
        self._put_back = put_back
        self._wanted = False
        # By time.monotonic().
        self._patient_until = 0.0
        self._apart_until = 0.0

    def note(self, *, suspects: bool) -> None:
        """A look at the queue has found messages that must be taken alone, or none."""
        self._wanted = suspects
        self._patient_until = time.monotonic() + _PATIENCE

    @property
    def is_wanted(self) -> bool:
        """Whether nothing may be claimed beside what must be taken alone."""
        return self._wanted

    @property
    def apart(self) -> timedelta | None:
        """How long to put such messages off that are found beside others; None for not at all."""
        return _APART if time.monotonic() < self._apart_until else None

    async def check(self) -> None:
        """Lose patience with what is in hand, if it is time to."""
        now = time.monotonic()
        if not self._wanted or not self._hands.claims or now < self._patient_until:
            return
        if self._hands.ready:
            # A server may be slow with each of them; what is on the wire has as long again.
            await self._put_back()
            self._patient_until = now + _PATIENCE
        else:
            self._wanted = False
            self._apart_until = now + _APART.total_seconds()
