"""What the pages of the log have in common: their frame, and a message as templates read it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from flask import Response, url_for

from flask_courier.core.clock import utc_now
from flask_courier.core.search_states import State
from flask_courier.core.status import Status
from flask_courier.state import CourierState, current_state
from flask_courier.storage.log import Entry
from flask_courier.web import guard, wording
from flask_courier.web.log import access, representation
from flask_courier.web.log import banners as news
from flask_courier.web.log.banners import Banner


def row(state: CourierState, entry: Entry) -> dict[str, Any]:
    """``entry`` as the templates read it."""
    now = utc_now()
    mark = _mark(entry, now)
    return {
        **representation.fields(entry),
        "transport": wording.server(entry.transport),
        "reason_label": wording.reason(entry),
        "is_due": entry.next_attempt_at <= now,
        "url": url_for(".message", message_id=entry.id),
        "status": entry.status.value,
        "status_label": wording.STATUS_LABELS[entry.status],
        "mark": mark,
        "mark_label": wording.STATE_LABELS.get(mark or ""),
        "max_attempts": state.config.message_retries + 1,
        "state": _state(entry, mark),
    }


def render(template: str, *, banners: Sequence[Banner] | None = None, **context: Any) -> Response:
    """A page of the log.

    :param banners: what stands above it; read here, in one statement, where the view has not.
    """
    state = current_state()
    if banners is None:
        banners = state.database.transact(lambda session: news.banners(state, session))
    urls = {"list": url_for(".messages"), "health": url_for(".health")}
    if access.is_allowed("act"):
        urls["check"] = url_for(".health", _anchor="courier-check")
    return guard.page(template, folder="log", urls=urls, banners=banners, **context)


def _mark(entry: Entry, now: datetime) -> str | None:
    """What is to be said of the message beside its status, if anything is."""
    states = [name for name in ("stuck", "overdue", "retrying") if State(name, now).matches(entry)]
    return states[0] if states else None


def _state(entry: Entry, mark: str | None) -> str:
    """What differs once the row has to be drawn again; the status comes first."""
    due = f"{entry.next_attempt_at:%y%m%d%H%M%S}" if entry.status is Status.QUEUED else ""
    return f"{entry.status}.{entry.attempts}.{due}.{entry.reason or ''}.{mark or ''}"
