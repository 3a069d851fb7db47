"""What the page of one message reads: all that is known of it, in few statements, by indexes."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from flask_courier.core.messages import Rendered
from flask_courier.core.replies import Outcome
from flask_courier.core.status import Status
from flask_courier.core.tokens import Ending, Purpose
from flask_courier.storage import dialect, log, seeds
from flask_courier.storage.details import ATTEMPTS, Details, RelatedEntry, details, of_tie
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
)

pytestmark = every_database


def read(database: Database, message_id: uuid.UUID, *, before: int | None = None) -> Details:
    """One message that is there."""
    found = database.transact(lambda session: details(session, message_id, before=before))
    assert found is not None
    return found


def happened(database: Database, message_id: uuid.UUID) -> list[tuple[str, str]]:
    """Who did what, in its order."""
    return [(event.actor, event.what) for event in read(database, message_id).events]


def tied(found: Details, tie: str) -> list[uuid.UUID]:
    """The messages that have this to do with it."""
    return [one.id for one in of_tie(found.related, tie)]


def test_message_that_is_not_written_yet(database: Database) -> None:
    """A message without content has no subject and nothing that happened to it."""
    message_id = enqueue(database)
    found = read(database, message_id)
    assert (message_id, None, None) == (found.entry.id, found.entry.subject, found.content)
    assert ((), None, (), (), (), None, 0) == (
        *(found.attempts, found.last, found.events, found.tokens, found.related, found.link),
        found.earlier_attempts,
    )


def test_unknown_message(database: Database) -> None:
    """An id that no message has is answered with None."""
    enqueue(database)
    assert database.transact(lambda session: details(session, uuid.UUID(int=7))) is None


def test_everything_is_shown(database: Database) -> None:
    """One message is shown with its attempts in order, its content as it is, and its seed."""
    message_id = enqueue(database)
    rendered = Rendered("Subject", "text", "<p>html</p>", "0" * 32)
    add_token(database, message_id)
    add_content(database, message_id, rendered)
    for outcome in (Outcome.DEFERRED, Outcome.ACCEPTED):
        add_attempt(database, message_id, result(outcome))
    found = read(database, message_id)
    expected = [(1, "deferred", 42), (2, "accepted", 42)]
    assert expected == [(a.number, a.outcome, a.duration_ms) for a in found.attempts]
    assert (rendered, found.attempts[-1]) == (found.content, found.last)
    kept = database.transact(lambda session: seeds.find_all(session, [message_id]))
    assert kept[message_id] == found.seed


@pytest.mark.parametrize("key", [None, "a client's key"])
def test_who_asked(database: Database, key: str | None) -> None:
    """What a visitor asked for has the key of a client; the key itself is not read."""
    message_id = enqueue(database, requester_key=key)
    assert (key is not None) is read(database, message_id).asked_by_visitor


def test_seed_of_a_dead_token(database: Database) -> None:
    """The seed of a token that has run out leads to no live link."""
    message_id = enqueue(database)
    change_token(database, add_token(database, message_id), expires_at=ago(seconds=1))
    found = read(database, message_id)
    assert (None, False) == (found.seed, found.tokens[0].is_open)


def test_many_attempts_are_folded(database: Database) -> None:
    """The newest attempts are read; older ones by the number that they come before."""
    message_id = enqueue(database)
    for _ in range(ATTEMPTS + 3):
        add_attempt(database, message_id, result(Outcome.TRANSPORT_FAULT))
    newest = read(database, message_id)
    older = read(database, message_id, before=4)
    assert [*range(4, ATTEMPTS + 4)] == [attempt.number for attempt in newest.attempts]
    assert ([1, 2, 3], 0) == ([a.number for a in older.attempts], older.earlier_attempts)
    assert 3 == newest.earlier_attempts
    assert newest.last == older.last == newest.attempts[-1]


def test_events_are_in_order_of_time(database: Database) -> None:
    """What was noted and when the link was fetched stand in one order, oldest first."""
    message_id = enqueue(database)
    digest = add_token(database, message_id)
    change_token(database, digest, opened_at=ago(seconds=10))
    database.transact(
        lambda session: log.add_event(session, message_id, actor="ada", what="code_accepted")
    )
    found = read(database, message_id)
    assert [("visitor", "link_fetched"), ("ada", "code_accepted")] == [
        (event.actor, event.what) for event in found.events
    ]
    assert abs(found.events[1].at - database.transact(dialect.now)) < timedelta(seconds=30)


@pytest.mark.parametrize(
    ("ending", "told"),
    [
        (Ending.REPLACED, ["link_replaced"]),
        (Ending.DISOWNED, ["link_disowned"]),
        (Ending.USED, []),
        (Ending.UNDELIVERED, []),
    ],
)
def test_end_of_a_link(database: Database, ending: Ending, told: list[str]) -> None:
    """What made a link void is told; whoever uses one notes that, and an unsent one is no news."""
    message_id = enqueue(database)
    digest = add_token(database, message_id)
    change_token(database, digest, consumed_at=ago(seconds=5), ended_as=ending.value)
    assert [("courier", what) for what in told] == happened(database, message_id)


def test_link_that_ran_out(database: Database) -> None:
    """A link that ran out unused is told with the time at which it did."""
    message_id = enqueue(database)
    change_token(database, add_token(database, message_id), expires_at=ago(minutes=1))
    assert [("courier", "link_expired")] == happened(database, message_id)


def test_link_in_passing(database: Database) -> None:
    """A "this was not me" link is told apart, is not what the mail is about, and just ends."""
    message_id = enqueue(database)
    digest = add_token(database, message_id, purpose=Purpose.NOT_ME)
    change_token(database, digest, opened_at=ago(minutes=2), expires_at=ago(minutes=1))
    found = read(database, message_id)
    assert [("visitor", "not_me_fetched")] == [(e.actor, e.what) for e in found.events]
    assert found.link is None


def test_link_that_the_mail_is_about(database: Database) -> None:
    """Of two links the one that the mail was asked for is meant."""
    message_id = enqueue(database)
    for number, purpose in enumerate((Purpose.NOT_ME, Purpose.RECOVERY)):
        add_token(database, message_id, purpose=purpose, entropy=bytes([number]) * 16)
    found = read(database, message_id)
    assert found.link is not None
    assert found.seed is not None
    assert (Purpose.RECOVERY, Purpose.RECOVERY) == (found.link.purpose, found.seed.seed.purpose)


def test_other_mail_to_the_recipient(database: Database) -> None:
    """The five newest other messages to the same address are related, and no other."""
    queued = [enqueue(database) for _ in range(7)]
    enqueue(database, recipient="eve@example.com")
    assert queued[:1:-1] == tied(read(database, queued[0]), "recipient")
    assert [*queued[5:0:-1]] == tied(read(database, queued[6]), "recipient")


def test_chain_of_resends(database: Database) -> None:
    """A message leads to the one it was sent anew from, and to those sent anew from it."""
    first = enqueue(database)
    second = enqueue(database, resend_of=first, recipient="new@example.com")
    third = enqueue(database, resend_of=second)
    found = read(database, second)
    assert ([first], [third]) == (tied(found, "original"), tied(found, "resend"))


def test_what_took_its_place(database: Database) -> None:
    """A superseded message leads to the next one of its kind."""
    old, _, new, _ = (
        enqueue(database, kind=kind)
        for kind in ("recovery", "verification", "recovery", "recovery")
    )
    change(database, old, status=Status.CANCELLED.value, reason="superseded")
    assert [new] == tied(read(database, old), "successor")


def test_a_related_message_is_told_in_short(database: Database) -> None:
    """Of a related message its kind, status and reason are read."""
    first, second = enqueue(database), enqueue(database, kind="verification")
    change(database, second, status=Status.SUPPRESSED.value, reason="recipient_limit")
    [found] = read(database, first).related
    expected = ("recipient", second, "verification", Status.SUPPRESSED, "recipient_limit")
    assert isinstance(found, RelatedEntry)
    assert expected == (found.tie, found.id, found.kind, found.status, found.reason)


def test_five_statements(database: Database, engine: sa.Engine) -> None:
    """Whatever a message has, five statements read it."""
    first = enqueue(database)
    message_id = enqueue(database, resend_of=first)
    add_content(database, message_id, Rendered("Subject", "text", None))
    add_token(database, message_id)
    for _ in range(9):
        add_attempt(database, message_id, result(Outcome.DEFERRED))
    change(database, message_id, status=Status.CANCELLED.value, reason="superseded")
    seen: list[str] = []

    def note(*args: object) -> None:
        seen.append(str(args[2]))

    event.listen(engine, "before_cursor_execute", note)
    try:
        read(database, message_id, before=5)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert 5 == len(seen), seen
