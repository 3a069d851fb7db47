"""What goes into the queue: idempotency keys, times to send at, and who takes whose place."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone

import pytest

from flask_courier.core.messages import Lane
from flask_courier.core.retry import Decision
from flask_courier.core.status import Status
from flask_courier.storage import dialect, outbox
from flask_courier.storage.models import Message, Token
from flask_courier.storage.uow import Conflict, Database, Session
from tests.databases import every_database
from tests.queue_rows import (
    add_token,
    at_once,
    change,
    claim,
    claimed,
    enqueue,
    ids,
    message,
    record,
    row,
    rows,
    settlement,
)

pytestmark = every_database

KEY = "invoice-1042"
TOKEN = (Token.message_id, Token.seed)
OWN = {"kind": "mail/invoice", "lane": Lane.NOTICE}


def keyed(database: Database, key: str = KEY, **changes: object) -> uuid.UUID:
    """Queue a mail of the application's own with an idempotency key."""
    return enqueue(database, **(OWN | changes), idempotency_key=key)


def test_same_key_is_one_message(database: Database) -> None:
    """The second call with a key answers the first one's message, and queues nothing."""
    first, second = keyed(database), keyed(database, recipient="eve@example.com")
    assert (first, [("ada@example.com",)]) == (second, rows(database, Message.recipient))


def test_other_keys_are_other_messages(database: Database) -> None:
    """Keys that differ, be it by case alone, belong to messages of their own."""
    found = {keyed(database, key) for key in (KEY, KEY.upper(), "invoice-1043")}
    assert 3 == len(found)


def test_key_belongs_to_its_kind(database: Database) -> None:
    """Another kind may use the same key for a message of its own."""
    assert keyed(database) != keyed(database, kind="mail/reminder")


def test_messages_without_a_key_are_all_queued(database: Database) -> None:
    """Where no key is given, nothing is taken for a repetition."""
    assert 2 == len({enqueue(database, **OWN) for _ in range(2)})


def test_key_of_a_sent_message_is_taken(database: Database) -> None:
    """A key is remembered after its message has been sent."""
    taken = claimed(database, **OWN, idempotency_key=KEY)
    record(database, settlement(taken, Decision(Status.SENT)))
    assert taken.id == keyed(database)
    assert [] == claim(database)


def test_rolled_back_key_is_free(database: Database) -> None:
    """A key that was used in a transaction that failed was not used."""

    def work(session: Session) -> None:
        outbox.enqueue(session, message(**OWN, idempotency_key=KEY))
        raise KeyError

    with pytest.raises(KeyError):
        database.transact(work)
    assert [(keyed(database),)] == rows(database, Message.id)


def test_key_is_used_once_by_many_at_once(database: Database) -> None:
    """Eight transactions that use one key at the same time queue one message, and all learn it."""

    def work(_: int) -> uuid.UUID:
        while True:
            try:
                return keyed(database)
            except Conflict:  # a request would be answered "busy"; here it asks again
                continue

    answers = set(at_once(8, work))
    assert sorted((answer,) for answer in answers) == rows(database, Message.id)
    assert 1 == len(answers)


def later(database: Database, **units: float) -> datetime:
    """A time so far ahead of the database's clock."""
    return database.transact(dialect.now) + timedelta(**units)


def test_scheduled_message_is_not_due_before(database: Database) -> None:
    """A message with a time is not claimed before it, and is claimed after it."""
    message_id = enqueue(database, send_at=later(database, hours=1))
    assert [] == claim(database)
    change(database, message_id, next_attempt_at=later(database, seconds=-1))
    assert [message_id] == ids(claim(database))


def test_scheduled_message_lives_from_then(database: Database) -> None:
    """Its life begins at its time, and not when it was queued."""
    moment = later(database, days=3)
    kept = row(database, enqueue(database, send_at=moment, lifetime=timedelta(hours=2)))
    assert (moment, moment + timedelta(hours=2)) == (kept.next_attempt_at, kept.expires_at)


def test_time_of_another_zone_is_the_same_moment(database: Database) -> None:
    """A time is kept as the moment it is, whatever zone it was written in."""
    moment = later(database, hours=1)
    there = moment.astimezone(timezone(timedelta(hours=9)))
    assert moment == row(database, enqueue(database, send_at=there)).next_attempt_at


def test_scheduled_message_whose_life_is_over_expires(database: Database) -> None:
    """A time long past is no reason to send what nobody wants any more."""
    message_id = enqueue(database, send_at=later(database, hours=-2), lifetime=timedelta(hours=1))
    assert ([], 1) == (claim(database), database.transact(outbox.expire_overdue))
    assert "expired" == row(database, message_id).status


def test_supersede_in_a_batch(database: Database) -> None:
    """For each account of a batch the older mails give way to that account's own newest."""
    old = {ref: enqueue(database, account_ref=ref) for ref in "123"}
    new = {ref: enqueue(database, account_ref=ref) for ref in "12"}
    for message_id in old.values():
        add_token(database, message_id)
    count = database.transact(lambda session: outbox.supersede(session, kind="recovery", by=new))
    statuses = [row(database, old[ref]).status for ref in "123"]
    assert (2, ["cancelled", "cancelled", "queued"]) == (count, statuses)
    assert ["queued", "queued"] == [row(database, one).status for one in new.values()]
    wiped = {one.message_id for one in rows(database, *TOKEN) if one.seed is None}
    assert {old["1"], old["2"]} == wiped


def test_supersede_is_by_the_accounts_own_mail(database: Database) -> None:
    """A mail that is older than another account's newest, but not than its own, stays."""
    first = enqueue(database, account_ref="1")
    second = enqueue(database, account_ref="2")
    middle = enqueue(database, account_ref="1")
    by = {"1": first, "2": second}
    assert 0 == database.transact(lambda session: outbox.supersede(session, kind="recovery", by=by))
    assert "queued" == row(database, middle).status


def test_supersede_without_accounts(database: Database) -> None:
    """A batch that nothing was minted in takes nobody's place."""
    kept = enqueue(database, account_ref="1")
    assert 0 == database.transact(lambda session: outbox.supersede(session, kind="k", by={}))
    assert "queued" == row(database, kept).status
