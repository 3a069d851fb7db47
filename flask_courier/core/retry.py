"""When a message is tried again, and when it is not.

Exponential, with jitter, squeezed into the message's life: a code that arrives an hour late helps
nobody (RFC 5321 section 4.5.4.1 counts in days, which is for relays).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from flask_courier.core.replies import TRANSPORT_OUTCOMES, Outcome
from flask_courier.core.status import Status

#: First wait after a refusal of the message; doubles with every attempt.
_DEFERRED_BASE = timedelta(seconds=20)
_DEFERRED_CAP = timedelta(hours=1)
#: First wait after a fault of the transport; doubles with every claim.
_FAULT_BASE = timedelta(seconds=1)
_FAULT_CAP = timedelta(minutes=1)
#: A message whose outcome is unknown is repeated after this long.
_UNKNOWN_WAIT = timedelta(seconds=60)
#: A message that ends so many connections is abandoned.
_POISON_FAULTS = 3
#: Doubling stops here, or a long outage would overflow.
_MAX_DOUBLINGS = 16


@dataclass(frozen=True)
class Progress:
    """How far a message has come when an attempt ends."""

    #: Attempts that counted, this one included if it counts.
    attempts: int
    #: Claims so far: what a transport fault is spaced by, since it uses no attempt.
    claims: int
    #: Attempts that already ended unknown, before this one.
    unknown: int
    #: Attempts that already ended with a dropped connection, before this one, if this one ended so;
    #: else 0.
    dropped: int
    #: A repeat shows the reader the same link and code, so that it does no harm.
    repeatable: bool
    expires_at: datetime


@dataclass(frozen=True)
class Decision:
    """What becomes of a message: its next status, why, and when it is due again."""

    status: Status
    reason: str | None = None
    next_attempt_at: datetime | None = None


def counts(outcome: Outcome) -> bool:
    """Whether an attempt with this outcome uses one of the message's attempts."""
    return outcome not in TRANSPORT_OUTCOMES


def decide(
    outcome: Outcome,
    progress: Progress,
    *,
    retries: int,
    now: datetime,
    jitter: float,
    hint: timedelta | None = None,
) -> Decision:
    """The move that follows an attempt.

    :param retries: attempts allowed after the first one.
    :param jitter: a number in [0, 1); 0.75 to 1.25 of the plain wait is used.
    :param hint: the soonest that trying again makes sense, as the server or its kind of refusal
        says.
    """
    if outcome is Outcome.ACCEPTED:
        return Decision(Status.SENT)
    if outcome is Outcome.REJECTED:
        return Decision(Status.ABANDONED, "rejected")
    if outcome is Outcome.UNKNOWN:
        if not progress.repeatable or progress.unknown:
            return Decision(Status.HELD, "outcome_unknown")
        wait = _UNKNOWN_WAIT
    elif outcome in TRANSPORT_OUTCOMES:
        wait = _backoff(_FAULT_BASE, _FAULT_CAP, progress.claims, jitter)
    elif progress.dropped >= _POISON_FAULTS - 1:
        # Whatever it is that servers choke on, it is in this message.
        return Decision(Status.ABANDONED, "poison")
    elif progress.attempts > retries:
        return Decision(Status.ABANDONED, "retries_exhausted")
    else:
        wait = _backoff(_DEFERRED_BASE, _DEFERRED_CAP, progress.attempts, jitter)
    if hint is not None:
        wait = max(wait, hint)
    return _within(progress.expires_at, now, wait, _reason(outcome))


def _reason(outcome: Outcome) -> str:
    return {
        Outcome.DEFERRED: "deferred",
        Outcome.THROTTLED: "throttled",
        Outcome.TRANSPORT_FAULT: "transport_fault",
        Outcome.OPERATOR_FAULT: "operator_fault",
        Outcome.UNKNOWN: "outcome_unknown",
    }[outcome]


def _backoff(base: timedelta, cap: timedelta, step: int, jitter: float) -> timedelta:
    plain = min(cap, base * (1 << min(max(step - 1, 0), _MAX_DOUBLINGS)))
    return plain * (0.75 + jitter / 2)


def _within(expires_at: datetime, now: datetime, wait: timedelta, reason: str) -> Decision:
    """Squeeze the next attempt into what is left of the message's life.

    The last quarter of what is left is kept free, so that the last attempt comes before the end.
    """
    left = expires_at - now
    if left <= timedelta(seconds=1):
        return Decision(Status.EXPIRED, reason)
    return Decision(Status.QUEUED, reason, now + min(wait, left * 0.75))
