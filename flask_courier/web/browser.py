"""A name for the visitor's browser: it tells a sign-up from somebody else's for the same address.

It is no credential: a message keeps an HMAC of it, and it opens nothing by itself.
"""

from __future__ import annotations

import re

from flask import Response, after_this_request, g, request

from flask_courier.core import links
from flask_courier.core.ids import nonce
from flask_courier.web import guard

#: Seconds; a verification link is not good for longer by default.
_LIFETIME = 86_400
_NAME = re.compile(r"[0-9a-f]{32}")
#: The prefix keeps neighbouring sites from planting a name of theirs (RFC 6265bis section 4.1.3).
_SECURE_COOKIE = "__Host-courier_browser"
_COOKIE = "courier_browser"


def name() -> str:
    """The browser's name; one that has none is given one with this request's answer."""
    known = known_name() or g.get("courier_browser")
    if known is not None:
        return str(known)
    g.courier_browser = fresh = nonce()

    @after_this_request
    def remember(response: Response) -> Response:
        secure = _is_secure()
        response.set_cookie(
            _SECURE_COOKIE if secure else _COOKIE,
            fresh,
            max_age=_LIFETIME,
            path="/",
            secure=secure,
            httponly=True,
            samesite="Lax",
        )
        return response

    return fresh


def known_name() -> str | None:
    """The name that the browser came with, if it has one."""
    cookie = request.cookies.get(_SECURE_COOKIE if _is_secure() else _COOKIE, "")
    return cookie if _NAME.fullmatch(cookie) else None


def _is_secure() -> bool:
    try:
        return links.is_secure(guard.public_url())
    except guard.Refused:
        return False
