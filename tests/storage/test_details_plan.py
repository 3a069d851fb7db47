"""How a database reads one message: an index leads to every row, whatever the log holds."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from flask_courier.core.status import Status
from flask_courier.storage.details import details
from flask_courier.storage.uow import Database
from tests.queue_rows import change, enqueue

#: It says of each table how it is read, also of empty ones.
pytestmark = pytest.mark.parametrize("database_name", ["sqlite"], indirect=True)


def test_no_table_is_read_whole(database: Database, engine: sa.Engine) -> None:
    """Each statement for one message, old attempts and a long chain included, uses an index."""
    first = enqueue(database)
    message_id = enqueue(database, resend_of=first)
    change(database, message_id, status=Status.CANCELLED.value, reason="superseded")
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        seen.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        database.transact(lambda session: details(session, message_id, before=9))
    finally:
        event.remove(engine, "before_cursor_execute", note)
    with engine.connect() as connection:
        plans = [
            str(row[-1])
            for statement, parameters in seen
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]
    read = [line for line in plans if "courier_" in line]
    assert len(read) >= 9, read
    assert [] == [line for line in read if not line.startswith("SEARCH ")]
