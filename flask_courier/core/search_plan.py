"""How a search is carried out: what an index can find, and what has to be looked at row by row."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from flask_courier.core.search import Query, Term
from flask_courier.core.search_facts import ALL
from flask_courier.core.search_meanings import HIGHEST, LOWEST, Header, Ids, Part, To
from flask_courier.core.search_states import State
from flask_courier.core.status import Status


@dataclass(frozen=True)
class Plan:
    """Where to look for the messages of a query."""

    #: Nothing outside these ids matches.
    lowest: uuid.UUID
    highest: uuid.UUID
    #: Nothing of another status matches.
    statuses: frozenset[Status]
    #: A Message-ID, a whole address or how one begins: whatever else matches has it.
    key: Header | To | None
    #: Which facts the terms look at.
    fields: frozenset[str]
    #: Whether all that is found there matches.
    is_exact: bool

    @property
    def is_empty(self) -> bool:
        """Whether nothing can match at all."""
        return self.lowest > self.highest or not self.statuses

    @property
    def by_status(self) -> bool:
        """Whether the index on statuses is the way to go."""
        return self.key is None and _is_rare(self.statuses)


def plan(query: Query) -> Plan:
    """How to carry ``query`` out."""
    lowest, highest, statuses = LOWEST, HIGHEST, ALL
    for term in query.terms:
        meaning = term.meaning
        if not term.negated:
            statuses &= meaning.statuses
        elif _is_status(term):
            statuses -= meaning.statuses
        if isinstance(meaning, Ids) and not term.negated:
            lowest, highest = max(lowest, meaning.lowest), min(highest, meaning.highest)
    key = _key(query.terms)
    rest = [term for term in query.terms if not _is_range(term) and term.meaning != key]
    exact = not (isinstance(key, To) and key.part is Part.BEGINNING)
    if key is None and _is_rare(statuses):
        rest = [term for term in rest if not _is_status(term)]
    return Plan(
        lowest=lowest,
        highest=highest,
        statuses=statuses,
        key=key,
        fields=frozenset(field for term in query.terms for field in term.meaning.fields),
        is_exact=exact and not rest,
    )


def _key(terms: Sequence[Term]) -> Header | To | None:
    """The most telling of the terms that an index serves."""
    meanings = [term.meaning for term in terms if not term.negated]
    found: list[Header | To] = [one for one in meanings if isinstance(one, Header)]
    for part in (Part.WHOLE, Part.BEGINNING):
        found += [one for one in meanings if isinstance(one, To) and one.part is part]
    return found[0] if found else None


def _is_rare(statuses: frozenset[Status]) -> bool:
    """Whether an index on statuses helps: accepted mail is nearly all there is."""
    return len(statuses) == 1 or Status.SENT not in statuses


def _is_status(term: Term) -> bool:
    return isinstance(term.meaning, State) and term.meaning.is_status


def _is_range(term: Term) -> bool:
    return isinstance(term.meaning, Ids) and not term.negated
