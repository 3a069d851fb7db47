"""Searches of the log that cost the same however many messages there are.

A search walks down one index, from the newest message: the statuses that it names, the recipient,
or the primary key, which sorts by time. It looks at ``WINDOW`` messages at most; where they do not
fill the page, it says how far it came, and the next search goes on there. The database leaves out
what it can, and Python has the last word, so that every database finds the same. Nothing is counted
to its end and nothing is skipped over with OFFSET.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.search import Query, Term
from flask_courier.core.search_facts import Facts
from flask_courier.core.search_meanings import LOWEST, Header, Part, To
from flask_courier.core.search_plan import Plan, plan
from flask_courier.core.status import Status
from flask_courier.storage.dialect import run
from flask_courier.storage.health import Count
from flask_courier.storage.models import Content, Message
from flask_courier.storage.search_conditions import conditions

#: Messages that one search looks at; a page of a log that has no more costs as much.
WINDOW = 1_000
#: And fewer where it goes along statuses that few messages have, which lie far from each other.
SPARSE_WINDOW = 150
#: So many messages of one address, or of those that begin alike, are found wherever they are.
PROBE = 200
#: Messages that each step of :func:`matching_ids` looks at.
STRIDE = 2_000

#: Beside the id: what every search looks at, or costs nothing to read.
_ALWAYS = ("status",)


@dataclass(frozen=True)
class Place:
    """Where a page begins: before the newest message, or beside one that was shown."""

    #: The page has what is older than this message, or newer; None for the newest page.
    beside: uuid.UUID | None = None
    #: Whether it goes back to newer messages.
    newer: bool = False


@dataclass(frozen=True)
class Found:
    """A page of ids, newest first."""

    ids: tuple[uuid.UUID, ...]
    #: Whether there are more in the direction of the search, as far as it came.
    more: bool
    #: The last message that was looked at where there is more to look at; None at the end of all.
    searched_to: uuid.UUID | None
    #: How many match by status, as far as the search came; None where one status was looked at.
    by_status: Mapping[Status, int] | None
    #: Whether those are all that match.
    counts_all: bool


def find(
    session: Session, query: Query, *, place: Place, limit: int, status: Term | None = None
) -> Found:
    """A page of the messages that ``query`` matches.

    :param status: narrows the page, and not what is counted by status, where that costs nothing.
    """
    narrowed = query if status is None else query.joined(status)
    way = plan(narrowed)
    if plan(query).key is not None:
        probed = run(session, _probe(plan(query), way.fields)).all()
        if len(probed) <= PROBE:
            return _page_of(_matching(query, probed), place=place, limit=limit, status=status)
    size = limit + 1 if way.is_exact else _size(way)
    looked_at = _look(session, narrowed, way, place, size)
    ids = [found.id for found in looked_at.matching[:limit]]
    more = len(looked_at.matching) > limit
    return Found(
        tuple(reversed(ids) if place.newer else ids),
        more=more,
        searched_to=None if more else looked_at.ended_at,
        by_status=_by_status(looked_at.matching) if status is None else None,
        counts_all=looked_at.ended_at is None and place.beside is None,
    )


def matching_ids(
    session: Session, query: Query, *, below: uuid.UUID | None, stride: int = STRIDE
) -> tuple[list[uuid.UUID], uuid.UUID | None]:
    """The next messages that ``query`` matches, newest first, and where to go on; None at the end.

    For what acts on all of them, a transaction for each step: there may be none among many.

    :param below: what the step before answered; None at first.
    :param stride: how many messages a step looks at.
    """
    looked_at = _look(session, query, plan(query), Place(below), stride)
    return [found.id for found in looked_at.matching], looked_at.ended_at


def count(session: Session, query: Query) -> Count:
    """How many messages ``query`` matches, as far as one search comes: at least so many."""
    way = plan(query)
    looked_at = _look(session, query, way, Place(), _size(way))
    return Count(len(looked_at.matching), capped=looked_at.ended_at is not None)


def _size(way: Plan) -> int:
    """How many messages a search looks at."""
    return SPARSE_WINDOW if way.by_status else WINDOW


@dataclass(frozen=True)
class _Look:
    """What a search came upon."""

    matching: Sequence[Facts]
    #: The last message that was looked at; None at the end of all.
    ended_at: uuid.UUID | None


def _look(session: Session, query: Query, way: Plan, place: Place, size: int) -> _Look:
    """Look at the first ``size`` messages from ``place`` on that the way leads along."""
    if way.is_empty:
        return _Look((), None)
    window = _window(way, place, size)
    if way.is_exact:
        rows = run(session, window).all()
        return _Look(rows, rows[-1].id if len(rows) == size else None)
    rows = run(session, _sifted(query, way, window, newer=place.newer)).all()
    number, last = run(session, _edge(way, place, size)).one()
    return _Look(_matching(query, rows), last if number == size else None)


def _page_of(matching: Sequence[Facts], *, place: Place, limit: int, status: Term | None) -> Found:
    """The page, where all that match are known."""
    ids = sorted(
        (
            found.id
            for found in matching
            if _is_beyond(found.id, place) and (status is None or status.matches(found))
        ),
        reverse=not place.newer,
    )
    shown = ids[:limit]
    return Found(
        tuple(reversed(shown) if place.newer else shown),
        more=len(ids) > limit,
        searched_to=None,
        by_status=_by_status(matching),
        counts_all=True,
    )


def _is_beyond(message_id: uuid.UUID, place: Place) -> bool:
    if place.beside is None:
        return True
    return message_id > place.beside if place.newer else message_id < place.beside


def _by_status(matching: Sequence[Facts]) -> Mapping[Status, int]:
    return Counter(Status(found.status) for found in matching)


def _matching(query: Query, rows: Sequence[Any]) -> list[Facts]:
    return [cast("Facts", row) for row in rows if query.matches(row)]


def _probe(way: Plan, fields: frozenset[str]) -> Any:
    """The messages that the index on the key knows, and one more than are wanted."""
    bounds = (*_range(way, Place()), *_with_key(way))
    some = sa.select(*_columns(fields)).where(*bounds).limit(PROBE + 1)
    return _with_subject(some, fields)


def _window(way: Plan, place: Place, size: int) -> Any:
    """What there is to look at."""
    order = Message.id.asc() if place.newer else Message.id.desc()
    statement = sa.select(*_columns(way.fields))
    if not way.by_status:
        return statement.where(*_along(way, place)).order_by(order).limit(size)
    # Not IN: SQLite would rather walk along all ids and look which are among the few.
    some = _first_ids(way, place, size)
    first = some.c.id.asc() if place.newer else some.c.id.desc()
    return statement.select_from(sa.join(some, Message, Message.id == some.c.id)).order_by(first)


def _along(way: Plan, place: Place) -> list[sa.ColumnElement[bool]]:
    # How an address begins is no part of an index in the order of time.
    begins = isinstance(way.key, To) and way.key.part is Part.BEGINNING
    return [*_range(way, place), *([] if begins else _with_key(way))]


def _first_ids(way: Plan, place: Place, size: int) -> sa.Subquery:
    """The first of each status, and of these the first.

    No database walks along several ranges of an index in one order.
    """
    order = Message.id.asc() if place.newer else Message.id.desc()
    # A bound that none passes: without one SQLite would take a claim index, and sort all it finds.
    bounds = _range(way, place) or [Message.id > LOWEST]
    parts = [
        sa.select(
            sa.select(Message.id)
            .where(Message.status == status.value, *bounds)
            .order_by(order)
            .limit(size)
            .subquery()
        )
        for status in sorted(way.statuses)
    ]
    every = sa.union_all(*parts).subquery()
    first = every.c.id.asc() if place.newer else every.c.id.desc()
    return sa.select(every.c.id).order_by(first).limit(size).subquery()


def _edge(way: Plan, place: Place, size: int) -> Any:
    """How many messages there are to look at, and the last of them."""
    if way.by_status:
        some = _first_ids(way, place, size)
    else:
        order = Message.id.asc() if place.newer else Message.id.desc()
        some = (
            sa.select(Message.id).where(*_along(way, place)).order_by(order).limit(size).subquery()
        )
    last = some.c.id.desc() if place.newer else some.c.id.asc()
    return sa.select(
        sa.select(sa.func.count()).select_from(some).scalar_subquery(),
        sa.select(some.c.id).order_by(last).limit(1).scalar_subquery(),
    )


def _sifted(query: Query, way: Plan, window: Any, *, newer: bool) -> Any:
    """What of the window the database cannot leave out by itself."""
    statement = _with_subject(window, way.fields)
    columns = statement.selected_columns
    sifted = statement.where(*conditions(query.terms, columns))
    return sifted.order_by(columns.id.asc() if newer else columns.id.desc())


def _columns(fields: frozenset[str]) -> list[Any]:
    """What the terms look at in the message's row."""
    names = [name for name in (*_ALWAYS, *sorted(fields)) if name not in ("id", "subject")]
    return [Message.id, *(getattr(Message, name) for name in dict.fromkeys(names))]


