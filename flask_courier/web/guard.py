"""What stands before and behind every account page: who may post, what is never cached.

Account forms use no session. A POST from a browser must come from this site (Fetch Metadata, or an
Origin that is ours) and carry a form token that was made for this very form; a POST of JSON cannot
be made by a foreign page without a CORS preflight, which is never answered.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge, TooManyRequests

from flask_courier.core import links
from flask_courier.core.config import WorkerMode
from flask_courier.core.ids import fraction
from flask_courier.state import current_state
from flask_courier.web import language, peer
from flask_courier.web.language import gettext as _

#: Bytes of a request body; the largest honest one is a pasted link.
BODY_LIMIT = 32 * 1024
NO_DELAY = timedelta(0)
LONGEST_DELAY = timedelta(seconds=2)
BASE_TEMPLATE = "courier/base.html"

#: Styles and images of this origin alone; a script too, on the one page that has one.
_POLICY = (
    "default-src 'none'; {scripts}style-src 'self'; img-src 'self' data:; form-action {targets}; "
    "base-uri 'none'; frame-ancestors 'none'"
)


class Refused(Exception):
    """A request that is answered with a problem instead of a page."""

    def __init__(
        self,
        status: HTTPStatus,
        reason: str,
        title: str,
        detail: str,
        *,
        retry_after: int | None = None,
        errors: dict[str, list[str]] | None = None,
        location: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.title = title
        self.detail = detail
        self.retry_after = retry_after
        self.errors = errors
        #: Where a client can do what is missing.
        self.location = location


def wants_json() -> bool:
    """Whether the client asked for JSON, by what it sent or by what it accepts."""
    if request.is_json:
        return True
    best = request.accept_mimetypes.best_match(["text/html", "application/json"])
    return best == "application/json"


def before_request(*, body_limit: int = BODY_LIMIT) -> None:
    """Bound the body and refuse what a foreign page sends.

    :raises Refused: if this is a cross-site POST, or one of another content type.
    """
    request.max_content_length = body_limit
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        raise _cross_site()
    origin = request.headers.get("Origin")
    if origin == "null" and request.headers.get("Sec-Fetch-Site") == "same-origin":
        # A page of ours that names no referrer; a script cannot write this header (Fetch Metadata).
        origin = None
    if origin is not None and not _is_ours(origin):
        raise _cross_site()
    if not request.is_json and request.mimetype not in (
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ):
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            _("This kind of content is not understood"),
            _("Send a form, or JSON with the content type application/json."),
        )


def _is_ours(origin: str) -> bool:
    """Whether this is a name of this site; a foreign page can choose neither it nor our Host."""
    return origin == links.origin(public_url()) or origin == links.origin(request.host_url)


def _cross_site() -> Refused:
    return Refused(
        HTTPStatus.FORBIDDEN,
        "cross_site",
        _("This form was sent from another site"),
        _("Open the page here and send it again."),
    )


def after_request(response: Response) -> Response:
    """Keep every answer out of caches, indexes, referrers and frames."""
    headers = response.headers
    headers["X-Content-Type-Options"] = "nosniff"
    if request.endpoint == "courier.static":
        return response
    headers["Cache-Control"] = "no-store"
    headers["X-Robots-Tag"] = "noindex, nofollow"
    # no-referrer on forms would make browsers send "Origin: null" with their POST.
    headers.setdefault("Referrer-Policy", "same-origin")
    if current_state().config.base_template is None:
        headers.setdefault("Content-Security-Policy", _policy())
    headers.add("Vary", "Accept")
    headers.add("Vary", "Accept-Language")
    spoken = language.spoken()
    if spoken is not None:
        headers["Content-Language"] = spoken
    return response


def allow_script(response: Response) -> Response:
    """Let this answer's page run scripts of this origin."""
    if current_state().config.base_template is None:
        response.headers["Content-Security-Policy"] = _policy("script-src 'self'; ")
    return response


def _policy(scripts: str = "") -> str:
    config = current_state().config
    return _policy_for(
        scripts,
        config.after_recovery_url,
        config.after_verification_url,
        config.after_sign_in_url,
    )


