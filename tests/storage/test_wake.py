"""Enqueueing is part of the caller's transaction; a worker is woken at its outer commit only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import SessionTransaction

from flask_courier.core.messages import NewMessage
from flask_courier.state import state_of
from flask_courier.storage import outbox
from flask_courier.storage.models import Message
from flask_courier.storage.uow import Database, Session, listen
from tests.databases import every_database
from tests.queue_rows import message, rows
from tests.site import Site

pytestmark = every_database


@dataclass
class Caller:
    """The host's session, as ``courier.send`` gets it, and how often a worker was woken."""

    session: Session
    database: Database
    wakes: list[int] = field(default_factory=list)

    def enqueue(self, new: NewMessage | None = None) -> None:
        """Queue a message in the host's transaction."""
        outbox.enqueue(self.session, new or message())

    def savepoint(self) -> SessionTransaction:
        """A savepoint of the host's, in a transaction that has begun with a write.

        Python's SQLite driver begins none before a SAVEPOINT, and then a release is a commit.
        """
        self.session.execute(sa.update(Message).values(lane=0))
        return self.session.begin_nested()

    def counts(self) -> tuple[int, int]:
        """Messages that other transactions see, and wakes so far."""
        return len(rows(self.database, Message.id)), len(self.wakes)


@pytest.fixture
def caller(site: Site) -> Iterator[Caller]:
    """A host inside a request, with an embedded worker that notes each wake."""
    wakes: list[int] = []
    plain = state_of(site.app).database
    woken = Database(plain.open_session, plain.schema, lambda: wakes.append(1))
    with site.app.app_context():
        session: Session = site.db.session()
        yield Caller(woken.bind(session), plain, wakes)
        site.db.session.remove()


def test_commit_shows_the_message_and_wakes(caller: Caller) -> None:
    """A commit keeps what was queued and wakes a worker, once for all of it."""
    caller.enqueue()
    caller.enqueue()
    assert [] == caller.wakes
    caller.session.commit()
    assert (2, 1) == caller.counts()


def test_rollback_sends_nothing(caller: Caller) -> None:
    """What was queued in a transaction that is rolled back was never queued."""
    caller.enqueue()
    caller.session.rollback()
    assert (0, 0) == caller.counts()


def test_rollback_is_forgotten(caller: Caller) -> None:
    """A later commit that queued nothing wakes nobody for what was rolled back."""
    caller.enqueue()
    caller.session.rollback()
    caller.session.execute(Message.__table__.select())
    caller.session.commit()
    assert (0, 0) == caller.counts()


def test_closed_session_sends_nothing(caller: Caller) -> None:
    """A request that ends without a commit queued nothing."""
    caller.enqueue()
    caller.session.close()
    assert (0, 0) == caller.counts()


def test_commit_without_a_message_wakes_nobody(caller: Caller) -> None:
    """The host's own commits are no business of ours."""
    caller.session.execute(Message.__table__.select())
    caller.session.commit()
    assert (0, 0) == caller.counts()


def test_second_commit_does_not_wake_again(caller: Caller) -> None:
    """One queued message wakes once, whatever the session commits later."""
    caller.enqueue()
    caller.session.commit()
    caller.session.execute(Message.__table__.select())
    caller.session.commit()
    assert (1, 1) == caller.counts()


def test_released_savepoint_does_not_wake(caller: Caller) -> None:
    """The end of a savepoint shows nothing to others; the outer commit does, and wakes."""
    with caller.savepoint():
        caller.enqueue()
    assert [] == caller.wakes
    caller.session.commit()
    assert (1, 1) == caller.counts()


def test_released_savepoint_then_rollback(caller: Caller) -> None:
    """A savepoint that was released is still lost with its transaction."""
    with caller.savepoint():
        caller.enqueue()
    caller.session.rollback()
    assert (0, 0) == caller.counts()


def test_nested_savepoints_wake_once(caller: Caller) -> None:
    """Savepoints inside savepoints wake nobody before the outer commit."""
    with caller.savepoint():
        caller.enqueue()
        with caller.savepoint():
            caller.enqueue()
        assert [] == caller.wakes
    caller.session.commit()
    assert (2, 1) == caller.counts()


def test_rolled_back_savepoint_spares_what_was_before(caller: Caller) -> None:
    """A message queued before a savepoint survives that savepoint's end, and wakes."""
    caller.enqueue()
    nested = caller.savepoint()
    caller.enqueue()
    nested.rollback()
    caller.session.commit()
    assert (1, 1) == caller.counts()


def test_commit_through_an_open_savepoint_wakes(caller: Caller) -> None:
    """``session.commit()`` ends every open savepoint with the transaction, and wakes once."""
    caller.savepoint()
    caller.enqueue()
    caller.session.commit()
    assert (1, 1) == caller.counts()


def test_unbound_session_queues_without_a_wake(caller: Caller) -> None:
    """A session that never passed ``bind`` has nobody to wake; the poll finds its message."""
    caller.session.info.clear()
    caller.enqueue()
    caller.session.commit()
    assert (1, 0) == caller.counts()


def test_second_listen_changes_nothing(caller: Caller, site: Site) -> None:
    """Two applications on one ``db`` do not wake twice."""
    listen(site.db.session.session_factory)
    caller.enqueue()
    caller.session.commit()
    assert (1, 1) == caller.counts()


def test_wake_comes_after_the_commit(caller: Caller) -> None:
    """Who is woken already sees the message, through a connection of its own."""
    seen: list[int] = []

    def look() -> None:
        seen.append(len(rows(caller.database, Message.id)))

    Database(caller.database.open_session, None, look).bind(caller.session)
    caller.enqueue()
    caller.session.commit()
    assert [1] == seen