def _with_subject(statement: Any, fields: frozenset[str]) -> Any:
    """The messages of ``statement``, and what its terms look at elsewhere."""
    some = statement.subquery()
    if "subject" not in fields:
        return sa.select(*some.c)
    # One by one: for a join the database might read all contents that there are.
    subject = sa.select(Content.subject).where(Content.message_id == some.c.id).scalar_subquery()
    told = sa.select(*some.c, subject.label("subject")).subquery()
    return sa.select(*told.c)


def _range(way: Plan, place: Place) -> list[sa.ColumnElement[bool]]:
    bounds: list[sa.ColumnElement[bool]] = []
    if way.lowest.int > 0:
        bounds.append(Message.id >= way.lowest)
    if way.highest.int < 2**128 - 1:
        bounds.append(Message.id <= way.highest)
    if place.beside is not None:
        bounds.append(Message.id > place.beside if place.newer else Message.id < place.beside)
    return bounds


def _with_key(way: Plan) -> list[sa.ColumnElement[bool]]:
    key = way.key
    if isinstance(key, Header):
        return [Message.message_id_header == key.text]
    if key is None:
        return []
    column = Message.recipient_folded
    if key.part is Part.WHOLE:
        return [column == key.text]
    following = _following(key.text)
    return [column >= key.text, *([] if following is None else [column < following])]


def _following(beginning: str) -> str | None:
    """The first text after all that begin so, in the order of code points; None for none."""
    head = beginning.rstrip(chr(0x10FFFF))
    if not head:
        return None
    last = ord(head[-1]) + 1
    # Surrogates stand for no character.
    return head[:-1] + chr(0xE000 if last == 0xD800 else last)
