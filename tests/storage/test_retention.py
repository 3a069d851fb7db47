"""Forgetting what is old: final messages only, a batch at a time."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone

import pytest
import sqlalchemy as sa

from flask_courier.core.ids import new_id
from flask_courier.core.limits import Limit
from flask_courier.core.messages import Rendered
from flask_courier.core.status import FINAL, Status
from flask_courier.storage import limits, log, retention
from flask_courier.storage.models import Attempt, Content, Event, LimitCounter, Message, Token
from flask_courier.storage.uow import Database, Session
from tests.databases import every_database
from tests.queue_rows import (
    add_attempt,
    add_content,
    add_token,
    ago,
    change,
    change_token,
    enqueue,
    result,
    rows,
)

pytestmark = every_database

NOW = datetime(2026, 9, 27, 12, 0, tzinfo=timezone.utc)
DAYS_90 = timedelta(days=90)


def old(database: Database, days: float, status: Status = Status.SENT) -> uuid.UUID:
    """A message that was queued so long before noon, with everything that belongs to one."""
    message_id = new_id(NOW - timedelta(days=days))
    change(database, enqueue(database), id=message_id, status=status.value)
    add_content(database, message_id, Rendered("Subject", "text", None))
    add_attempt(database, message_id, result())
    database.transact(lambda session: log.add_event(session, message_id, actor="a", what="seen"))
    change_token(database, add_token(database, message_id), expires_at=ago(days=1))
    return message_id


def outlived(database: Database) -> list[uuid.UUID]:
    """Messages that are older than 90 days at noon."""
    return database.transact(
        lambda session: retention.outlived(session, now=NOW, retention=DAYS_90)
    )


@pytest.mark.parametrize("status", Status)
def test_only_final_messages_are_forgotten(database: Database, status: Status) -> None:
    """What waits or is under way is kept, however old it is."""
    message_id = old(database, 91, status)
    assert ([message_id] if status in FINAL else []) == outlived(database)


def test_retention_has_a_boundary(database: Database) -> None:
    """A message is forgotten once it is older than messages are kept, and not before."""
    kept, gone = (old(database, 90 + seconds / 86_400) for seconds in (-1, 1))
    assert ([gone], True) == (outlived(database), kept > gone)


def test_unresolved_messages_are_kept_a_day(database: Database) -> None:
    """Mail that nobody got is forgotten after a day."""
    old(database, 0.9, Status.SUPPRESSED)
    assert [old(database, 1.1, Status.SUPPRESSED)] == outlived(database)


def test_made_up_addresses_are_bounded(database: Database) -> None:
    """Of requests for addresses without an account the newest are kept, whatever there is else."""
    made_up = [old(database, days / 100, Status.SUPPRESSED) for days in (5, 4, 3, 2)]
    for message_id in made_up:
        change(database, message_id, reason="no_account")
    others = [old(database, 0.06, Status.SUPPRESSED), old(database, 0.07)]
    found = database.transact(
        lambda session: retention.outlived(session, now=NOW, retention=DAYS_90, made_up=2)
    )
    assert (set(made_up[:2]), 2) == (set(found), len(found))
    assert not set(others) & set(found)


def test_working_link_is_not_forgotten(database: Database) -> None:
    """A message whose link still works stays until it does not."""
    message_id = old(database, 91)
    digest = add_token(database, message_id, entropy=b"2" * 16)
    assert [] == outlived(database)
    change_token(database, digest, consumed_at=ago(seconds=1))
    assert [message_id] == outlived(database)


def test_forgotten_message_leaves_nothing(database: Database) -> None:
    """A message goes with its text, attempts, events and tokens; others keep all of theirs."""
    gone, kept = old(database, 91), old(database, 1)
    database.transact(lambda session: retention.delete_messages(session, [gone]))
    columns = (Content.message_id, Attempt.message_id, Event.message_id, Token.message_id)
    assert [[(kept,)]] * 5 == [rows(database, column) for column in (Message.id, *columns)]


def test_text_goes_earlier(database: Database) -> None:
    """The text of a final message has a retention of its own; the message stays."""
    gone, recent, waiting = old(database, 8), old(database, 6), old(database, 8, Status.QUEUED)
    week = timedelta(days=7)
    found = database.transact(
        lambda session: retention.outlived_contents(session, now=NOW, retention=week)
    )
    assert [gone] == found
    database.transact(lambda session: retention.delete_contents(session, found))
    assert sorted([(recent,), (waiting,)]) == rows(database, Content.message_id)
    assert 3 == len(rows(database, Message.id))


def test_batch_is_bounded(database: Database) -> None:
    """No more rows than a batch go in one transaction, the oldest first."""
    message_ids = [new_id(NOW - timedelta(days=100)) for _ in range(retention.BATCH + 1)]

    def fill(session: Session) -> None:
        template = sent()
        values = [template | {"id": message_id} for message_id in message_ids]
        session.connection().execute(sa.insert(Message), values)

    database.transact(fill)
    assert sorted(message_ids)[: retention.BATCH] == outlived(database)


def sent() -> dict[str, object]:
    """A sent message, but for its id."""
    names = ("created_at", "next_attempt_at", "expires_at")
    return {
        **dict.fromkeys(names, NOW),
        "kind": "k",
        "status": "sent",
        **dict.fromkeys(("recipient", "recipient_folded"), "a@b.example"),
        "context": {},
        **dict.fromkeys(("lane", "attempts", "claims"), 0),
    }


def test_idle_counters_are_forgotten(database: Database) -> None:
    """A counter goes once its window began longer ago than the longest limit lasts."""
    database.transact(lambda session: limits.take(session, "k" * 64, Limit(5, 600)))
    for hours, left in ((1, 1), (0, 0)):
        older_than = timedelta(hours=hours)
        database.transact(
            lambda s, o=older_than: retention.delete_idle_counters(s, older_than=o)  # type: ignore[misc]
        )
        assert left == len(rows(database, LimitCounter.key))
