"""One message: what became of it and why, everything that happened to it, and what it says."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from flask import Response, abort, jsonify, request, url_for

from flask_courier.core import links, outlook
from flask_courier.core.outlook import Link, Verdict
from flask_courier.core.replies import Phase
from flask_courier.core.search import Query, term
from flask_courier.core.search_values import Misread
from flask_courier.flows.challenges import BY_PURPOSE
from flask_courier.state import CourierState, current_state
from flask_courier.storage.details import (
    AttemptEntry,
    Details,
    RelatedEntry,
    TokenEntry,
    details,
    of_tie,
)
from flask_courier.web import guard, wording
from flask_courier.web.log import (
    access,
    actions,
    content,
    filters,
    pages,
    representation,
    timeline,
)
from flask_courier.web.log.banners import Banner, banners
from flask_courier.web.log.timeline import Step

#: What a database takes for a number.
_MOST_ATTEMPTS = 2**31 - 1


def message(message_id: uuid.UUID) -> Response:
    """``/courier/messages/<id>``: one message and what became of it."""
    state, as_json = current_state(), guard.wants_json()

    def work(session: Any) -> tuple[Details | None, list[Banner]]:
        found = details(session, message_id, before=_before())
        return found, [] if as_json else banners(state, session)

    found, notices = state.database.transact(work)
    if found is None:
        abort(HTTPStatus.NOT_FOUND)
    found, may_read = access.shown(found), access.is_allowed("read_content")
    judged, steps = verdict_of(found), timeline.steps(found)
    if as_json:
        readable = found.content.masked() if found.content and may_read else None
        return jsonify(representation.of_details(state, found, judged, steps, readable))
    return _page(state, found, judged, steps, banners=notices, may_read=may_read)


def verdict_of(found: Details) -> Verdict:
    """What is said first of a message."""
    entry, link = found.entry, found.link
    return outlook.verdict(
        entry.status,
        entry.reason,
        cause=wording.cause(found.last) if found.last else None,
        link=_link_of(link) if link else None,
        stays=entry.transport == "log:",
    )


def _link_of(link: TokenEntry) -> Link:
    return outlook.link_of(
        opened=link.opened_at is not None, good=link.is_open, ended_as=link.ended_as
    )


def _page(
    state: CourierState,
    found: Details,
    judged: Verdict,
    steps: list[Step],
    *,
    may_read: bool,
    **context: Any,
) -> Response:
    entry = found.entry
    shown = content.shown(state, found, request.args.get("view", "")) if may_read else None
    link, code = _live_credentials(state, found) if shown else (None, None)
    chain = [*of_tie(found.related, "resend"), *of_tie(found.related, "original")]
    to_them = of_tie(found.related, "recipient")
    return pages.render(
        "message.html",
        message=pages.row(state, entry),
        verdict=judged,
        side=wording.SIDE_LABELS[judged.side],
        last=found.last and _attempt(found.last),
        steps=_steps(steps),
        earlier=found.earlier_attempts,
        earlier_url=_url(entry.id, before=found.attempts[0].number) if found.attempts else None,
        newest_url=_url(entry.id) if _before() is not None else None,
        shown=shown,
        may_read=may_read,
        tabs=_tabs(entry.id, shown),
        live_link=link,
        live_code=code,
        notice=actions.notice(found),
        offers=actions.offers(found),
        related=[_related(one) for one in to_them if one.id not in {kin.id for kin in chain}],
        chain=[_related(one) for one in chain],
        all_url=url_for(".messages", q=_all_mail_to(state, entry.recipient)) if may_read else None,
        **context,
    )


def _all_mail_to(state: CourierState, recipient: str) -> str:
    """A search for the address, or for its words if it is too odd for that."""
    try:
        return str(Query((term("to", recipient, filters.viewpoint_of(state)),)))
    except Misread:
        return recipient


def _before() -> int | None:
    """Older attempts are asked for by the number that they come before; nonsense asks for none."""
    number = request.args.get("before", type=int)
    return None if number is None else min(max(number, 1), _MOST_ATTEMPTS)


def _url(message_id: uuid.UUID, **values: Any) -> str:
    return url_for(".message", message_id=message_id, **values)


def _live_credentials(state: CourierState, found: Details) -> tuple[str | None, str | None]:
    """Link and code of a ``log:`` delivery, derived again; None for everything that left."""
    row = found.seed
    if row is None or state.config.smtp_uri is not None or found.entry.transport != "log:":
        return None, None
    key = state.keys.get(row.key_id)
    if key is None:
        return None, None
    purpose = row.seed.purpose
    token = key.sign(purpose, key.token_id(row.seed))
    flow = BY_PURPOSE[purpose]
    link = links.absolute(guard.public_url(), flow.link_path(state.config) + token.value)
    code = key.code(row.seed, state.config.code_digits).value if flow.has_code else None
    return link, code


def _tabs(message_id: uuid.UUID, shown: content.Shown | None) -> list[dict[str, Any]]:
    """The tabs, as links: they work without scripts."""
    return [
        {
            "label": label,
            "url": _url(message_id, view=view, _anchor="courier-content"),
            "current": shown is not None and shown.view == view,
        }
        for view, label in content.VIEWS.items()
    ]


def _steps(steps: Sequence[Step]) -> list[dict[str, Any]]:
    """The steps as the templates read them; the same cause is explained once in a row."""
    found = [_step(step) for step in steps]
    attempts = [step["attempt"] for step in found if step["attempt"]]
    causes = [attempt["cause"] for attempt in attempts]
    for attempt, before in zip(attempts[1:], causes, strict=False):
        if attempt["cause"] == before:
            attempt["cause"] = None
    return found


def _step(step: Step) -> dict[str, Any]:
    """``step`` as the templates read it."""
    return {
        **vars(step),
        "since": None if step.since is None else wording.gap(step.since),
        "attempt": step.attempt and _attempt(step.attempt),
        "url": None if step.other is None else _url(step.other),
    }


def _attempt(attempt: AttemptEntry) -> dict[str, Any]:
    """``attempt`` as the templates read it."""
    return {
        **vars(attempt),
        "transport": wording.server(attempt.transport),
        "outcome_label": wording.outcome(attempt),
        "phase_label": wording.PHASE_LABELS[Phase(attempt.phase)],
        "cause": wording.cause(attempt),
        "took": wording.gap(timedelta(milliseconds=attempt.duration_ms)),
    }


def _related(one: RelatedEntry) -> dict[str, Any]:
    """Another message as the templates read it."""
    return {
        **vars(one),
        "status": one.status.value,
        "status_label": wording.STATUS_LABELS[one.status],
        "url": _url(one.id),
    }
