"""The delivery log: a list, one message, and its HTML part in a frame that can do nothing."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import (
    Response,
    abort,
    current_app,
    jsonify,
    make_response,
    request,
    url_for,
)

from flask_courier.core import links
from flask_courier.core.clock import utc_now
from flask_courier.core.status import Status
from flask_courier.state import CourierState, current_state
from flask_courier.storage import log
from flask_courier.storage.log import AttemptEntry, Details, Entry
from flask_courier.web import guard, representation, wording
from flask_courier.web.banners import Banner, banners
from flask_courier.web.guard import Refused

_PAGE_SIZE = 50
_LONGEST_PAGE = 200

_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "frame-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: What a mail's HTML may do in its frame: show its own inline styles. RFC-less, by CSP level 3.
_PREVIEW_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; sandbox; "
    "frame-ancestors 'self'; form-action 'none'; base-uri 'none'"
)


@dataclass(frozen=True)
class Query:
    """What the list is asked for."""

    status: Status | None
    recipient: str
    after: uuid.UUID | None
    size: int


def before_request() -> None:
    """Answer 404 to everybody who was not let in: the log does not exist for them.

    Asked of the whole application, by path: a wrong method or a missing slash is answered by
    Flask itself, and would tell.
    """
    prefix = current_state().config.log_url_prefix
    if not (request.path + "/").startswith(prefix + "/"):
        return
    if not _is_allowed("list"):
        abort(HTTPStatus.NOT_FOUND)


def after_request(response: Response) -> Response:
    """Keep the log out of caches, indexes, referrers and foreign frames."""
    headers = response.headers
    headers["Cache-Control"] = "no-store"
    headers["X-Robots-Tag"] = "noindex, nofollow"
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Referrer-Policy", "same-origin")
    if current_state().config.base_template is None:
        headers.setdefault("Content-Security-Policy", _POLICY)
    headers.add("Vary", "Accept")
    return response


def messages() -> Response:
    """``/courier/``: messages, newest first."""
    state, query = current_state(), _read_query()

    def work(session: Any) -> tuple[list[Entry], list[Banner]]:
        found = log.entries(
            session,
            status=query.status,
            recipient=query.recipient,
            before=query.after,
            limit=query.size + 1,
        )
        return found, banners(state, session)

    found, notices = state.database.transact(work)
    shown = found[: query.size]
    next_url = _url(query, after=shown[-1].id) if len(found) > query.size else None
    if guard.wants_json():
        answer = jsonify(
            messages=[representation.of_entry(state, entry) for entry in shown], next=next_url
        )
        if next_url is not None:
            answer.headers["Link"] = f'<{next_url}>; rel="next"'
        return answer
    return _page(
        "list.html",
        messages=[_row(state, entry) for entry in shown],
        statuses=_chips(query),
        q=query.recipient,
        next_url=next_url,
        newest_url=_url(query) if query.after is not None else None,
        banners=notices,
        account_url=url_for("courier.recovery"),
    )


def message(message_id: uuid.UUID) -> Response:
    """``/courier/messages/<id>``: one message and what became of it."""
    state = current_state()
    details = _details(state, message_id)
    content = details.content.masked() if details.content and _is_allowed("read_content") else None
    if guard.wants_json():
        return jsonify(representation.of_details(state, details, content))
    link, code = _live_credentials(state, details) if content else (None, None)
    entry = details.entry
    return _page(
        "message.html",
        message=_row(state, entry),
        headline=wording.headline(entry),
        advice=wording.advice(entry),
        attempts=[_attempt(attempt) for attempt in details.attempts],
        content=content,
        text=content.text if content else None,
        preview_url=(
            url_for(".preview", message_id=message_id) if content and content.html else None
        ),
        live_link=link,
        live_code=code,
        events=[
            {
                "at": event.at,
                "actor": event.actor,
                "what_label": wording.EVENT_LABELS.get(event.what, event.what),
            }
            for event in details.events
        ],
        resend_of_url=(
            url_for(".message", message_id=entry.resend_of) if entry.resend_of else None
        ),
    )


def preview(message_id: uuid.UUID) -> Response:
    """``/courier/messages/<id>/preview``: the masked HTML part, for a frame and nothing else.

    A sandbox does not stop a page from navigating itself where it is the whole document.
    """
    if request.headers.get("Sec-Fetch-Dest", "iframe") != "iframe":
        abort(HTTPStatus.NOT_FOUND)
    if not _is_allowed("read_content"):
        abort(HTTPStatus.NOT_FOUND)
    details = _details(current_state(), message_id)
    if details.content is None or details.content.html is None:
        abort(HTTPStatus.NOT_FOUND)
    answer = make_response(details.content.masked().html or "")
    answer.headers["Content-Security-Policy"] = _PREVIEW_POLICY
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def _is_allowed(permission: str) -> bool:
    """Whether the application lets this request in; without its word, debug on loopback alone."""
    state = current_state()
    hook = state.hooks().log_access
    if hook is None:
        return state.config.debug and guard.is_loopback_request()
    try:
        return current_app.ensure_sync(hook)(permission) is True
    except Exception:
        current_app.logger.exception("log_access failed for %r; the page stays closed", permission)
        return False


def _read_query() -> Query:
    arguments = request.args
    try:
        status = Status(arguments["status"]) if arguments.get("status") else None
        after = uuid.UUID(arguments["after"]) if arguments.get("after") else None
        size = int(arguments.get("n") or _PAGE_SIZE)
    except ValueError:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "query",
            "This address cannot be read",
            "status is one of "
            + ", ".join(status.value for status in Status)
            + "; after is the id of a message; n is a number.",
        ) from None
    recipient = arguments.get("q", "").strip().replace("\0", "")[:320]
    return Query(status, recipient, after, min(max(size, 1), _LONGEST_PAGE))


def _url(query: Query, *, after: uuid.UUID | None = None) -> str:
    return url_for(
        ".messages",
        status=query.status.value if query.status else None,
        q=query.recipient or None,
        after=after,
        n=query.size if query.size != _PAGE_SIZE else None,
    )


def _chips(query: Query) -> list[tuple[str, str, bool, str]]:
    choices: list[tuple[Status | None, str]] = [(None, "All"), *wording.STATUS_LABELS.items()]
    return [
        (
            status.value if status else "",
            label,
            status is query.status,
            _url(Query(status, query.recipient, None, query.size)),
        )
        for status, label in choices
    ]


def _details(state: CourierState, message_id: uuid.UUID) -> Details:
    details: Details | None = state.database.transact(
        lambda session: log.details(session, message_id)
    )
    if details is None:
        abort(HTTPStatus.NOT_FOUND)
    return details


def _live_credentials(state: CourierState, details: Details) -> tuple[str | None, str | None]:
    """Link and code of a ``log:`` delivery, derived again; None for everything that left."""
    row = details.seed
    if row is None or state.config.smtp_uri is not None or details.entry.transport != "log:":
        return None, None
    key = state.keys.get(row.key_id)
    if key is None:
        return None, None
    purpose = row.seed.purpose
    token = key.sign(purpose, key.token_id(row.seed))
    path = f"{state.config.account_url_prefix}/{purpose.value}/{token.value}"
    code = key.code(row.seed, state.config.code_digits)
    return links.absolute(guard.public_url(), path), code.value


def _row(state: CourierState, entry: Entry) -> dict[str, Any]:
    """``entry`` as the templates read it."""
    return {
        **representation.fields(entry),
        "transport": wording.server(entry.transport),
        "reason_label": wording.reason(entry),
        "is_due": entry.next_attempt_at <= utc_now(),
        "url": url_for(".message", message_id=entry.id),
        "status": entry.status.value,
        "status_label": wording.STATUS_LABELS[entry.status],
        "max_attempts": state.config.message_retries + 1,
    }


def _attempt(attempt: AttemptEntry) -> dict[str, Any]:
    """``attempt`` as the templates read it."""
    return {
        **vars(attempt),
        "transport": wording.server(attempt.transport),
        "outcome_label": wording.outcome(attempt),
        "cause": wording.cause(attempt),
    }


def _page(template: str, **context: Any) -> Response:
    return guard.page(template, folder="log", urls={"list": url_for(".messages")}, **context)
