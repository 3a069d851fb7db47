"""A search by somebody who may see no address: what is not seen is not found, nor guessed.

Otherwise each answer to "is there mail to ad…, ada…, ada@…" would give a letter away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from flask_courier.core.accounts import mask_address
from flask_courier.core.search import Problem, Query, Term
from flask_courier.core.search_facts import Facts, Meaning
from flask_courier.core.search_meanings import Error, Part, Subject, To, Word
from flask_courier.core.status import Status
from flask_courier.core.veil import veiled_text

_WHOLE = (
    "Write the whole address, or its domain as in to:@example.com: whose mail it is may not be "
    "read here, nor guessed."
)
#: What looks for a text in what may hold an address.
_LOOKING = (Error, Subject, Word)


@dataclass(frozen=True)
class _Seen:
    """A message as it is shown."""

    facts: Facts

    @property
    def recipient(self) -> str:
        return mask_address(self.facts.recipient)

    @property
    def recipient_folded(self) -> str:
        return mask_address(self.facts.recipient_folded)

    @property
    def subject(self) -> str | None:
        text = self.facts.subject
        return None if text is None else veiled_text(text, self.facts.recipient)

    @property
    def last_error(self) -> str | None:
        text = self.facts.last_error
        return None if text is None else veiled_text(text, self.facts.recipient)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.facts, name)


@dataclass(frozen=True)
class Veiled:
    """What a term means for a message as it is shown."""

    meaning: Meaning

    @property
    def statuses(self) -> frozenset[Status]:
        """As without the veil."""
        return self.meaning.statuses

    @property
    def fields(self) -> tuple[str, ...]:
        """The same, and whose mailbox is to be masked in them."""
        return (*self.meaning.fields, "recipient")

    def matches(self, facts: Facts) -> bool:
        """Whether the message as it is shown is meant."""
        return self.meaning.matches(cast("Facts", _Seen(facts)))


def veiled_query(query: Query) -> Query:
    """``query`` over what is shown; a beginning of an address is a problem."""
    problems = [Problem(str(term), _WHOLE) for term in query.terms if _guesses(term)]
    return Query(tuple(map(_veiled, query.terms)), (*query.problems, *problems))


def _guesses(term: Term) -> bool:
    return isinstance(term.meaning, To) and term.meaning.part is Part.BEGINNING


def _veiled(term: Term) -> Term:
    looks = isinstance(term.meaning, _LOOKING)
    return replace(term, meaning=Veiled(term.meaning)) if looks else term
