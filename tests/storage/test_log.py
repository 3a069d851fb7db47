"""What the log page reads: pages without gap or repeat, filters, and one message in full."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import timedelta

import pytest

from flask_courier.core.messages import DOTS, Rendered, marks
from flask_courier.core.replies import Outcome
from flask_courier.core.status import Status
from flask_courier.storage import dialect, log, tokens
from flask_courier.storage.uow import Database
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
    row,
)

pytestmark = every_database


def page(
    database: Database,
    *,
    status: Status | None = None,
    recipient: str | None = None,
    before: uuid.UUID | None = None,
    limit: int = 50,
) -> list[uuid.UUID]:
    """The ids on one page."""
    return [
        entry.id
        for entry in database.transact(
            lambda session: log.entries(
                session, status=status, recipient=recipient, before=before, limit=limit
            )
        )
    ]


def test_pages_have_no_gap_and_no_repeat(database: Database) -> None:
    """Page after page shows every message once, newest first, while new ones arrive."""
    queued = sorted((enqueue(database) for _ in range(11)), reverse=True)
    seen: list[uuid.UUID] = []
    while found := page(database, before=seen[-1] if seen else None, limit=3):
        seen += found
        enqueue(database)
    assert queued == seen


def test_list_is_as_long_as_asked(database: Database) -> None:
    """A page has as many messages as it was asked for, if there are so many."""
    queued = [enqueue(database) for _ in range(3)]
    assert [0, 2, 3] == [len(page(database, limit=n)) for n in (0, 2, 9)]
    assert sorted(queued)[:-1] == sorted(page(database, before=max(queued)))


@pytest.mark.parametrize("status", Status)
def test_filter_by_status(database: Database, status: Status) -> None:
    """A status shows the messages that have it."""
    wanted, other = enqueue(database), enqueue(database)
    change(database, wanted, status=status.value)
    expected = [wanted, other] if status is Status.QUEUED else [wanted]
    assert sorted(expected) == sorted(page(database, status=status))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("ada@example.com", True),
        ("ada", True),
        ("", True),
        (None, True),
        ("da@example.com", False),
        ("%", False),
        ("ad_@example.com", False),
        ("ada@example.com/", False),
        ("a\\da", False),
        ("'; DROP TABLE courier_message; --", False),
        ("🙂", False),
    ],
)
def test_filter_by_recipient(database: Database, query: str | None, *, found: bool) -> None:
    """A recipient is found by how it begins; wildcards stand for themselves."""
    message_id = enqueue(database)
    assert ([message_id] if found else []) == page(database, recipient=query)


@pytest.mark.parametrize(
    "odd", ["100%@example.com", "a_b@example.com", "a/b@example.com", "a\\b@x"]
)
def test_wildcards_in_recipients_are_found(database: Database, odd: str) -> None:
    """An address that holds a wildcard is found by it, and alone."""
    wanted = enqueue(database, recipient=odd)
    enqueue(database, recipient="100x@example.com")
    enqueue(database, recipient="aXb@example.com")
    assert [wanted] == page(database, recipient=odd)


def test_filters_join(database: Database) -> None:
    """Status, recipient and page together narrow the list."""
    ada, newer = (enqueue(database) for _ in range(2))
    eve = enqueue(database, recipient="eve@example.com")
    for message_id in (ada, eve):
        change(database, message_id, status="sent")
    after_all = uuid.UUID(int=2**128 - 1)
    assert [ada] == page(database, status=Status.SENT, recipient="ada", before=after_all)
    assert [] == page(database, status=Status.SENT, recipient="ada", before=ada)
    assert "queued" == row(database, newer).status


def test_entry_is_the_row(database: Database) -> None:
    """Every field of an entry is the column of its name, and the subject of the content."""
    message_id = enqueue(database, account_ref="7", locale="de")
    add_content(database, message_id, Rendered("Sübject", "text", None))
    [entry] = database.transact(
        lambda session: log.entries(session, status=None, recipient=None, before=None, limit=9)
    )
    kept = row(database, message_id)
    names = [f.name for f in dataclasses.fields(log.Entry) if f.name != "subject"]
    assert [getattr(kept, name) for name in names] == [getattr(entry, name) for name in names]
    assert ("Sübject", True) == (entry.subject, isinstance(entry.status, Status))


def test_subject_is_listed_masked(database: Database) -> None:
    """A subject that carries a code is listed with dots in its place."""
    message_id, placeholder = enqueue(database), "0" * 32
    mail = Rendered(f"Code {marks(placeholder)[1]}", "text", None, placeholder)
    add_content(database, message_id, mail)
    [entry] = database.transact(
        lambda session: log.entries(session, status=None, recipient=None, before=None, limit=9)
    )
    assert f"Code {DOTS}" == entry.subject


def test_unrendered_message_is_listed(database: Database) -> None:
    """A message without content has no subject yet, and is on the list."""
    message_id = enqueue(database)
    found = database.transact(lambda session: log.details(session, message_id))
    assert found is not None
    assert (message_id, None, None) == (found.entry.id, found.entry.subject, found.content)
    assert ((), (), None) == (found.attempts, found.events, found.seed)


def test_details_of_an_unknown_message(database: Database) -> None:
    """An id that no message has is answered with None."""
    enqueue(database)
    assert database.transact(lambda session: log.details(session, uuid.UUID(int=7))) is None


def test_details_show_everything(database: Database) -> None:
    """One message is shown with its attempts in order, its content masked, and its seed."""
    message_id = enqueue(database)
    rendered = Rendered("Subject", "text", "<p>html</p>", "0" * 32)
    add_token(database, message_id)
    add_content(database, message_id, rendered)
    for outcome in (Outcome.DEFERRED, Outcome.ACCEPTED):
        add_attempt(database, message_id, result(outcome))
    found = database.transact(lambda session: log.details(session, message_id))
    assert found is not None
    expected = [(1, "deferred", 42), (2, "accepted", 42)]
    assert expected == [(a.number, a.outcome, a.duration_ms) for a in found.attempts]
    assert rendered == found.content
    assert database.transact(lambda s: tokens.seed_of(s, message_id)) == found.seed is not None


def test_events_are_in_order_of_time(database: Database) -> None:
    """What was noted and when the link was fetched stand in one order, oldest first."""
    message_id = enqueue(database)
    digest = add_token(database, message_id)
    change_token(database, digest, opened_at=ago(seconds=10))
    database.transact(
        lambda session: log.add_event(session, message_id, actor="ada", what="code_accepted")
    )
    found = database.transact(lambda session: log.details(session, message_id))
    assert found is not None
    shown = [(event.actor, event.what) for event in found.events]
    assert [("visitor", "link_fetched"), ("ada", "code_accepted")] == shown
    assert abs(found.events[1].at - database.transact(dialect.now)) < timedelta(seconds=30)


def test_age_of_an_empty_queue(database: Database) -> None:
    """Where nothing waits, nothing has waited."""
    assert timedelta(0) == database.transact(log.oldest_due_age)


def test_age_of_the_oldest_due_message(database: Database) -> None:
    """The longest wait of a queued message counts, not that of one under way."""
    for minutes, status in ((1, "queued"), (5, "queued"), (9, "processing")):
        change(database, enqueue(database), next_attempt_at=ago(minutes=minutes), status=status)
    age = database.transact(log.oldest_due_age)
    assert timedelta(minutes=5) <= age < timedelta(minutes=6)


def test_message_that_is_not_due_has_no_age(database: Database) -> None:
    """A message whose next attempt is ahead does not wait for a worker."""
    enqueue(database, delay=timedelta(minutes=5))
    assert timedelta(0) == database.transact(log.oldest_due_age)