# Every answer carries it: an application has two, with and without scripts.
@lru_cache(16)
def _policy_for(scripts: str, *onward: str | None) -> str:
    """A form may lead to this origin, and to what it redirects to after the flow."""
    foreign = sorted({links.origin(url) for url in onward if url and "://" in url})
    return _POLICY.format(scripts=scripts, targets=" ".join(["'self'", *foreign]))


def refuse(refused: Refused) -> Response:
    """The answer to a refused request: a page, or problem+json (RFC 9457)."""
    if wants_json():
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": refused.title,
            "status": int(refused.status),
            "detail": refused.detail,
            "reason": refused.reason,
        }
        if refused.errors:
            body["errors"] = refused.errors
        if refused.location:
            body["location"] = refused.location
        response = jsonify(body)
        response.mimetype = "application/problem+json"
    else:
        response = page("refused.html", title=refused.title, detail=refused.detail, back_url=None)
    response.status_code = int(refused.status)
    if refused.retry_after is not None:
        response.headers["Retry-After"] = str(refused.retry_after)
    return response


def refuse_body(error: HTTPException) -> Response:
    """What werkzeug refuses by itself, in our words."""
    too_large = isinstance(error, RequestEntityTooLarge)
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE if too_large else HTTPStatus.BAD_REQUEST
    reason = "payload_too_large" if too_large else "body"
    detail = (
        _("Send at most %(limit)s kB.", limit=BODY_LIMIT // 1024)
        if too_large
        else _("The request could not be read; send the form again.")
    )
    return refuse(Refused(status, reason, _("This request was not accepted"), detail))


def refuse_rate(error: TooManyRequests) -> Response:
    """What a limit of the application's own refuses, Flask-Limiter's for example, in our words."""
    retry_after = error.retry_after
    seconds = retry_after if isinstance(retry_after, int) else None
    return refuse(too_many_requests(seconds))


def too_many_requests(retry_after: int | None) -> Refused:
    """A client has had its share.

    :param retry_after: seconds until it may ask again, where that is known.
    """
    return Refused(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_requests",
        _("Too many requests"),
        _("Wait a while before you ask again."),
        retry_after=retry_after,
    )


def page(template: str, *, folder: str = "web", **context: Any) -> Response:
    """One of our pages, in the application's own layout if it has named one."""
    words = language.words()
    return make_response(
        render_template(
            f"courier/{folder}/{template}",
            courier_base=current_state().config.base_template or BASE_TEMPLATE,
            _=language.in_template,
            _n=language.ngettext,
            lang=words.language,
            dir=words.direction,
            courier_css=url_for("courier.static", filename="courier/courier.css"),
            **context,
        )
    )


def see_other(location: str) -> Response:
    """A redirect that is followed with GET (RFC 9110 section 15.4.4)."""
    return make_response(redirect(location, code=303))


def public_url() -> str:
    """Where links lead: PUBLIC_URL, or in debug and testing this request's own loopback host.

    :raises Refused: if neither is there: a Host header from afar decides nothing.
    """
    configured = current_state().config.public_url
    if configured is not None:
        return configured
    if not peer.is_loopback_name(peer.host_name()):
        raise Refused(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "public_url_missing",
            _("This site does not know its own address yet"),
            _(
                "Set COURIER_PUBLIC_URL: without it, links are only made for a browser on the same "
                "machine."
            ),
        )
    return request.host_url.rstrip("/") + request.script_root


def stored_public_url() -> str | None:
    """What a message must remember of :func:`public_url`: nothing, if the configuration says it."""
    return None if current_state().config.public_url is not None else public_url()


def unseen_delay() -> timedelta:
    """How long a mail that anybody asked for stays unseen by an embedded worker.

    It shares this process, and must not be seen to start on a real account.
    """
    embedded = current_state().config.worker is WorkerMode.THREAD
    return LONGEST_DELAY * fraction() if embedded else NO_DELAY


def binding(*parts: str) -> str:
    """What a form token is bound to; long enough that no other form has the same."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
