"""What a worker has in hand: parcels that are ready to go, and until when it holds their leases."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from flask_courier.core.messages import Claim, Lane, Parcel
from flask_courier.delivery.clock import lease_clock

#: Seconds before the end of a lease in which no final dot goes out any more: the other side of the
#: connection and the other side of the lease have clocks of their own.
_MARGIN = 5.0
#: Of so many parcels one comes from the back of the house, as with claims.
_FAIR_SHARE = 4


_Key = tuple[uuid.UUID, str]


@dataclass
class _Hold:
    """A lease, and the end of its message's life, by ``lease_clock()``."""

    claim: Claim
    until: float
    life: float


class Hands:
    """Parcels by lane, and the deadline of every lease that the worker holds."""

    def __init__(self) -> None:
        self._ready: dict[Lane, deque[Parcel]] = {lane: deque() for lane in Lane}
        # By lease and not by message alone: a worker that was held up may have claimed one again.
        self._held: dict[_Key, _Hold] = {}
        self._turn = 0
        self._probe: _Key | None = None

    @property
    def ready(self) -> int:
        """How many parcels wait for a session."""
        return sum(map(len, self._ready.values()))

    def waiting(self, lane: Lane) -> int:
        """How many parcels of one lane wait for a session."""
        return len(self._ready[lane])

    @property
    def claims(self) -> list[Claim]:
        """Everything in hand, on the wire or not."""
        return [hold.claim for hold in self._held.values()]

    def take(self, parcels: Iterable[Parcel], now: float, lease: float, *, probe: bool) -> None:
        """Take prepared parcels.

        :param now: when they were claimed, by ``lease_clock()``.
        :param lease: seconds that their leases last.
        :param probe: the one parcel is to find out whether the transport is back.
        """
        for parcel in parcels:
            claim = parcel.claim
            life = float("inf")
            if claim.claimed_at is not None:
                life = now + (claim.expires_at - claim.claimed_at).total_seconds()
            self._held[claim.key] = _Hold(claim, now + lease, life)
            self._ready[Lane(claim.lane)].append(parcel)
            if probe:
                self._probe = claim.key

    def next(self) -> Parcel | None:
        """The parcel to go next: account mail first, and one in four from behind."""
        self._turn += 1
        order = reversed(Lane) if self._turn % _FAIR_SHARE == 0 else iter(Lane)
        for lane in order:
            if self._ready[lane]:
                return self._ready[lane].popleft()
        return None

    def put_back(self, parcel: Parcel) -> None:
        """Let a parcel that was taken, and not started, be the next of its lane."""
        self._ready[Lane(parcel.claim.lane)].appendleft(parcel)

    def renew(self, claims: Iterable[Claim], until: float) -> None:
        """The leases of ``claims`` have been renewed; those of the others are lost."""
        for claim in claims:
            hold = self._held.get(claim.key)
            if hold is not None:
                hold.until = until

    def is_probe(self, claim: Claim) -> bool:
        """Whether it was taken to find out whether the transport is back."""
        return self._probe == claim.key

    @property
    def probe_waits(self) -> bool:
        """Whether the parcel that is to probe has not been started."""
        return any(self.is_probe(parcel.claim) for lane in self._ready.values() for parcel in lane)

    def is_held(self, claim: Claim) -> bool:
        """Whether the lease lasts for longer than a reply may take, and the message lives still."""
        hold, now = self._held.get(claim.key), lease_clock()
        return hold is not None and now < hold.until - _MARGIN and now < hold.life

    def drop(self, claim: Claim) -> None:
        """Let go of a message that is settled."""
        self._held.pop(claim.key, None)
        if self._probe == claim.key:
            self._probe = None

    def empty(self) -> list[Claim]:
        """Let go of everything that has not been started; answer what that is."""
        claims = [parcel.claim for lane in self._ready.values() for parcel in lane]
        for lane in self._ready.values():
            lane.clear()
        for claim in claims:
            self.drop(claim)
        return claims
