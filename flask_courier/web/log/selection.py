"""Which messages are acted on at once: those that somebody selected, or what a filter finds."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import request, url_for

from flask_courier.state import current_state
from flask_courier.storage import search
from flask_courier.web.guard import Refused
from flask_courier.web.log import filters
from flask_courier.web.log.filters import Filter

#: Messages that one press acts on.
MOST = 1000
#: Steps of a search that one page waits for; what they do not come to, the next page does.
_MOST_STEPS = 10


@dataclass(frozen=True)
class Selection:
    """The messages, newest first."""

    ids: tuple[uuid.UUID, ...]
    #: Those that come next are older than this; None where there are none.
    going_on: uuid.UUID | None = None
    #: What found them; None where somebody selected them.
    filter: Filter | None = None

    @property
    def from_here(self) -> uuid.UUID | None:
        """The place from which a search finds these again, and nothing that came after them."""
        return uuid.UUID(int=self.ids[0].int + 1) if self.filter and self.ids else None


def of_filter() -> Selection:
    """What the filter of this address finds, from where it says on.

    :raises Refused: if the filter or the place cannot be read: nothing is done by mistake.
    """
    shown = filters.read(request.args)
    if shown.problems:
        raise filters.refusal(shown.problems)
    ids: list[uuid.UUID] = []
    below = place()
    for _ in range(_MOST_STEPS):
        found, below = _step(shown, below)
        ids += found
        if below is None or len(ids) >= MOST:
            break
    # A step may find more than there is room for.
    going_on = ids[MOST - 1] if len(ids) > MOST else below
    return Selection(tuple(ids[:MOST]), going_on, shown)


def _step(shown: Filter, below: uuid.UUID | None) -> tuple[list[uuid.UUID], uuid.UUID | None]:
    def work(session: Any) -> tuple[list[uuid.UUID], uuid.UUID | None]:
        return search.matching_ids(session, shown.query, below=below)

    found: tuple[list[uuid.UUID], uuid.UUID | None] = current_state().database.transact(work)
    return found


def url(endpoint: str, *, below: uuid.UUID | None = None) -> str:
    """A page that has the filter of this address.

    :param below: where it goes on.
    """
    arguments = filters.read(request.args).arguments()
    return url_for(endpoint, **arguments, below=None if below is None else below.hex)


def place() -> uuid.UUID | None:
    """Where this address goes on; None for the beginning.

    :raises Refused: if that cannot be read: from the beginning on would be other messages.
    """
    below = request.args.get("below")
    try:
        return uuid.UUID(below) if below else None
    except ValueError:
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "query",
            "This address cannot be read",
            "below is the id of a message, out of the link to this page.",
        ) from None
