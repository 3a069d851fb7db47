"""What the log page reads: rows of the list."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import timedelta

from flask_courier.core.messages import DOTS, Rendered, marks
from flask_courier.core.status import Status
from flask_courier.storage import log
from flask_courier.storage.uow import Database
from tests.databases import every_database
from tests.queue_rows import add_content, ago, change, enqueue, row

pytestmark = every_database


def test_entry_is_the_row(database: Database) -> None:
    """Every field of an entry is the column of its name, and the subject of the content."""
    message_id = enqueue(database, account_ref="7", locale="de")
    add_content(database, message_id, Rendered("Sübject", "text", None))
    [entry] = database.transact(lambda session: log.entries_of(session, [message_id]))
    kept = row(database, message_id)
    names = [f.name for f in dataclasses.fields(log.Entry) if f.name != "subject"]
    assert [getattr(kept, name) for name in names] == [getattr(entry, name) for name in names]
    assert ("Sübject", True) == (entry.subject, isinstance(entry.status, Status))


def test_subject_is_listed_masked(database: Database) -> None:
    """A subject that carries a code is listed with dots in its place."""
    message_id, placeholder = enqueue(database), "0" * 32
    mail = Rendered(f"Code {marks(placeholder)[1]}", "text", None, placeholder)
    add_content(database, message_id, mail)
    [entry] = database.transact(lambda session: log.entries_of(session, [message_id]))
    assert f"Code {DOTS}" == entry.subject


def test_unrendered_message_is_listed(database: Database) -> None:
    """A message without content has no subject yet, and is on the list."""
    message_id = enqueue(database)
    [entry] = database.transact(lambda session: log.entries_of(session, [message_id]))
    assert (message_id, None) == (entry.id, entry.subject)


def test_entries_keep_their_order(database: Database) -> None:
    """Rows come in the order in which they were asked for; what is not there is left out."""
    one, other = enqueue(database), enqueue(database)
    asked = [other, uuid.UUID(int=7), one]
    found = database.transact(lambda session: log.entries_of(session, asked))
    assert [other, one] == [entry.id for entry in found]


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
