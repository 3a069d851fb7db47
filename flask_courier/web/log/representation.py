"""The delivery log as JSON."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

from flask_courier.core.clock import utc_now
from flask_courier.core.messages import Rendered
from flask_courier.core.outlook import MOVING, Verdict
from flask_courier.core.replies import Outcome
from flask_courier.core.status import Status
from flask_courier.state import CourierState
from flask_courier.storage.details import AttemptEntry, Details, RelatedEntry
from flask_courier.storage.log import Entry
from flask_courier.web import wording
from flask_courier.web.log.timeline import Step, last_change

#: The names of what :func:`of_entry` answers, in its order.
FIELDS = (
    *Entry.__dataclass_fields__,
    "type",
    "template_type",
    "send_count",
    "updated_at",
    "max_attempts",
)


def fields(entry: Entry) -> dict[str, Any]:
    """What the list knows of a message, by name."""
    return {name: getattr(entry, name) for name in Entry.__dataclass_fields__}


def of_entry(state: CourierState, entry: Entry) -> dict[str, Any]:
    """A message as a row of the list."""
    named = {**fields(entry), **entry.names_in_kratos()}
    known = {name: plain(value) for name, value in named.items()}
    return {**known, "max_attempts": state.config.message_retries + 1}


def of_details(
    state: CourierState,
    details: Details,
    verdict: Verdict,
    steps: Sequence[Step],
    content: Rendered | None,
) -> dict[str, Any]:
    """One message with all that may be shown of it."""
    entry = details.entry
    return {
        **of_entry(state, entry),
        "updated_at": plain(last_change(steps, utc_now())),
        "headline": verdict.headline,
        "meaning": verdict.meaning,
        "side": verdict.side,
        "again": entry.status in MOVING,
        "step": verdict.step,
        "action": verdict.action,
        "dispatches": [_dispatch(attempt) for attempt in details.attempts],
        "earlier_dispatches": details.earlier_attempts,
        "timeline": [
            {
                "at": plain(step.at),
                "what": step.what,
                "words": step.words,
                "actor": step.actor,
                "attempt": step.attempt and step.attempt.number,
                "message_id": plain(step.other),
            }
            for step in steps
        ],
        "related": [
            {name: plain(getattr(one, name)) for name in RelatedEntry.__dataclass_fields__}
            for one in details.related
        ],
        "content": (
            None
            if content is None
            else {"subject": content.subject, "text": content.text, "html": content.html}
        ),
    }


def _dispatch(attempt: AttemptEntry) -> dict[str, Any]:
    """An attempt, and what it means; Kratos calls it ``status``, ``error`` and ``created_at``."""
    cause = wording.cause(attempt)
    failed = attempt.outcome != Outcome.ACCEPTED
    return {
        **{name: plain(getattr(attempt, name)) for name in AttemptEntry.__dataclass_fields__},
        "status": "failed" if failed else "success",
        "created_at": plain(attempt.started_at),
        "error": {"code": attempt.code, "message": attempt.reply} if failed else None,
        "meaning": cause and cause.meaning,
        "side": cause and cause.side,
        "advice": cause and cause.advice,
    }


def plain(value: Any) -> Any:
    """``value`` as JSON has it: RFC 3339 times, ids and statuses as text."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Status):
        return value.value
    return value.isoformat() if hasattr(value, "isoformat") else value
