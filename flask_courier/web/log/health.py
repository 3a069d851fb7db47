"""The health page: whether mail flows, with what it was set up, and two ways to find out."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify, request, url_for

from flask_courier.core.accounts import ADDRESS_LIMIT, normalise_address
from flask_courier.core.causes import CAUSES
from flask_courier.core.errors import AddressError
from flask_courier.core.status import Status
from flask_courier.core.steps import State, Step
from flask_courier.flows import trial
from flask_courier.state import CourierState, current_state
from flask_courier.storage import health as reads
from flask_courier.storage import statistics, transports
from flask_courier.storage.health import Count, Flow, Hour
from flask_courier.storage.statistics import WorkerSeen
from flask_courier.storage.transports import TransportRow
from flask_courier.web import forms as account_forms
from flask_courier.web import guard, language, wording
from flask_courier.web.guard import Refused
from flask_courier.web.log import access, banners, chart, effective, forms, pages, representation
from flask_courier.web.presented import transact

_TEST, _CHECK = "test", "check"
_NO_ADDRESS = "That is not an e-mail address; it looks like name@example.com."


@dataclass(frozen=True)
class Facts:
    """What the database knows."""

    flow: Flow
    transports: Sequence[TransportRow]
    workers: Sequence[WorkerSeen]
    messages: Mapping[Status, Count]
    day: Sequence[Hour]


def health() -> Response:
    """``GET /courier/health``: whether mail flows."""
    if guard.wants_json():
        return jsonify(_as_json(current_state()))
    return _page()


def check() -> Response:
    """``POST /courier/check``: try the connection, send nothing; answered within seconds."""
    forms.check(_CHECK)
    # In no transaction of ours: nobody waits for a connection to the database meanwhile.
    steps = current_state().check()
    if steps is None:
        raise Refused(
            HTTPStatus.TOO_MANY_REQUESTS,
            "busy",
            "Another check is at work",
            "Wait until it is over, ten seconds at most, and ask again.",
            retry_after=10,
        )
    if guard.wants_json():
        return jsonify(
            ok=all(step.state is not State.FAILED for step in steps),
            steps=[{**vars(step), "state": step.state.value} for step in steps],
        )
    return _page(steps=steps)


def test() -> Response:
    """``POST /courier/test``: queue a test mail, and lead to its page, where its fate appears."""
    forms.check(_TEST)
    state, typed = current_state(), _typed()
    try:
        # Bounded first: looking at a long one takes its time.
        recipient = normalise_address(typed) if len(typed) <= ADDRESS_LIMIT else None
    except AddressError:
        recipient = None
    if recipient is None:
        return _no_address(typed)
    key, actor = _once(recipient), forms.actor()
    locale = state.flows.language(None, language.of_request())

    def work(session: Any) -> uuid.UUID:
        return trial.send(session, recipient, actor=actor, locale=locale, idempotency_key=key)

    message_id = transact(state, work)
    url = url_for(".message", message_id=message_id)
    if guard.wants_json():
        answer = jsonify(id=str(message_id), url=url)
        answer.status_code = HTTPStatus.ACCEPTED
        return answer
    return guard.see_other(url)


def _typed() -> str:
    if not request.is_json:
        return request.form.get("email", "").strip()
    value = account_forms.json_object().get("email")
    return value.strip() if isinstance(value, str) else ""


def _once(recipient: str) -> str | None:
    """What makes a form that is sent twice one mail."""
    token = request.form.get("form_token")
    return None if token is None else hashlib.sha256(f"{token}\0{recipient}".encode()).hexdigest()


def _no_address(typed: str) -> Response:
    if guard.wants_json():
        raise forms.invalid("email", _NO_ADDRESS)
    answer = _page(typed=typed, problem=_NO_ADDRESS)
    answer.status_code = HTTPStatus.UNPROCESSABLE_ENTITY
    return answer


def _read(state: CourierState) -> Facts:
    def work(session: Any) -> Facts:
        flow = reads.flow(session, state.transport)
        return Facts(
            flow=flow,
            transports=transports.all_rows(session),
            workers=statistics.all_workers(session),
            messages=reads.by_status(session),
            day=reads.last_day(session, flow.now),
        )

    facts: Facts = state.database.transact(work)
    return access.shown(facts)


def _page(
    *, steps: Sequence[Step] | None = None, typed: str = "", problem: str | None = None
) -> Response:
    state = current_state()
    facts, may_act = _read(state), access.is_allowed("act")
    return pages.render(
        "health.html",
        banners=banners.of_flow(state, facts.flow),
        health_css=url_for("courier.static", filename="courier/health.css"),
        transports=_transports(state, facts),
        workers=[{**vars(one), "gone": _is_gone(one)} for one in facts.workers],
        worker_mode=state.config.worker.value,
        oldest_due=facts.flow.oldest_due,
        now=facts.flow.now,
        counts=[
            (
                status.value,
                wording.STATUS_LABELS[status],
                count,
                url_for(".messages", status=status.value),
            )
            for status, count in facts.messages.items()
        ],
        chart=chart.draw(facts.day),
        series=[(name, label) for name, label, _ in chart.SERIES],
        hour_cap=reads.HOUR_CAP,
        settings=effective.settings(state.config),
        steps=steps,
        typed=typed,
        problem=problem,
        keeps_mail=state.config.smtp_uri is None,
        test_token=forms.token(_TEST) if may_act else None,
        check_token=forms.token(_CHECK) if may_act else None,
        test_url=url_for(".test"),
        check_url=url_for(".check"),
    )


def _transports(state: CourierState, facts: Facts) -> list[dict[str, Any]]:
    """Every transport as the template reads it, the one in use first, known or not."""
    rows = [
        {
            **vars(row),
            "server": wording.server(row.name),
            "in_use": row.name == state.transport,
            "is_open": row.is_open,
            "advice": cause.advice
            if row.is_open and (cause := CAUSES.get(row.cause or ""))
            else None,
            "probe_is_due": row.next_probe_at is not None and row.next_probe_at <= facts.flow.now,
        }
        for row in facts.transports
    ]
    if not any(row["in_use"] for row in rows):
        rows.append({"server": wording.server(state.transport), "in_use": True})
    return sorted(rows, key=lambda row: not row["in_use"])


def _is_gone(worker: WorkerSeen) -> bool:
    return worker.silent > banners.WORKER_SILENCE


def _as_json(state: CourierState) -> dict[str, Any]:
    facts, plain = _read(state), representation.plain
    return {
        "at": plain(facts.flow.now),
        "troubles": [
            {name: plain(value) for name, value in vars(one).items()}
            for one in banners.of_flow(state, facts.flow)
        ],
        "oldest_due_seconds": round(facts.flow.oldest_due.total_seconds(), 3),
        "transports": [
            {
                **{name: plain(value) for name, value in vars(row).items()},
                "in_use": row.name == state.transport,
            }
            for row in facts.transports
        ],
        "workers": [
            {
                "name": one.name,
                "kind": one.kind,
                "seen_at": plain(one.seen_at),
                "silent_seconds": round(one.silent.total_seconds(), 3),
                "gone": _is_gone(one),
            }
            for one in facts.workers
        ],
        "messages": {status.value: vars(count) for status, count in facts.messages.items()},
        "hours": _hours(facts.day),
        "configuration": [
            {"name": one.name, "value": one.value, "default": one.is_default}
            for one in effective.settings(state.config)
        ],
    }


def _hours(day: Sequence[Hour]) -> list[dict[str, Any]]:
    return [
        {
            "begin": representation.plain(hour.begin),
            "attempts": {outcome.value: number for outcome, number in hour.outcomes.items()},
            "weight": round(hour.weight, 3),
        }
        for hour in day
    ]
