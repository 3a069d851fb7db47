"""Everything that happened to a message, in one order."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone

from flask_courier.core.replies import Outcome
from flask_courier.core.status import Status
from flask_courier.storage.details import (
    SYSTEM,
    AttemptEntry,
    Details,
    EventEntry,
    RelatedEntry,
    of_tie,
)
from flask_courier.web import wording

_BADGES: dict[str, Status] = {
    Outcome.ACCEPTED: Status.SENT,
    Outcome.REJECTED: Status.ABANDONED,
    Outcome.DEFERRED: Status.QUEUED,
    Outcome.TRANSPORT_FAULT: Status.EXPIRED,
    Outcome.OPERATOR_FAULT: Status.ABANDONED,
    Outcome.THROTTLED: Status.QUEUED,
    Outcome.UNKNOWN: Status.HELD,
}
#: What ends a message without an attempt or an operator that would tell of it.
_ENDS = frozenset({Status.SUPPRESSED, Status.EXPIRED, Status.CANCELLED, Status.ABANDONED})


_NEVER = datetime.max.replace(tzinfo=timezone.utc)


@dataclass(frozen=True)
class Step:
    """One thing that happened."""

    #: A stable word: that of the event, ``attempt``, or ``asked``, ``written`` or ``ended``.
    what: str
    words: str
    #: None where no row keeps when.
    at: datetime | None
    #: Who did it; None for this software.
    actor: str | None = None
    attempt: AttemptEntry | None = None
    #: The status whose colour and shape it has.
    badge: Status | None = None
    #: The message that it leads to.
    other: uuid.UUID | None = None
    #: Since the step before.
    since: timedelta | None = None


def steps(details: Details) -> list[Step]:
    """All that is known to have happened, oldest first; what has no time stands at the end."""
    found = [*_beginning(details), *map(_attempt, details.attempts)]
    found += [_event(event, details) for event in details.events]
    found += _end(details)
    return _with_distances(sorted(found, key=lambda step: step.at or _NEVER))


def last_change(taken: Sequence[Step], now: datetime) -> datetime:
    """When the last of these happened; what is still to come is none of it."""
    return max(step.at for step in taken if step.at is not None and step.at <= now)


def _beginning(details: Details) -> Iterator[Step]:
    entry = details.entry
    if entry.resend_of is not None:
        words = "This is a resend of an earlier message"
    elif details.asked_by_visitor:
        words = "Asked for on the account pages, by anybody who knows the address"
    else:
        words = "Queued by the application"
    yield Step("asked", words, entry.created_at, other=entry.resend_of)
    if entry.prepared_at is not None:
        yield Step("written", "Written, and ready to be sent", entry.prepared_at)


def _attempt(attempt: AttemptEntry) -> Step:
    return Step(
        "attempt",
        f"Attempt {attempt.number}",
        attempt.started_at,
        actor=attempt.worker,
        attempt=attempt,
        badge=_BADGES[attempt.outcome],
    )


def _event(event: EventEntry, details: Details) -> Step:
    return Step(
        event.what,
        wording.EVENT_LABELS.get(event.what, event.what),
        event.at,
        actor=None if event.actor == SYSTEM else event.actor,
        other=_resend(event, details.related) if event.what == "resent" else None,
    )


def _resend(event: EventEntry, related: Sequence[RelatedEntry]) -> uuid.UUID | None:
    """The message that was made then: the one event and the one row were written together."""
    made = of_tie(related, "resend")
    return min(made, key=lambda one: abs(one.created_at - event.at)).id if made else None


def _end(details: Details) -> Iterator[Step]:
    """How it ended, where neither an attempt nor an event says so."""
    entry = details.entry
    if entry.status not in _ENDS or (entry.status is Status.CANCELLED and _was_cancelled(details)):
        return
    reason = wording.reason(entry)
    words = wording.STATUS_LABELS[entry.status] + (f": {_lower(reason)}" if reason else "")
    successor = next(iter(of_tie(details.related, "successor")), None)
    at = None
    if entry.status is Status.EXPIRED:
        at = entry.expires_at
    elif successor is not None:
        at = successor.created_at
    elif details.attempts:
        last = details.attempts[-1]
        at = last.started_at + timedelta(milliseconds=last.duration_ms)
    other = None if successor is None else successor.id
    yield Step("ended", words, at, badge=entry.status, other=other)


def _was_cancelled(details: Details) -> bool:
    return any(event.what == "cancelled" for event in details.events)


def _lower(words: str) -> str:
    return words if words[:2].isupper() else words[0].lower() + words[1:]


def _with_distances(ordered: Sequence[Step]) -> list[Step]:
    spaced: list[Step] = []
    before: datetime | None = None
    for step in ordered:
        since = None
        if before is not None and step.at is not None:
            # The clocks of a worker and of the database differ by a little.
            since = max(step.at - before, timedelta(0))
        spaced.append(replace(step, since=since))
        before = step.at or before
    return spaced
