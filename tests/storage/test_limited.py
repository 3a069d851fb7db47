"""What anybody may ask for: counted and queued together, or not at all."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flask_courier.core.limits import Limit
from flask_courier.storage import outbox
from flask_courier.storage.models import LimitCounter, Message
from flask_courier.storage.uow import Database, Session
from tests.databases import every_database
from tests.observation import statements
from tests.queue_rows import at_once, message, rows
from tests.site import Site

KEY = "0123456789abcdef" * 4
TWO = Limit(2, 600)
ONE_AN_HOUR = Limit(1, 3600)


def ask(
    database: Database, *within: Limit, key: str | None = KEY, recipient: str = "ada@example.com"
) -> bool:
    """Ask for a mail, in a transaction of its own as a page's request has it."""
    asked = message(recipient=recipient)
    return database.transact(
        lambda session: outbox.enqueue_limited(session, asked, key=key, within=within),
        reads=False,
    )


@every_database
def test_room_is_what_the_limit_says(database: Database) -> None:
    """As many are queued as the limit has room for, and counted; the next is neither."""
    assert [True, True, False] == [ask(database, TWO) for _ in range(3)]
    assert 2 == len(rows(database, Message.id))
    assert [(2,)] == rows(database, LimitCounter.count)


@every_database
def test_every_limit_must_have_room(database: Database) -> None:
    """Of two limits the tighter decides."""
    assert [True, False] == [ask(database, TWO, ONE_AN_HOUR) for _ in range(2)]
    assert 1 == len(rows(database, Message.id))


@every_database
def test_clients_are_counted_apart(database: Database) -> None:
    """One client's share is nobody else's."""
    assert [True, True] == [ask(database, Limit(1, 600), key=key * 64) for key in "ab"]


@every_database
def test_nobody_is_counted_where_nobody_is_known(database: Database) -> None:
    """Without a key there is nothing to count, and everything is queued."""
    assert [True] * 3 == [ask(database, Limit(1, 600), key=None) for _ in range(3)]
    assert [] == rows(database, LimitCounter.count)


@every_database
def test_limit_holds_at_once(database: Database) -> None:
    """Ten who ask at the same time share what there is room for."""
    assert 2 == sum(at_once(10, lambda _number: ask(database, TWO)))
    assert 2 == len(rows(database, Message.id))


@every_database
def test_message_is_that_of_an_unlimited_one(database: Database) -> None:
    """The row is the one that ``enqueue`` writes, times included."""
    ask(database, TWO)
    database.transact(lambda session: outbox.enqueue(session, message()))
    table = Message.__table__
    differ = {"id", "created_at", "next_attempt_at", "expires_at"}
    columns = [column for column in table.columns if column.name not in differ]
    one, other = rows(database, *columns)
    assert tuple(one) == tuple(other)
    lives = [
        expires - created
        for created, expires in rows(database, Message.created_at, Message.expires_at)
    ]
    assert lives[0].total_seconds() == pytest.approx(lives[1].total_seconds(), abs=0.01)


@every_database
def test_refused_value_is_not_cut_off(database: Database) -> None:
    """What is too long for its column is refused where columns have a length, never shortened."""
    too_long = f"{'a' * 400}@example.com"
    try:
        ask(database, TWO, recipient=too_long)
    except Exception:  # noqa: BLE001 - each driver has its own
        assert [] == rows(database, Message.recipient)
    else:
        assert [(too_long,)] == rows(database, Message.recipient)


@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
@pytest.mark.parametrize("notifies", [False, True])
def test_one_statement(site: Site, database: Database, *, notifies: bool) -> None:
    """PostgreSQL does it in one statement, whether or not it announces as well."""
    announcing = replace(database, notifies=notifies)
    with statements(site) as run:
        assert ask(announcing, TWO)
    assert (1, notifies) == (len(run), "pg_notify" in run[0])


@pytest.mark.parametrize("database_name", ["sqlite", "mysql"], indirect=True)
def test_two_statements(site: Site, database: Database) -> None:
    """Elsewhere one statement counts and one queues."""
    with statements(site) as run:
        assert ask(database, TWO)
    assert ["courier_limit", "courier_message"] == [statement.split()[2] for statement in run]


@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
def test_one_announcement_a_transaction(site: Site, database: Database) -> None:
    """A transaction that asks for two mails announces the first alone."""

    def work(session: Session) -> None:
        for _ in range(2):
            outbox.enqueue_limited(session, message(), key=KEY, within=(TWO,))

    with statements(site) as run:
        replace(database, notifies=True).transact(work)
    assert [True, False] == ["pg_notify" in statement for statement in run]
