"""Forgetting: what is older than the application wants to keep, a batch at a time.

Only final messages go. Ids are ordered by time, so that "older than" is a range of the primary key.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.ids import first_id
from flask_courier.core.status import FINAL, HANDED_OVER, Status
from flask_courier.storage import tokens
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Attempt, Content, Event, LimitCounter, Message, Token
from flask_courier.storage.uow import Database

#: Rows a transaction deletes at most: others wait for it.
BATCH = 500
#: What nobody got tells little, and anybody can make it: kept for a day.
_UNRESOLVED = timedelta(days=1)
#: Of requests for addresses without an account, so many: a flood of them must not fill the disk.
MADE_UP = 10_000

_FINAL = [status.value for status in FINAL]


@dataclass(frozen=True)
class Purged:
    """How much was forgotten."""

    contents: int
    messages: int


def purge(
    database: Database,
    *,
    now: datetime,
    contents: timedelta,
    messages: timedelta,
    counters: timedelta,
) -> Purged:
    """Forget one batch of what is older than it is kept: texts first, then messages.

    Each step is a transaction of its own, that begins with its write.

    :param counters: how long the longest limit lasts.
    """
    texts = database.transact(
        lambda session: outlived_contents(session, now=now, retention=contents)
    )
    if texts:
        database.transact(lambda session: delete_contents(session, texts))
    old = database.transact(lambda session: outlived(session, now=now, retention=messages))
    if old:
        database.transact(lambda session: delete_messages(session, old))
    database.transact(lambda session: delete_idle_counters(session, older_than=counters))
    return Purged(len(texts), len(old))


def outlived(
    session: Session, *, now: datetime, retention: timedelta, made_up: int = MADE_UP
) -> list[uuid.UUID]:
    """A batch of final messages that are older than they are kept; reads only.

    :param made_up: how many requests for addresses without an account are kept.
    """
    unresolved = sa.and_(
        Message.status == Status.SUPPRESSED.value,
        # Somebody's doing, which the log has to show as long as anything else.
        sa.or_(Message.reason.is_(None), Message.reason != HANDED_OVER),
    )
    found = _older(session, first_id(now - _UNRESOLVED), unresolved)
    found = found or _made_up(session, made_up)
    return found or _older(session, first_id(now - retention), Message.status.in_(_FINAL))


def _made_up(session: Session, kept: int) -> list[uuid.UUID]:
    """A batch of requests for addresses without an account, beyond the newest ``kept``."""
    made_up = sa.and_(Message.status == Status.SUPPRESSED.value, Message.reason == "no_account")
    newest = sa.select(Message.id).where(made_up).order_by(Message.id.desc()).offset(kept)
    found = [row[0] for row in run(session, newest.limit(1))]
    return [*found, *_older(session, found[0], made_up)] if found else []


def _older(
    session: Session, before: uuid.UUID, condition: sa.ColumnElement[bool]
) -> list[uuid.UUID]:
    # A link that still works outlives its message's retention.
    statement = (
        sa.select(Message.id)
        .where(condition, Message.id < before, ~tokens.is_open_for(Message.id))
        .order_by(Message.id)
        .limit(BATCH)
    )
    return [row[0] for row in run(session, statement)]


def outlived_contents(session: Session, *, now: datetime, retention: timedelta) -> list[uuid.UUID]:
    """A batch of final messages whose text is older than it is kept; reads only."""
    statement = (
        sa.select(Content.message_id)
        .join(Message, Message.id == Content.message_id)
        .where(Content.message_id < first_id(now - retention), Message.status.in_(_FINAL))
        .order_by(Content.message_id)
        .limit(BATCH)
    )
    return [row[0] for row in run(session, statement)]


def delete_contents(session: Session, message_ids: Sequence[uuid.UUID]) -> None:
    """Delete the text of these messages."""
    run(session, sa.delete(Content).where(Content.message_id.in_(message_ids)))


def delete_messages(session: Session, message_ids: Sequence[uuid.UUID]) -> None:
    """Delete those of these messages that are still final, with everything that belongs to them.

    Since they were looked for, an operator may have put one back into the queue.
    """
    run(
        session,
        sa.delete(Message).where(Message.id.in_(message_ids), Message.status.in_(_FINAL)),
    )
    remaining = sa.select(Message.id).where(Message.id.in_(message_ids))
    kept = {row[0] for row in run(session, remaining)}
    gone = [message_id for message_id in message_ids if message_id not in kept]
    delete_contents(session, gone)
    for table in (Attempt, Event, Token):
        run(session, sa.delete(table).where(table.message_id.in_(gone)))


def delete_idle_counters(session: Session, *, older_than: timedelta) -> None:
    """Delete counters whose window began longer ago than the longest limit lasts."""
    run(
        session,
        sa.delete(LimitCounter).where(
            LimitCounter.window < db_time(-older_than), LimitCounter.count > 0
        ),
    )
