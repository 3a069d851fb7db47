"""The delivery log as JSON."""

from __future__ import annotations

import uuid
from typing import Any

from flask_courier.core.messages import Rendered
from flask_courier.core.status import Status
from flask_courier.state import CourierState
from flask_courier.storage.log import AttemptEntry, Details, Entry
from flask_courier.web import wording


def fields(entry: Entry) -> dict[str, Any]:
    """What the list knows of a message, by name."""
    return {name: getattr(entry, name) for name in Entry.__dataclass_fields__}


def of_entry(state: CourierState, entry: Entry) -> dict[str, Any]:
    """A message as a row of the list."""
    known = {name: _plain(value) for name, value in fields(entry).items()}
    return {**known, "max_attempts": state.config.message_retries + 1}


def of_details(state: CourierState, details: Details, content: Rendered | None) -> dict[str, Any]:
    """One message with all that may be shown of it."""
    return {
        **of_entry(state, details.entry),
        "headline": wording.headline(details.entry),
        "advice": wording.advice(details.entry),
        "attempts_made": [
            {name: _plain(getattr(attempt, name)) for name in AttemptEntry.__dataclass_fields__}
            for attempt in details.attempts
        ],
        "events": [
            {"at": _plain(event.at), "actor": event.actor, "what": event.what}
            for event in details.events
        ],
        "content": (
            None
            if content is None
            else {"subject": content.subject, "text": content.text, "html": content.html}
        ),
    }


def _plain(value: Any) -> Any:
    """``value`` as JSON has it: RFC 3339 times, ids and statuses as text."""
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, Status):
        return value.value
    return value.isoformat() if hasattr(value, "isoformat") else value
