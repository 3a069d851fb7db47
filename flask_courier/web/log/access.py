"""Who may see the delivery log, and what every answer of it carries."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import TypeVar

from flask import Response, abort, current_app, g, request

from flask_courier.core.veil import veiled
from flask_courier.state import current_state
from flask_courier.web import peer
from flask_courier.web.mounting import is_here

T = TypeVar("T")

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-src 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)


def before_request() -> None:
    """Answer 404 to everybody who was not let in: the log does not exist for them.

    Asked of the whole application, by path: a wrong method or a missing slash is answered by
    Flask itself, and would tell.
    """
    config = current_state().config
    # Werkzeug redirects from doubled slashes, if there is something at the end.
    path = re.sub("//+", "/", f"{request.path}/")
    if not path.startswith(f"{config.log_url_prefix}/"):
        return
    if not is_here(config.public_url):
        return
    if not is_allowed("list"):
        abort(HTTPStatus.NOT_FOUND)
    g.courier_log_is_open = True


def after_request(response: Response) -> Response:
    """Keep the log out of caches, indexes, referrers and foreign frames.

    Not what is said to strangers: it would differ from the answer where there is nothing.
    """
    if not g.get("courier_log_is_open", False):
        return response
    headers = response.headers
    headers["Cache-Control"] = "no-store"
    headers["X-Robots-Tag"] = "noindex, nofollow"
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Referrer-Policy", "same-origin")
    if current_state().config.base_template is None:
        headers.setdefault("Content-Security-Policy", _POLICY)
    headers.add("Vary", "Accept")
    return response


def shown(value: T) -> T:
    """``value`` as whoever asks may see it: without ``read_content`` every address is masked."""
    return value if is_allowed("read_content") else veiled(value)


def veil() -> Callable[[T], T]:
    """The same for values that are there when the request is over."""
    return _as_it_is if is_allowed("read_content") else veiled


def _as_it_is(value: T) -> T:
    return value


def is_allowed(permission: str) -> bool:
    """Whether the application lets this request in; without its word, debug on loopback alone."""
    state = current_state()
    hook = state.hooks().log_access
    if hook is None:
        return state.config.debug and peer.is_loopback_request()
    try:
        return current_app.ensure_sync(hook)(permission) is True
    except Exception:
        current_app.logger.exception("log_access failed for %r; the page stays closed", permission)
        return False
