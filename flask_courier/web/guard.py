"""What stands before and behind every account page: who may post, what is never cached.

Account forms use no session. A POST from a browser must come from this site (Fetch Metadata, or an
Origin that is ours) and carry a form token that was made for this very form; a POST of JSON cannot
be made by a foreign page without a CORS preflight, which is never answered.
"""

from __future__ import annotations

import hashlib
import ipaddress
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from flask import Response, jsonify, make_response, redirect, render_template, request, url_for
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from flask_courier.core import links
from flask_courier.core.config import WorkerMode
from flask_courier.core.ids import fraction
from flask_courier.state import current_state

#: Bytes of a request body; the largest honest one is a pasted link.
BODY_LIMIT = 32 * 1024
NO_DELAY = timedelta(0)
LONGEST_DELAY = timedelta(seconds=2)
BASE_TEMPLATE = "courier/base.html"

#: No script at all; styles and images of this origin alone.
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action {targets}; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_FORWARDING = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-Ip", "Via")


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
    ) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.title = title
        self.detail = detail
        self.retry_after = retry_after
        self.errors = errors


def wants_json() -> bool:
    """Whether the client asked for JSON, by what it sent or by what it accepts."""
    if request.is_json:
        return True
    best = request.accept_mimetypes.best_match(["text/html", "application/json"])
    return best == "application/json"


def before_request() -> None:
    """Bound the body and refuse what a foreign page sends.

    :raises Refused: if this is a cross-site POST, or one of another content type.
    """
    request.max_content_length = BODY_LIMIT
    if request.method in ("GET", "HEAD", "OPTIONS"):
        return
    if request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site"):
        raise _cross_site()
    origin = request.headers.get("Origin")
    # Either name of this site will do: a foreign page can choose neither its Origin nor our Host.
    if origin is not None and origin not in (
        links.origin(public_url()),
        links.origin(request.host_url),
    ):
        raise _cross_site()
    if not request.is_json and request.mimetype not in (
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ):
        raise Refused(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "This kind of content is not understood",
            "Send a form, or JSON with the content type application/json.",
        )


def _cross_site() -> Refused:
    return Refused(
        HTTPStatus.FORBIDDEN,
        "cross_site",
        "This form was sent from another site",
        "Open the page here and send it again.",
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
        headers["Content-Security-Policy"] = _POLICY.format(targets=_form_targets())
    headers.add("Vary", "Accept")
    return response


def _form_targets() -> str:
    """Where a form may lead: this origin, and what it redirects to after the flow."""
    config = current_state().config
    onward = (config.after_recovery_url, config.after_verification_url)
    foreign = sorted({links.origin(url) for url in onward if url and "://" in url})
    return " ".join(["'self'", *foreign])


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
        f"Send at most {BODY_LIMIT // 1024} kB."
        if too_large
        else "The request could not be read; send the form again."
    )
    return refuse(Refused(status, reason, "This request was not accepted", detail))


def page(template: str, *, folder: str = "web", **context: Any) -> Response:
    """One of our pages, in the application's own layout if it has named one."""
    return make_response(
        render_template(
            f"courier/{folder}/{template}",
            courier_base=current_state().config.base_template or BASE_TEMPLATE,
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
    if not is_loopback_name(_host_name()):
        raise Refused(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "public_url_missing",
            "This site does not know its own address yet",
            "Set COURIER_PUBLIC_URL: without it, links are only made for a browser on the same "
            "machine.",
        )
    return request.host_url.rstrip("/") + request.script_root


def stored_public_url() -> str | None:
    """What a message must remember of :func:`public_url`: nothing, if the configuration says it."""
    return None if current_state().config.public_url is not None else public_url()


def requester() -> str | None:
    """Who asks, for the limits: an IPv4 address or an IPv6 /64; None if a proxy hides it.

    A private peer with a forwarding header is a proxy that nobody told Flask of: everybody would
    share its one limit.
    """
    address = _peer()
    if address is None:
        return None
    if (address.is_private or address.is_loopback) and is_forwarded():
        return None
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def unseen_delay() -> timedelta:
    """How long a mail that anybody asked for stays unseen by an embedded worker.

    It shares this process, and must not be seen to start on a real account.
    """
    embedded = current_state().config.worker is WorkerMode.THREAD
    return LONGEST_DELAY * fraction() if embedded else NO_DELAY


def is_forwarded() -> bool:
    """Whether a forwarding header came with the request."""
    return any(name in request.headers for name in _FORWARDING)


def is_loopback_request() -> bool:
    """Whether client and Host name are this machine, with nothing in between."""
    peer = _peer()
    if peer is None:
        return False
    return peer.is_loopback and is_loopback_name(_host_name()) and not is_forwarded()


def is_loopback_name(host: str) -> bool:
    """Whether ``host`` names this machine and nothing else."""
    return host in _LOOPBACK_NAMES or host.endswith(".localhost")


def binding(*parts: str) -> str:
    """What a form token is bound to; long enough that no other form has the same."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _peer() -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Who is at the other end; a dual-stack socket writes IPv4 addresses as IPv6 ones."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def _host_name() -> str:
    host = request.host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
