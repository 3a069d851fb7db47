"""What an open list asks for again and again: its rows, if any of them has changed."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from typing import Any

from flask import Response, request

from flask_courier.state import CourierState
from flask_courier.storage import log
from flask_courier.storage.log import Entry
from flask_courier.web.log import pages

#: Messages that a list may ask for by their ids; longer addresses are refused by some servers.
_MOST_WATCHED = 80


def is_asked() -> bool:
    """Whether this request is a script's, for rows alone (``?fragment=1``)."""
    return request.args.get("fragment") == "1"


def watched(session: Any, found: Sequence[Entry]) -> list[Entry]:
    """Messages that the page still shows and the filter may not find any more (``?watch=``)."""
    known = {entry.id for entry in found}
    asked = [one for one in _ids(request.args.get("watch", "")) if one not in known]
    return log.entries_of(session, asked) if asked else []


def fragment(state: CourierState, entries: Sequence[Entry]) -> Response:
    """The rows, or 304 if they are those of the ``ETag`` that the script has."""
    rows = [pages.row(state, entry) for entry in entries]
    answer = pages.render("rows.html", messages=rows)
    # Not of the text: "5 minutes ago" is another text a minute later, and no news.
    known = "\n".join(f"{row['id']} {row['state']}" for row in rows)
    answer.set_etag(hashlib.sha256(known.encode()).hexdigest()[:32])
    answer.make_conditional(request)
    return answer


def _ids(text: str) -> list[uuid.UUID]:
    """The ids in ``text``; what is none is nobody's."""
    found: list[uuid.UUID] = []
    for word in text.split(".")[:_MOST_WATCHED]:
        try:
            found.append(uuid.UUID(word))
        except ValueError:
            continue
    return found
