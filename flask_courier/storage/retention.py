"""Forgetting: what is older than the application wants to keep, a batch at a time.

Only final messages go. Ids are ordered by time, so that "older than" is a range of the primary key.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.ids import first_id
from flask_courier.core.status import FINAL, Status
from flask_courier.storage import tokens
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Attempt, Content, Event, LimitCounter, Message, Token

#: Rows a transaction deletes at most: others wait for it.
BATCH = 500
#: What nobody got tells little, and anybody can make it: kept for a day.
_UNRESOLVED = timedelta(days=1)

_FINAL = [status.value for status in FINAL]


def outlived(session: Session, *, now: datetime, retention: timedelta) -> list[uuid.UUID]:
    """A batch of final messages that are older than they are kept; reads only."""
    old = sa.and_(Message.status.in_(_FINAL), Message.id < first_id(now - retention))
    unresolved = sa.and_(
        Message.status == Status.SUPPRESSED.value, Message.id < first_id(now - _UNRESOLVED)
    )
    # A link that still works outlives its message's retention.
    statement = (
        sa.select(Message.id)
        .where(sa.or_(unresolved, old), ~tokens.is_open_for(Message.id))
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
    """Delete these messages with everything that belongs to them."""
    delete_contents(session, message_ids)
    for table in (Attempt, Event, Token):
        run(session, sa.delete(table).where(table.message_id.in_(message_ids)))
    run(session, sa.delete(Message).where(Message.id.in_(message_ids)))


def delete_idle_counters(session: Session, *, older_than: timedelta) -> None:
    """Delete counters whose window began longer ago than the longest limit lasts."""
    run(
        session,
        sa.delete(LimitCounter).where(
            LimitCounter.window < db_time(-older_than), LimitCounter.count > 0
        ),
    )
