"""A bound on what goes out in an hour, whoever asks for it; its last fifth is for recovery.

A provider that blocks a sender for a flood blocks the mail of everybody who is locked out, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from flask_courier.core.limits import Limit
from flask_courier.core.messages import Claim
from flask_courier.core.tokens import KeyRing, Purpose
from flask_courier.storage import limits
from flask_courier.storage.uow import Session

_HOUR = 3_600


class HourlyBudget:
    """The budget as it is in one transaction; holds its lock until that ends.

    :param most: mails an hour.
    """

    def __init__(self, session: Session, keys: KeyRing, most: int) -> None:
        self._whole = Limit(most, _HOUR)
        self._common = Limit(max(1, most - most // 5), _HOUR)
        self._key = keys.current.limit_key("budget")
        limits.lock(session, [keys.current.limit_key("budget", "lock")])
        self._counters = limits.Counters(session, [(self._key, self._whole)])

    def admit(self, claims: Sequence[Claim]) -> tuple[list[Claim], list[Claim]]:
        """Those that there is room for, recovery first, and the others."""
        admitted: list[Claim] = []
        rest: list[Claim] = []
        for claim in sorted(claims, key=lambda one: one.kind != Purpose.RECOVERY.value):
            has_room = len(admitted) < self._counters.left(self._key, self._limit_of(claim))
            (admitted if has_room else rest).append(claim)
        return admitted, rest

    def spend(self, claim: Claim) -> None:
        """Count a mail that goes out."""
        self._counters.take(self._key, self._limit_of(claim))

    def wait(self, claim: Claim) -> timedelta:
        """How long what was not admitted has to wait: until the hour is over."""
        return self._counters.ends_in(self._key, self._limit_of(claim))

    def save(self) -> None:
        """Write down what was spent."""
        self._counters.save()

    def _limit_of(self, claim: Claim) -> Limit:
        return self._whole if claim.kind == Purpose.RECOVERY.value else self._common
