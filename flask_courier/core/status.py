"""The states of a message and every move between them.

::

    queued ────► processing ──► sent
    ▲ │           │ │ │ │ └───► suppressed  (no such account, or a limit)
    │ │           │ │ │ └─────► abandoned   (rejected, or out of retries)
    │ │           │ │ └───────► held        (a notice whose outcome is unknown)
    │ └► expired ◄┘ │
    └──── retry ────┘   queued ──► cancelled (a newer message took its place, or an operator did)
    abandoned ──► queued ◄── held   (an operator tries again)

Only ``storage.outbox`` writes a status, and it asks :func:`advance` first.
"""

from __future__ import annotations

import enum

from flask_courier.core.errors import StatusError


class Status(str, enum.Enum):
    """Where a message is."""

    #: Waits for a worker, now or at its next attempt.
    QUEUED = "queued"
    #: A worker holds a lease on it.
    PROCESSING = "processing"
    #: The SMTP server accepted it; whether it reached the mailbox is not known here.
    SENT = "sent"
    #: Given up: rejected by the server, or out of retries.
    ABANDONED = "abandoned"
    #: Never mailed on purpose: no such account, or a limit.
    SUPPRESSED = "suppressed"
    #: Its time ran out before an SMTP server took it.
    EXPIRED = "expired"
    #: A notice that may have been delivered: sending it again is for an operator to decide.
    HELD = "held"
    #: Taken back before it was sent, for instance by a newer message.
    CANCELLED = "cancelled"

    def __str__(self) -> str:
        return self.value


TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.PROCESSING, Status.EXPIRED, Status.CANCELLED}),
    Status.PROCESSING: frozenset(
        {
            Status.QUEUED,
            Status.SENT,
            Status.ABANDONED,
            Status.SUPPRESSED,
            Status.EXPIRED,
            Status.HELD,
        }
    ),
    Status.SENT: frozenset(),
    #: Unless it was rejected: then :data:`REJECTED` is its reason, and it can only be sent anew.
    Status.ABANDONED: frozenset({Status.QUEUED}),
    Status.SUPPRESSED: frozenset(),
    Status.EXPIRED: frozenset(),
    Status.HELD: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset(),
}

#: No worker moves a message out of one of these: its token seed is wiped, and retention may take
#: it. Only an operator moves some of them back.
FINAL = frozenset(
    {
        Status.SENT,
        Status.ABANDONED,
        Status.SUPPRESSED,
        Status.EXPIRED,
        Status.HELD,
        Status.CANCELLED,
    }
)

#: The reason of a message that its server refused for good.
REJECTED = "rejected"
#: The reason of a message whose link support hands over: it is logged, and never queued.
HANDED_OVER = "handed_over"


def advance(current: Status, target: Status) -> Status:
    """Answer ``target`` if a message may move there from ``current``.

    :raises StatusError: if the move is not in :data:`TRANSITIONS`.
    """
    if target not in TRANSITIONS[current]:
        allowed = ", ".join(sorted(TRANSITIONS[current]))
        ending = f"it may go to {allowed}" if allowed else f"{current} is final"
        raise StatusError(f"a message that is {current} cannot become {target}; {ending}")
    return target
