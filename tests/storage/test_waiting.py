"""Questions to the queue, and to the list of workers."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_courier.core.messages import Lane
from flask_courier.storage import waiting, workers
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Worker
from flask_courier.storage.uow import Database
from tests.databases import every_database
from tests.queue_rows import add_token, ago, change, change_token, enqueue, rows

pytestmark = every_database

MINUTE = timedelta(minutes=1)


def until_due(database: Database) -> float | None:
    """Seconds until there is something to claim."""
    return database.transact(waiting.seconds_until_due)


def test_empty_queue_is_never_due(database: Database) -> None:
    """Where nothing waits there is nothing to wait for."""
    assert until_due(database) is None


def test_due_message_is_due_now(database: Database) -> None:
    """A message whose time has come is due in zero seconds, not in fewer."""
    change(database, enqueue(database), next_attempt_at=ago(minutes=5))
    assert 0.0 == until_due(database)


def test_earliest_lane_counts(database: Database) -> None:
    """The next message of any lane is waited for."""
    enqueue(database, delay=timedelta(minutes=9))
    enqueue(database, delay=timedelta(minutes=5), lane=Lane.NOTICE)
    seconds = until_due(database)
    assert seconds is not None
    assert 240 < seconds <= 300


def test_message_under_way_is_not_waited_for(database: Database) -> None:
    """What a worker holds is not due for anybody."""
    change(database, enqueue(database), status="processing")
    assert until_due(database) is None


def test_overdue_message_is_not_waited_for(database: Database) -> None:
    """What has outlived its time is for the next sweep."""
    change(database, enqueue(database), expires_at=ago(seconds=1))
    assert until_due(database) is None


def has_live(database: Database, *, than: uuid.UUID) -> bool:
    """Whether account 1 has other live recovery mail."""
    return database.transact(
        lambda session: waiting.has_live(
            session,
            kind="recovery",
            account_ref="1",
            fingerprints=["of an older key", "fingerprint"],
            than=than,
        )
    )


@pytest.mark.parametrize(
    ("status", "live"),
    [
        ("queued", True),
        ("processing", True),
        ("sent", True),
        ("abandoned", False),
        ("suppressed", False),
        ("expired", False),
        ("held", False),
        ("cancelled", False),
    ],
)
def test_mail_that_may_arrive_is_live(database: Database, status: str, *, live: bool) -> None:
    """Another mail with an open token is live while it waits and once it is sent."""
    other, this = (enqueue(database, account_ref="1") for _ in range(2))
    add_token(database, other)
    change(database, other, status=status)
    assert live is has_live(database, than=this)


@pytest.mark.parametrize(
    "changes", [{"kind": "verification"}, {"account_ref": "2"}], ids=["kind", "account"]
)
def test_other_mail_is_not_live(database: Database, changes: dict[str, Any]) -> None:
    """Mail of another kind or account does not count."""
    add_token(database, enqueue(database, **({"account_ref": "1"} | changes)))
    assert has_live(database, than=enqueue(database)) is False


def test_message_itself_is_not_live(database: Database) -> None:
    """A message does not stand in its own way."""
    this = enqueue(database, account_ref="1")
    add_token(database, this)
    assert has_live(database, than=this) is False


@pytest.mark.parametrize("column", ["consumed_at", "expires_at"])
def test_mail_with_a_dead_token_is_not_live(database: Database, column: str) -> None:
    """A used or expired link does not keep its owner from a new one."""
    other = enqueue(database, account_ref="1")
    change_token(database, add_token(database, other), **{column: ago(seconds=1)})
    assert has_live(database, than=uuid.UUID(int=0)) is False


def test_mail_of_another_account_state_is_not_live(database: Database) -> None:
    """A link that died with a change of the account does not keep its owner from a new one."""
    add_token(database, enqueue(database, account_ref="1"), fingerprint="of the old password")
    assert has_live(database, than=uuid.UUID(int=0)) is False


def test_mail_without_a_token_is_not_live(database: Database) -> None:
    """A message that was never prepared carries nothing to use."""
    enqueue(database, account_ref="1")
    assert has_live(database, than=uuid.UUID(int=0)) is False


def seen(database: Database, name: str, kind: str = "thread") -> None:
    """Let a worker be seen now."""
    database.transact(lambda session: workers.seen(session, name=name, kind=kind))


def age(database: Database, name: str, **units: float) -> None:
    """Let a worker have been seen last so long ago."""
    moved = (
        sa.update(Worker).where(Worker.name == name).values(seen_at=db_time(-timedelta(**units)))
    )
    database.transact(lambda session: run(session, moved))


def any_seen(database: Database) -> bool:
    """Whether a worker was seen in the last minute."""
    return database.transact(lambda session: workers.any_seen(session, within=MINUTE))


def test_no_worker_was_ever_seen(database: Database) -> None:
    """Before the first worker there is none."""
    assert any_seen(database) is False


def test_worker_is_seen(database: Database) -> None:
    """A worker at work is known by name and kind, once."""
    seen(database, "one")
    seen(database, "one")
    seen(database, "two", "external")
    assert [("one", "thread"), ("two", "external")] == rows(database, Worker.name, Worker.kind)
    assert any_seen(database) is True


def test_worker_that_was_not_seen_lately(database: Database) -> None:
    """A worker that was seen longer ago than asked does not count, until it is seen again."""
    seen(database, "one")
    age(database, "one", minutes=2)
    assert any_seen(database) is False
    seen(database, "one")
    assert any_seen(database) is True


@pytest.mark.parametrize(("minutes", "kept"), [(59, True), (61, False)])
def test_gone_workers_are_forgotten(database: Database, minutes: int, *, kept: bool) -> None:
    """An hour after it was last seen, a worker's row goes when another worker is seen."""
    seen(database, "old")
    age(database, "old", minutes=minutes)
    seen(database, "new")
    expected = [("new",), ("old",)] if kept else [("new",)]
    assert expected == rows(database, Worker.name)
