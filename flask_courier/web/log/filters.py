"""The filter of an address of the log: what its search box and its status ask for.

The list, its live updates, the export and whatever acts on all of it read the same words in the
same way, from a query string or from hidden fields of a form.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timezone, tzinfo
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import request

from flask_courier.core.clock import utc_now
from flask_courier.core.search import Problem, Query, Term, parse, term
from flask_courier.core.search_values import Misread, Viewpoint
from flask_courier.core.search_veil import veiled_query
from flask_courier.state import CourierState, current_state
from flask_courier.storage.search import Place
from flask_courier.web.guard import Refused
from flask_courier.web.log import access
from flask_courier.web.log.foreign import sought

#: Where ``log.js`` keeps the name of the reader's time zone.
ZONE_COOKIE = "courier_tz"


@dataclass(frozen=True)
class Filter:
    """Which messages somebody wants to see, or to act on."""

    #: What stands in the search box: what can be seen of what was typed.
    text: str
    #: A status, or a state that is none; empty for all.
    status: str
    #: What the text asks for, and the status.
    search: Query
    status_term: Term | None
    problems: tuple[Problem, ...]

    @property
    def query(self) -> Query:
        """What both ask for; not to be carried out where there are problems."""
        return self.search if self.status_term is None else self.search.joined(self.status_term)

    @property
    def is_open(self) -> bool:
        """Whether every message passes."""
        return not self.query.terms and not self.problems

    def arguments(self) -> dict[str, Any]:
        """The same for an address, or for hidden fields of a form."""
        return self.with_status(self.status)

    def with_status(self, status: str) -> dict[str, Any]:
        """The same with another status, or with any, for an address."""
        named = {"status": status, "q": self.text}
        return {name: value for name, value in named.items() if value}

    def sealed(self, place: Place) -> str | None:
        """``place`` for an address; None for the newest page."""
        if place.beside is None:
            return None
        words = f"{'n' if place.newer else 'o'}{place.beside.hex}"
        return current_state().keys.seal(words, self._binding())

    def place(self, sealed: str) -> Place | None:
        """The place that :meth:`sealed` wrote for this filter, or None if it is not known."""
        words = current_state().keys.unseal(sealed, self._binding())
        return None if words is None else Place(uuid.UUID(words[1:]), newer=words[0] == "n")

    def _binding(self) -> str:
        words = f"{self.text}\0{self.status}"
        return hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()


def read(arguments: Mapping[str, str]) -> Filter:
    """The filter of a query string, or of a form."""
    text, status = sought(arguments.get("q", "")).strip(), arguments.get("status", "")
    viewpoint = viewpoint_of(current_state())
    search = parse(text, viewpoint)
    if not access.is_allowed("read_content"):
        search = veiled_query(search)
    problems = search.problems
    status_term = None
    if status:
        try:
            status_term = term("status", status, viewpoint)
        except Misread as error:
            problems = (*problems, Problem(f"status={status}", str(error)))
    return Filter(text, status, search, status_term, problems)


def refusal(problems: Sequence[Problem]) -> Refused:
    """What a client other than a browser is told of a search that cannot be understood."""
    return Refused(
        HTTPStatus.BAD_REQUEST,
        "query",
        "This search cannot be carried out",
        " ".join(problem.words for problem in problems),
        errors={problem.term or "q": [problem.words] for problem in problems},
    )


def viewpoint_of(state: CourierState) -> Viewpoint:
    """Whose search this is, and when."""
    sender = state.config.default_sender
    return Viewpoint(utc_now(), reader_zone(), f"{sender.name} <{sender.address}>")


def reader_zone() -> tzinfo:
    """The time zone that the reader's browser has told, or UTC."""
    name = request.cookies.get(ZONE_COOKIE, "")
    try:
        return ZoneInfo(name) if name else timezone.utc
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return timezone.utc
