"""What the database can leave out of a search by itself.

It may hand out more than matches, never less: which letters are the same in another case differs
from database to database, so what is left is compared in Python. Text that holds nothing but ASCII
is the same for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from flask_courier.core.search import Term
from flask_courier.core.search_meanings import (
    Attempts,
    Code,
    EnhancedCode,
    Error,
    From,
    Header,
    Kind,
    Part,
    Subject,
    To,
    Word,
)
from flask_courier.core.search_states import LATE, NEWS, State
from flask_courier.core.status import Status

#: What SQLAlchemy makes of a comparison; its type differs between columns of tables and of queries.
Condition = Any
Columns = Any


class is_ascii(FunctionElement[bool]):  # noqa: N801 - reads as the SQL function it is
    """Whether a text has as many bytes as characters."""

    type = sa.Boolean()
    inherit_cache = True


@compiles(is_ascii, "sqlite")
def _sqlite_is_ascii(element: is_ascii, compiler: SQLCompiler, **kw: Any) -> str:
    text = compiler.process(element.clauses, **kw)
    return f"(length(CAST({text} AS BLOB)) = length({text}))"


@compiles(is_ascii)
def _is_ascii(element: is_ascii, compiler: SQLCompiler, **kw: Any) -> str:
    text = compiler.process(element.clauses, **kw)
    return f"(octet_length({text}) = char_length({text}))"


def conditions(terms: Sequence[Term], columns: Columns) -> list[Condition]:
    """What every message that ``terms`` match fulfils.

    :param columns: of the messages, and ``subject``.
    """
    found = [_condition(term.meaning, columns) for term in terms if not term.negated]
    return [condition for condition in found if condition is not None]


@singledispatch
def _condition(_meaning: Any, _columns: Columns) -> Condition:
    """None where nothing can be left out."""
    return None


@_condition.register
def _to(meaning: To, columns: Columns) -> Condition:
    column = columns.recipient_folded
    if meaning.part is Part.WHOLE:
        return column == meaning.text
    if meaning.part is Part.BEGINNING:
        return column.startswith(meaning.text, autoescape=True)
    return column.endswith(meaning.text, autoescape=True)


@_condition.register
def _from(meaning: From, _columns: Columns) -> Condition:
    return sa.true() if meaning.is_sender else sa.false()


@_condition.register
def _subject(meaning: Subject, columns: Columns) -> Condition:
    return _may_hold(columns.subject, meaning.text)


@_condition.register
def _word(meaning: Word, columns: Columns) -> Condition:
    return sa.or_(
        columns.recipient_folded.contains(meaning.text, autoescape=True),
        ~is_ascii(columns.recipient),
        _may_hold(columns.subject, meaning.text),
    )


@_condition.register
def _kind(meaning: Kind, columns: Columns) -> Condition:
    # Hyphens and blanks stand for each other, which one wildcard says.
    pattern = "".join(f"/{letter}" if letter in "/%" else letter for letter in meaning.name)
    return sa.or_(sa.func.lower(columns.kind).like(pattern, escape="/"), ~is_ascii(columns.kind))


@_condition.register
def _state(meaning: State, columns: Columns) -> Condition:
    late, now = meaning.now - LATE, meaning.now
    overdue, stuck = columns.next_attempt_at < late, columns.lease_until < late
    ways: dict[str, Condition] = {
        "stuck": stuck,
        "overdue": overdue,
        "due": columns.next_attempt_at <= now,
        "retrying": columns.attempts > 0,
        "attention": sa.or_(
            sa.and_(columns.status == Status.QUEUED.value, overdue),
            sa.and_(columns.status == Status.PROCESSING.value, stuck),
            sa.and_(
                columns.status.in_([Status.ABANDONED.value, Status.HELD.value]),
                columns.created_at >= now - NEWS,
            ),
        ),
    }
    return columns.status == meaning.name if meaning.is_status else ways[meaning.name]


@_condition.register
def _error(meaning: Error, columns: Columns) -> Condition:
    reason = sa.func.replace(columns.reason, "_", " ")
    words = meaning.text.replace("_", " ")
    return sa.or_(
        reason.contains(words, autoescape=True), _may_hold(columns.last_error, meaning.text)
    )


@_condition.register
def _code(meaning: Code, columns: Columns) -> Condition:
    return columns.last_code.between(meaning.lowest, meaning.highest)


@_condition.register
def _enhanced(meaning: EnhancedCode, columns: Columns) -> Condition:
    return columns.last_error.startswith(meaning.text, autoescape=True)


@_condition.register
def _header(meaning: Header, columns: Columns) -> Condition:
    return columns.message_id_header == meaning.text


@_condition.register
def _attempts(meaning: Attempts, columns: Columns) -> Condition:
    return columns.attempts.op(meaning.comparison)(meaning.number)


def _may_hold(column: Any, folded: str) -> Condition:
    """Whether the text may hold ``folded``, in whatever case."""
    if not folded.isascii():
        return ~is_ascii(column)
    return sa.or_(sa.func.lower(column).contains(folded, autoescape=True), ~is_ascii(column))
