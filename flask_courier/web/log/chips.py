"""The statuses above the list, each one click away and with how many messages have it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import url_for

from flask_courier.core.status import Status
from flask_courier.storage import health
from flask_courier.storage.health import STATUS_CAP, Count
from flask_courier.storage.search import Found
from flask_courier.web import wording
from flask_courier.web.log.filters import Filter

_ATTENTION = "attention"


@dataclass(frozen=True)
class Chip:
    """One link."""

    label: str
    url: str
    is_chosen: bool
    #: None where it is not known.
    count: str | None
    #: What its colour is, if it has one.
    tone: str | None = None


def counted(session: Any, shown: Filter, found: Found) -> Mapping[Status, Count] | None:
    """How many messages have each status: of all, or of those that the search matches.

    None where only those of one status were looked at.
    """
    if not shown.search.terms and not shown.problems:
        return health.by_status(session)
    if found.by_status is None:
        return None
    numbers = {status: found.by_status.get(status, 0) for status in Status}
    return {
        status: Count(min(number, STATUS_CAP), number > STATUS_CAP or not found.counts_all)
        for status, number in numbers.items()
    }


def chips(
    shown: Filter, counts: Mapping[Status, Count] | None, attention: Count | None
) -> list[Chip]:
    """The links; a status that no message has is left out, unless it is the chosen one."""
    found: list[Chip] = []
    if (attention and attention.number) or shown.status == _ATTENTION:
        # Of all messages, whatever is looked for: it is what one should know of first.
        url = url_for(".messages", status=_ATTENTION)
        label = wording.STATE_LABELS[_ATTENTION]
        chosen = shown.status == _ATTENTION
        found.append(Chip(label, url, chosen, _told(attention), tone="abandoned"))
    every = url_for(".messages", **shown.with_status(""))
    found.append(Chip("All", every, not shown.status, None))
    for status, label in wording.STATUS_LABELS.items():
        count = None if counts is None else counts[status]
        chosen = shown.status == status.value
        if chosen or count is None or count.number or count.capped:
            url = url_for(".messages", **shown.with_status(status.value))
            found.append(Chip(label, url, chosen, _told(count)))
    state = wording.STATE_LABELS.get(shown.status)
    if state is not None and shown.status != _ATTENTION:
        found.append(Chip(state, url_for(".messages", **shown.arguments()), True, None))  # noqa: FBT003
    return found


def _told(count: Count | None) -> str | None:
    """The number in words; None where nothing can be said."""
    if count is None or (count.capped and not count.number):
        return None
    return f"{count.number:,}{'+' * count.capped}"
