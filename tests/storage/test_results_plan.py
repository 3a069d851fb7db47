"""How PostgreSQL finds what a worker writes results for: by ids, whatever was sent before."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from flask_courier.core.retry import Decision
from flask_courier.core.status import Status
from flask_courier.storage import outbox
from flask_courier.storage.uow import Database, Session
from tests.queue_rows import add_token, claim, enqueue, settlement

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


def updates_of(session: Session, settlements: list[outbox.Settlement]) -> list[tuple[str, Any]]:
    """The statements that change what is there when ``settlements`` are recorded."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.startswith("UPDATE"):
            seen.append((statement, parameters))

    connection = session.connection()
    event.listen(connection, "before_cursor_execute", note)
    try:
        outbox.record(session, settlements, worker="w1")
    finally:
        event.remove(connection, "before_cursor_execute", note)
    return seen


def reads(plan: dict[str, Any]) -> Iterator[str]:
    """The indexes by which a plan finds rows, and the tables that it reads whole."""
    if plan["Node Type"] == "Seq Scan":
        yield plan["Relation Name"]
    elif "Index Name" in plan:
        yield plan["Index Name"]
    for part in plan.get("Plans", []):
        yield from reads(part)


def test_results_find_their_rows_by_id(database: Database, engine: sa.Engine) -> None:
    """No other index leads to the rows of a batch.

    One of what is leased keeps what no longer is until the vacuum comes, and looks short meanwhile.
    """
    add_token(database, enqueue(database))
    with engine.begin() as connection:
        for statement in _COPIES.split(";"):
            names = {"many": MANY} if ":many" in statement else {}
            connection.execute(sa.text(statement), names)
    settlements = [settlement(one, Decision(Status.SENT)) for one in claim(database, BATCH)]

    def work(session: Session) -> list[str]:
        found = updates_of(session, settlements)
        session.rollback()
        answers = [
            session.connection().exec_driver_sql(f"EXPLAIN (FORMAT JSON) {text}", values)
            for text, values in found
        ]
        plans = [answer.scalar_one() for answer in answers]
        parsed = [json.loads(plan) if isinstance(plan, str) else plan for plan in plans]
        return sorted(name for plan in parsed for name in reads(plan[0]["Plan"]))

    used = database.transact(work)
    assert ["ix_courier_token_message", "pk_courier_message"] == used
