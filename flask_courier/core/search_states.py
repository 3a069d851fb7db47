"""Where a message is: its status, or a state that its status and the time tell together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask_courier.core.search_facts import Standing
from flask_courier.core.status import Status

#: A lease that is over for so long was not taken over, and a mail that was due for so long was not
#: taken up: somebody should look.
LATE = timedelta(minutes=2)
#: What ended badly is news for so long.
NEWS = timedelta(days=7)


@dataclass(frozen=True)
class State:
    """Where a message is: its status, or one of :data:`STATES` at a moment."""

    name: str
    now: datetime
    fields = ("status", "attempts", "created_at", "next_attempt_at", "lease_until")

    @property
    def statuses(self) -> frozenset[Status]:
        """The status, or those in which a message can be in this state."""
        return STATES[self.name][0] if self.name in STATES else frozenset({Status(self.name)})

    @property
    def is_status(self) -> bool:
        """Whether the status alone decides."""
        return self.name not in STATES

    def matches(self, facts: Standing) -> bool:
        """Whether the message is there."""
        if self.name not in STATES:
            return facts.status == self.name
        statuses, holds = STATES[self.name]
        return facts.status in statuses and holds(facts, self.now)


def _is_stuck(facts: Standing, now: datetime) -> bool:
    return facts.lease_until is not None and facts.lease_until < now - LATE


def _is_overdue(facts: Standing, now: datetime) -> bool:
    return facts.next_attempt_at < now - LATE


def _needs_attention(facts: Standing, now: datetime) -> bool:
    if facts.status == Status.QUEUED:
        return _is_overdue(facts, now)
    if facts.status == Status.PROCESSING:
        return _is_stuck(facts, now)
    return facts.created_at >= now - NEWS


_QUEUED = frozenset({Status.QUEUED})
#: States that are no statuses: in which statuses a message can be there, and when it is.
STATES: dict[str, tuple[frozenset[Status], Callable[[Standing, datetime], bool]]] = {
    "attention": (
        frozenset({Status.QUEUED, Status.PROCESSING, Status.ABANDONED, Status.HELD}),
        _needs_attention,
    ),
    "stuck": (frozenset({Status.PROCESSING}), _is_stuck),
    "overdue": (_QUEUED, _is_overdue),
    "due": (_QUEUED, lambda facts, now: facts.next_attempt_at <= now),
    "retrying": (_QUEUED, lambda facts, _now: facts.attempts > 0),
}
