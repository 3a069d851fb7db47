"""What somebody types to find messages: text in, terms or problems out.

::

    to:ada@example.com status:abandoned -subject:"weekly report" after:-7d invoice

Terms are joined by "and", ``-`` before one negates it, quotes keep blanks together and take
everything literally. What cannot be understood is a problem that says what to write instead, and
never a term that is quietly left out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass

from flask_courier.core.search_facts import Facts, Meaning
from flask_courier.core.search_meanings import Word
from flask_courier.core.search_values import READERS, Misread, Viewpoint, read_word

#: More of either is refused: a search is read in full for every message that it looks at.
MOST_TERMS = 10
MOST_CHARACTERS = 200

#: What parts terms: blanks, and characters that no field holds.
_BLANK = r"\s\x00-\x1f\x7f"
_TOKEN = re.compile(
    rf"""
    (?P<minus>-?)
    (?:(?P<operator>[A-Za-z]+):)?
    (?: "(?P<quoted>(?:[^"\\]|\\.)*)(?P<end>"?)
      | (?P<bare>[^{_BLANK}]*) )
    """,
    re.VERBOSE | re.DOTALL,
)
_SKIP = re.compile(rf"[{_BLANK}]*")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BARE = re.compile(rf'[^{_BLANK}"][^{_BLANK}]*')


@dataclass(frozen=True)
class Term:
    """One condition."""

    #: Empty for a free word.
    operator: str
    #: What it was given, without quotes.
    text: str
    negated: bool
    #: Whether it stood in quotes.
    quoted: bool
    meaning: Meaning

    def __str__(self) -> str:
        minus, operator = "-" * self.negated, f"{self.operator}:" if self.operator else ""
        return f"{minus}{operator}{_in_quotes(self.text) if self.quoted else self.text}"

    def matches(self, facts: Facts) -> bool:
        """Whether a message fulfils it."""
        return self.meaning.matches(facts) is not self.negated


@dataclass(frozen=True)
class Problem:
    """Why a search cannot be carried out."""

    #: What was typed there, as far as it concerns one term.
    term: str
    #: A sentence that says what to write instead.
    words: str


@dataclass(frozen=True)
class Query:
    """What a text asks for. With a problem in it, it is not to be carried out."""

    terms: tuple[Term, ...] = ()
    problems: tuple[Problem, ...] = ()

    def __str__(self) -> str:
        return " ".join(map(str, self.terms))

    def matches(self, facts: Facts) -> bool:
        """Whether a message fulfils every term."""
        return all(term.matches(facts) for term in self.terms)

    def joined(self, *terms: Term) -> Query:
        """The same with more conditions."""
        return Query((*self.terms, *terms), self.problems)


def parse(text: str, viewpoint: Viewpoint) -> Query:
    """``text`` as terms, and as problems where it cannot be understood.

    :param viewpoint: whose "today" it is.
    """
    text = _SURROGATE.sub("\ufffd", text)
    if len(text) > MOST_CHARACTERS:
        words = f"A search has at most {MOST_CHARACTERS} characters; this one has {len(text)}."
        return Query((), (Problem("", words),))
    terms: list[Term] = []
    problems: list[Problem] = []
    for found in _tokens(text):
        try:
            terms.append(_term(found, viewpoint))
        except Misread as error:
            problems.append(Problem(found[0], str(error)))
    if len(terms) + len(problems) > MOST_TERMS:
        words = f"A search has at most {MOST_TERMS} terms. Leave some out."
        problems.append(Problem("", words))
    return Query(tuple(terms), tuple(problems))


def term(operator: str, text: str, viewpoint: Viewpoint) -> Term:
    """One condition that nobody typed.

    :raises Misread: if ``text`` is nothing that this operator can be given.
    """
    quoted = not _BARE.fullmatch(text)
    return Term(operator, text, False, quoted, READERS[operator](text, viewpoint))  # noqa: FBT003


def _tokens(text: str) -> Iterator[re.Match[str]]:
    place = 0
    while True:
        skipped = _SKIP.match(text, place)
        place = skipped.end() if skipped else place
        found = _TOKEN.match(text, place)
        if found is None or place >= len(text):
            return
        yield found
        place = found.end()


def _term(found: re.Match[str], viewpoint: Viewpoint) -> Term:
    operator, negated = (found["operator"] or "").lower(), bool(found["minus"])
    quoted = found["quoted"] is not None
    if quoted and not found["end"]:
        raise Misread('A quotation mark is open: put another " at its end.')
    text = re.sub(r"\\(.)", r"\1", found["quoted"], flags=re.DOTALL) if quoted else found["bare"]
    # No field holds a NUL, and PostgreSQL takes none.
    text = text.replace("\0", "\ufffd")
    if operator and operator not in READERS:
        raise Misread(_unknown(operator))
    if not text.strip():
        after = f"after {operator}: " if operator else ""
        raise Misread(f"There is nothing to look for {after}here: write a word, without a blank.")
    if operator:
        meaning = READERS[operator](text, viewpoint)
    else:
        meaning = Word.of(text) if quoted else read_word(text)
    return Term(operator, text, negated, quoted, meaning)


def _unknown(operator: str) -> str:
    close = difflib.get_close_matches(operator, READERS, n=1)
    hint = f"Did you mean {close[0]}:? " if close else ""
    return (
        f"There is no {operator}: here. {hint}Operators are "
        f"{' '.join(f'{name}:' for name in READERS)}; put quotes around text that has a colon."
    )


def _in_quotes(text: str) -> str:
    escaped = re.sub(r'(["\\])', r"\\\1", text)
    return f'"{escaped}"'
