"""Results on their way into the database: together where they can be, alone where they must."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from flask_courier.core.messages import Claim
from flask_courier.core.status import Status
from flask_courier.delivery.ledger import Ledger, Recorded
from flask_courier.delivery.recorder import Recorder
from flask_courier.storage.models import Attempt
from tests.databases import every_database
from tests.delivery.ledgers import delivery, make_ledger
from tests.queue_rows import claim, enqueue, result, row, rows
from tests.site import Site

REFUSED = "refused.example"


@pytest.fixture
def ledger(site: Site) -> Ledger:
    """A worker's side of the tables."""
    return make_ledger(site)


def eight(ledger: Ledger) -> list[Claim]:
    """Eight claims, as eight sessions have them."""
    for _ in range(8):
        enqueue(ledger.database)
    return claim(ledger.database, 8)


async def directly(function: Callable[..., Any], *args: Any) -> Any:
    """Run database work in the loop's own thread."""
    return function(*args)


def record_together(ledger: Ledger, claims: list[Claim], **hosts: str) -> list[Recorded | None]:
    """Let a session for each claim have its result at the same time."""

    async def work() -> list[Recorded | None]:
        recorder = Recorder(ledger, directly)
        recorder.expected = len(claims)
        return await asyncio.gather(
            *(recorder.submit(delivery(one, result(host=hosts.get(str(one.id))))) for one in claims)
        )

    return asyncio.run(work())


@contextmanager
def commits(site: Site) -> Iterator[list[int]]:
    """One number for each transaction that is committed in the block."""
    seen: list[int] = []

    def note(_connection: Any) -> None:
        seen.append(len(seen))

    with site.app.app_context():
        engine = site.db.engine
    event.listen(engine, "commit", note)
    try:
        yield seen
    finally:
        event.remove(engine, "commit", note)


@every_database
def test_results_share_a_transaction(site: Site, ledger: Ledger) -> None:
    """Results of eight sessions that come together are one transaction."""
    claims = eight(ledger)
    with commits(site) as seen:
        recorded = record_together(ledger, claims)
    assert ([Recorded(Status.SENT, blocked=None)] * 8, 1) == (recorded, len(seen))
    assert 8 == len(rows(ledger.database, Attempt.number))


def test_result_does_not_wait_for_those_that_do_not_come(ledger: Ledger) -> None:
    """A result is written though seven sessions are still busy."""
    [first, *_] = eight(ledger)

    async def work() -> Recorded | None:
        recorder = Recorder(ledger, directly)
        recorder.expected = 8
        return await asyncio.wait_for(recorder.submit(delivery(first)), 20)

    assert Recorded(Status.SENT, blocked=None) == asyncio.run(work())


def test_results_that_come_meanwhile_share_the_next_transaction(site: Site, ledger: Ledger) -> None:
    """What arrives while a transaction is under way is written together in the next one."""
    first, *others = eight(ledger)

    async def work() -> None:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slowly(function: Callable[..., Any], *args: Any) -> Any:
            begun.set()
            await go_on.wait()
            return function(*args)

        recorder = Recorder(ledger, slowly)
        recorder.expected = 1
        tasks = [recorder.submit(delivery(first))]
        await asyncio.wait_for(begun.wait(), 20)
        tasks += [recorder.submit(delivery(one)) for one in others]
        # One turn of the loop: each of them has handed its result in.
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait_for(asyncio.gather(*tasks), 20)

    with commits(site) as seen:
        asyncio.run(work())
    assert (2, 8) == (len(seen), len(rows(ledger.database, Attempt.number)))


@contextmanager
def refusing(site: Site) -> Iterator[None]:
    """Let the database itself refuse attempts at one host."""
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON courier_attempt "
            f"WHEN NEW.host = '{REFUSED}' BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    try:
        yield
    finally:
        with site.app.app_context(), site.db.engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER refuse")


@pytest.mark.slow
def test_refused_result_stops_no_other(site: Site, ledger: Ledger) -> None:
    """A result that the database refuses alone is given up; the seven beside it are recorded."""
    claims = eight(ledger)
    with refusing(site):
        recorded = record_together(ledger, claims, **{str(claims[3].id): REFUSED})
    sent = Recorded(Status.SENT, blocked=None)
    assert [*[sent] * 3, None, *[sent] * 4] == recorded
    statuses = [row(ledger.database, one.id).status for one in claims]
    assert [*["sent"] * 3, "processing", *["sent"] * 4] == statuses


def test_finish_waits_for_what_is_under_way(ledger: Ledger) -> None:
    """Who stops gets results that are on their way written first."""
    [first, *_] = eight(ledger)

    async def work() -> None:
        recorder = Recorder(ledger, directly)
        recorder.expected = 8
        task = recorder.submit(delivery(first))
        # One turn of the loop: it has handed its result in.
        await asyncio.sleep(0)
        await recorder.finish(20)
        assert "sent" == row(ledger.database, first.id).status
        await task

    asyncio.run(work())


def test_finish_waits_no_longer_than_it_may(ledger: Ledger) -> None:
    """A database that never answers does not keep a worker from its end."""
    [first, *_] = eight(ledger)

    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    async def work() -> bool:
        recorder = Recorder(ledger, never)
        task = recorder.submit(delivery(first))
        await asyncio.sleep(0)
        await asyncio.wait_for(recorder.finish(0.05), 20)
        return task.done()

    assert asyncio.run(work()) is False
    assert "processing" == row(ledger.database, first.id).status
