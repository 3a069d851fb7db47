"""How PostgreSQL finds what a worker has in hand: by ids, whatever was sent before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from flask_courier.core.messages import Claim
from flask_courier.core.retry import Decision
from flask_courier.core.status import Status
from flask_courier.storage import outbox
from flask_courier.storage.uow import Database, Session
from tests.queue_rows import LEASE, add_token, claim, enqueue, settlement

pytestmark = pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)

BATCH = 32
MANY = 20_000

_COPIES = """
    INSERT INTO courier_message SELECT (jsonb_populate_record(m, jsonb_build_object(
        'id', gen_random_uuid()))).* FROM courier_message m, generate_series(2, :many);
    INSERT INTO courier_token SELECT (jsonb_populate_record(t, jsonb_build_object(
        'digest', m.id, 'message_id', m.id))).*
        FROM courier_token t, courier_message m WHERE m.id <> t.message_id;
    ANALYZE courier_message, courier_token
"""


def updates_of(session: Session, work: Callable[[Session], object]) -> list[tuple[str, Any]]:
    """The statements of ``work`` that change what is there."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.startswith("UPDATE"):
            seen.append((statement, parameters))

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", note)
    try:
        work(session)
    finally:
        event.remove(connection, "before_cursor_execute", note)
    session.rollback()
    return seen


def reads(plan: dict[str, Any]) -> Iterator[str]:
    """The indexes by which a plan finds rows, and the tables that it reads whole."""
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    elif "Index Name" in plan:
        yield plan["Index Name"]
    for part in plan.get("Plans", []):
        yield from reads(part)


def record(session: Session, claims: Sequence[Claim]) -> None:
    """Record that mail was accepted."""
    settlements = [settlement(taken, Decision(Status.SENT)) for taken in claims]
    outbox.record(session, settlements, worker="w1")


def release(session: Session, claims: Sequence[Claim]) -> None:
    """Put one message off."""
    outbox.release(session, claims[0], reason="failed", delay=LEASE)


MESSAGE, TOKEN = "pk_courier_message", "ix_courier_token_message"


@pytest.mark.parametrize(
    ("write", "indexes"),
    [
        (record, {MESSAGE, TOKEN}),
        (partial(outbox.hold, lease=LEASE), {MESSAGE}),
        (outbox.give_back, {MESSAGE}),
        (release, {MESSAGE}),
    ],
)
def test_messages_in_hand_are_found_by_id(
    database: Database, engine: sa.Engine, write: Any, indexes: set[str]
) -> None:
    """No other index leads to the messages of a batch that a worker writes.

    One of what is leased keeps what no longer is until the vacuum comes, and looks short meanwhile.
    """
    add_token(database, enqueue(database))
    with engine.begin() as connection:
        for statement in _COPIES.split(";"):
            names = {"many": MANY} if ":many" in statement else {}
            connection.execute(sa.text(statement), names)
    claims = claim(database, BATCH)

    def work(session: Session) -> set[str]:
        found = updates_of(session, lambda session: write(session, claims))
        assert found
        answers = [
            session.connection().exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text}", values)
            for text, values in found
        ]
        plans = [answer.scalar_one() for answer in answers]
        parsed = [json.loads(plan) if isinstance(plan, str) else plan for plan in plans]
        return {name for plan in parsed for name in reads(plan[0]["Plan"])}

    assert indexes == database.transact(work)
