"""What a message says, in the four ways that the page shows it, and in a frame that can do nothing.

All of it is masked: dots stand where the link's token and the code went.
"""

from __future__ import annotations

import itertools
import re
import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Response, abort, make_response, request, url_for
from markupsafe import escape

from flask_courier.core.errors import RenderError
from flask_courier.core.messages import Credentials, Mail, Rendered
from flask_courier.core.tokens import Secret
from flask_courier.state import CourierState, current_state
from flask_courier.storage import contents
from flask_courier.storage.details import Details
from flask_courier.web.log.access import is_allowed

#: The tabs, in their order; the first one is shown unless another is asked for.
VIEWS = {"text": "Text", "html": "HTML", "source": "Source", "headers": "Headers"}
#: Characters that a page shows at most; nobody reads more, and a browser has to lay it out.
SHOWN_LIMIT = 100_000
#: Characters and tags of HTML that go into the frame. A browser looks through all open tags at
#: each new one: with a hundred thousand inside each other it stands still for minutes.
PREVIEW_LIMIT, PREVIEW_TAGS = 1_000_000, 10_000

#: What a mail's HTML may do: show its own inline styles and images (CSP level 3).
_MEANS = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; "
    "base-uri 'none'"
)
_PREVIEW_POLICY = f"{_MEANS}; sandbox; frame-ancestors 'self'"
#: In the page too: an application may write a policy of its own over every header. A policy that
#: is added can only take away.
_PREAMBLE = (
    "<!doctype html>"
    f'<meta http-equiv="Content-Security-Policy" content="{escape(_MEANS)}">'
    '<meta name="referrer" content="no-referrer">'
)
#: Flask-Talisman writes its headers over those of a view, unless the view says otherwise here.
TALISMAN_OPTIONS = {
    "content_security_policy": _PREVIEW_POLICY,
    "frame_options": "SAMEORIGIN",
}
#: Only that a mail has some matters: it stands in for them.
_SECRET = Secret("")


@dataclass(frozen=True)
class Shown:
    """One tab."""

    view: str
    #: Masked, and cut at :data:`SHOWN_LIMIT`; None where there is nothing.
    text: str | None
    #: Characters that there are.
    length: int
    #: Where the frame's page is, and whether that ends early.
    preview_url: str | None = None
    preview_is_cut: bool = False
    #: Why there is nothing, if that is a fault.
    fault: str | None = None

    @property
    def is_cut(self) -> bool:
        """Whether there is more than is shown."""
        return self.length > SHOWN_LIMIT


def shown(state: CourierState, details: Details, view: str) -> Shown | None:
    """The tab that is asked for, or the first, for whoever may read it; None without content."""
    if details.content is None:
        return None
    content = details.content.masked()
    if view == "html" and content.html is not None:
        framed = len(_framed(content.html)) < len(content.html)
        url = url_for(".preview", message_id=details.entry.id)
        return _cut(view, content.html, preview_url=url, preview_is_cut=framed)
    if view == "html":
        return Shown(view, None, 0)
    if view in ("source", "headers"):
        return _source(state, details, details.content, view)
    return _cut("text", content.text)


def preview(message_id: uuid.UUID) -> Response:
    """``/courier/messages/<id>/preview``: the masked HTML part, for a frame and nothing else.

    A sandbox does not stop a page from navigating itself where it is the whole document.
    """
    if request.headers.get("Sec-Fetch-Dest", "iframe") != "iframe":
        abort(HTTPStatus.NOT_FOUND)
    if not is_allowed("read_content"):
        abort(HTTPStatus.NOT_FOUND)
    found: dict[uuid.UUID, Rendered] = current_state().database.transact(
        lambda session: contents.load(session, [message_id])
    )
    content = found.get(message_id)
    if content is None or content.html is None:
        abort(HTTPStatus.NOT_FOUND)
    answer = make_response(_PREAMBLE + _framed(content.masked().html or ""))
    answer.headers["Content-Security-Policy"] = _PREVIEW_POLICY
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def _framed(markup: str) -> str:
    """As much of it as a browser can take."""
    too_many = next(itertools.islice(re.finditer("<", markup), PREVIEW_TAGS, None), None)
    return markup[: min(PREVIEW_LIMIT, too_many.start() if too_many else PREVIEW_LIMIT)]


def _source(state: CourierState, details: Details, content: Rendered, view: str) -> Shown:
    """The whole mail as a worker would write it now, or its header fields alone."""
    entry = details.entry
    if entry.prepared_at is None or entry.message_id_header is None:
        return Shown(view, None, 0)
    secrets = None if content.placeholder is None else Credentials(_SECRET, _SECRET, _SECRET)
    mail = Mail(entry.recipient, content, entry.prepared_at, entry.message_id_header, secrets)
    try:
        source = state.source(mail)
    except RenderError as error:
        return Shown(view, None, 0, fault=str(error))
    return _cut(view, source.partition("\r\n\r\n")[0] if view == "headers" else source)


def _cut(view: str, text: str | None, **more: Any) -> Shown:
    return Shown(view, None if text is None else text[:SHOWN_LIMIT], len(text or ""), **more)
