"""Claims: no message is claimed twice, and a long past makes no claim slower.

How slow is counted in the work that the database does, not in time, which a busy machine has its
own say in; `make bench` measures the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from flask_courier.core.messages import Lane
from flask_courier.storage import outbox
from flask_courier.storage.uow import Session
from tests.databases import every_database
from tests.faults.workers import Nursery, database_of, queue, write_ahead
from tests.site import Site

PROCESSES = 4
ROWS = 20_000
LITTLE, MUCH = 1_000, 1_000_000
BATCH = 48

#: Rows of mail that was sent, numbered from 1 to :count.
_SERIES = {
    "sqlite": (
        "WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < :count)"
        " INSERT INTO courier_message (id, created_at, kind, status, recipient, recipient_folded,"
        " context, lane, attempts, claims, next_attempt_at, expires_at, sent_at)"
        " SELECT printf('%032x', n), '2026-01-01 00:00:00.000000', 'fault/plain', 'sent',"
        " 'user' || n || '@example.com', 'user' || n || '@example.com',"
        " '{}', 1, 1, 1, '2026-01-01 00:00:00.000000',"
        " '2026-01-02 00:00:00.000000', '2026-01-01 00:00:01.000000' FROM series"
    ),
    "postgresql": (
        "INSERT INTO courier_message (id, created_at, kind, status, recipient, recipient_folded,"
        " context, lane, attempts, claims, next_attempt_at, expires_at, sent_at)"
        " SELECT lpad(to_hex(n), 32, '0')::uuid, '2026-01-01', 'fault/plain', 'sent',"
        " 'user' || n || '@example.com', 'user' || n || '@example.com',"
        " '{}', 1, 1, 1, '2026-01-01', '2026-01-02', '2026-01-01'"
        " FROM generate_series(1, :count) AS series(n)"
    ),
}


@pytest.mark.slow
@every_database
def test_no_message_is_claimed_twice(
    site: Site, nursery: Nursery, database_name: str, database_url: str, tmp_path: Path
) -> None:
    """Four processes that claim at once get each of 20,000 messages once, between them."""
    if database_name == "sqlite":
        write_ahead(site)
    queue(site, ROWS // 2, lane=Lane.NOTICE)
    queue(site, ROWS // 2, lane=Lane.ACCOUNT)
    files = [tmp_path / f"claimed{number}" for number in range(PROCESSES)]
    started = [
        nursery.start("claim_everything", url=database_url, count=BATCH, file=str(file))
        for file in files
    ]
    assert [0] * PROCESSES == [nursery.wait(pid) for pid in started]
    claimed = [file.read_text("ascii").split() for file in files]
    together = [one for some in claimed for one in some]
    assert (ROWS, ROWS) == (len(together), len(set(together)))
    assert all(claimed), "not one of the processes found everything taken"


def finished(site: Site, name: str, count: int) -> None:
    """Put so many messages into the table that were sent, and let the planner know."""
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.execute(sa.text(_SERIES[name]), {"count": count})
    with site.app.app_context(), site.db.engine.connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT")
        connection.exec_driver_sql("ANALYZE courier_message")


def claim_all_lanes(session: Session) -> None:
    """A claim as a worker makes it, which looks into each lane."""
    transport = "smtp://mail.example:587"
    outbox.claim(session, count=BATCH, lease=timedelta(seconds=60), transport=transport)


def claims_explained(site: Site, explain: str) -> list[Any]:
    """What the database says to each statement of a claim that touches messages."""
    found: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("UPDATE", "WITH")):
            found.append((statement, parameters))

    def work(session: Session) -> list[Any]:
        connection = session.connection()
        event.listen(connection, "before_cursor_execute", note)
        try:
            claim_all_lanes(session)
        finally:
            event.remove(connection, "before_cursor_execute", note)
        session.rollback()
        connection = session.connection()
        return [
            connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
            for statement, parameters in found
        ]

    return database_of(site).transact(work)


def test_claims_use_the_index_on_sqlite(site: Site) -> None:
    """SQLite finds what is due through the partial index, and scans nothing."""
    finished(site, "sqlite", LITTLE)
    queue(site, BATCH)
    plans = claims_explained(site, "EXPLAIN QUERY PLAN")
    assert plans
    for plan in plans:
        lines = [row[-1] for row in plan]
        assert any("INDEX ix_courier_message_due" in line for line in lines), lines
        assert not [line for line in lines if line.startswith("SCAN")], lines


@pytest.mark.parametrize("database_name", ["postgresql"], indirect=True)
def test_claims_use_the_index_on_postgresql(site: Site) -> None:
    """PostgreSQL finds what is due through the partial index, and scans no table of messages."""
    finished(site, "postgresql", 20 * LITTLE)
    queue(site, BATCH)
    plans = claims_explained(site, "EXPLAIN")
    assert plans
    for plan in plans:
        lines = [row[0] for row in plan]
        assert any("using ix_courier_message_due" in line for line in lines), lines
        assert not [line for line in lines if "Seq Scan on courier_message" in line], lines


def steps_of_claim(site: Site) -> int:
    """How many instructions SQLite's machine runs for a claim."""
    steps = 0

    def count() -> int:
        nonlocal steps
        steps += 1
        return 0

    def work(session: Session) -> None:
        driver: Any = session.connection().connection.driver_connection
        driver.set_progress_handler(count, 1)
        try:
            claim_all_lanes(session)
        finally:
            driver.set_progress_handler(None, 1)
        session.rollback()

    database_of(site).transact(work)
    return steps


def pages_of_claim(site: Site) -> int:
    """How many pages PostgreSQL looks at for a claim."""
    plans = claims_explained(site, "EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON)")
    total = 0
    for plan in plans:
        value = plan[0][0]
        parsed = json.loads(value) if isinstance(value, str) else value
        top = parsed[0]["Plan"]
        total += top["Shared Hit Blocks"] + top["Shared Read Blocks"]
    return total


@pytest.mark.slow
@pytest.mark.parametrize(
    ("database_name", "measure"),
    [("sqlite", steps_of_claim), ("postgresql", pages_of_claim)],
    indirect=["database_name"],
)
def test_claims_stay_cheap(site: Site, database_name: str, measure: Callable[[Site], int]) -> None:
    """With a million finished messages a claim is at most twice the work it is with a thousand."""
    finished(site, database_name, LITTLE)
    queue(site, BATCH)
    before = measure(site)
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM courier_message WHERE status = 'sent'")
    finished(site, database_name, MUCH)
    after = measure(site)
    assert 0 < after <= 2 * before
