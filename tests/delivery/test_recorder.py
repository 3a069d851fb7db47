"""Results on their way into the database: together where they can be, alone where they must."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from flask_courier.core.messages import Claim, SendResult
from flask_courier.core.replies import Outcome, Phase
from flask_courier.core.status import Status
from flask_courier.delivery import recorder as recorder_module
from flask_courier.delivery.ledger import Ledger, Recorded
from flask_courier.delivery.recorder import Recorder
from flask_courier.storage.models import Attempt, Token
from tests.databases import every_database
from tests.delivery.ledgers import delivery, make_ledger
from tests.queue_rows import add_token, change, claim, claimed, enqueue, result, row, rows
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
def refusing(site: Site, what: str) -> Iterator[None]:
    """Let the database itself refuse what a trigger of this beginning is called for."""
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.exec_driver_sql(
            f"CREATE TRIGGER refuse BEFORE {what} BEGIN SELECT RAISE(ABORT, 'refused'); END"
        )
    try:
        yield
    finally:
        with site.app.app_context(), site.db.engine.begin() as connection:
            connection.exec_driver_sql("DROP TRIGGER refuse")


#: Every attempt; those at one host; those whose reply is not ASCII, as a database that is not UTF-8
#: refuses them; every message that is sent.
ATTEMPTS = "INSERT ON courier_attempt"
OF_A_HOST = f"{ATTEMPTS} WHEN NEW.host = '{REFUSED}'"
NO_ASCII = f"{ATTEMPTS} WHEN NEW.reply GLOB '*[^ -~]*'"
SENT = "UPDATE ON courier_message WHEN NEW.status = 'sent'"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a refused result be tried twice, without a rest between."""
    monkeypatch.setattr(recorder_module, "_TRIES", 2)
    monkeypatch.setattr(recorder_module, "AWAY", 0.0)


def record_one(ledger: Ledger, ended: SendResult, **options: Any) -> tuple[Claim, Recorded | None]:
    """Claim a message and hand in its result; answer the claim and what came of it."""
    taken = claimed(ledger.database)

    async def work() -> Recorded | None:
        return await Recorder(ledger, directly).submit(delivery(taken, ended, **options))

    return taken, asyncio.run(work())


@pytest.mark.slow
def test_refused_result_stops_no_other(site: Site, ledger: Ledger) -> None:
    """A result that the database refuses alone is retried alone; the seven beside it are there."""
    claims = eight(ledger)
    with refusing(site, OF_A_HOST):
        recorded = record_together(ledger, claims, **{str(claims[3].id): REFUSED})
    assert [Recorded(Status.SENT, blocked=None)] * 8 == recorded
    assert 7 == len(rows(ledger.database, Attempt.number))


@pytest.mark.usefixtures("soon")
def test_words_that_are_refused_are_written_in_ascii(site: Site, ledger: Ledger) -> None:
    """An attempt whose reply the database cannot hold is written with what it can hold of it."""
    with refusing(site, NO_ASCII):
        _, recorded = record_one(ledger, result(text="2.0.0 angenommen f\u00fcr Ada"))
    assert Recorded(Status.SENT, blocked=None) == recorded
    assert [("2.0.0 angenommen f?r Ada",)] == rows(ledger.database, Attempt.reply)


@pytest.mark.usefixtures("soon")
def test_refusal_whose_words_are_refused(site: Site, ledger: Ledger) -> None:
    """A rejected mail whose reply the database cannot hold is abandoned all the same."""
    rejected = result(
        Outcome.REJECTED, phase=Phase.RCPT, code=550, text="5.1.1 unbekannt: J\u00fcrgen"
    )
    with refusing(site, NO_ASCII):
        taken, _ = record_one(ledger, rejected)
    settled = row(ledger.database, taken.id)
    assert ("abandoned", "5.1.1 unbekannt: J?rgen") == (settled.status, settled.last_error)


@pytest.mark.usefixtures("soon")
def test_accepted_mail_is_settled_without_its_attempt(site: Site, ledger: Ledger) -> None:
    """An accepted mail whose attempt is refused for good is sent, and goes out no more."""
    with refusing(site, ATTEMPTS):
        taken, recorded = record_one(ledger, result())
    assert Recorded(Status.SENT, blocked=None) == recorded
    assert ("sent", 1) == ((kept := row(ledger.database, taken.id)).status, kept.attempts)


@pytest.mark.usefixtures("soon")
def test_seed_of_mail_without_its_attempt_is_wiped(site: Site, ledger: Ledger) -> None:
    """The token of an accepted mail cannot be derived again, though its attempt is refused."""
    taken = claimed(ledger.database)
    add_token(ledger.database, taken.id)

    async def work() -> None:
        await Recorder(ledger, directly).submit(delivery(taken, carries_token=True))

    with refusing(site, ATTEMPTS):
        asyncio.run(work())
    assert [(None,)] == rows(ledger.database, Token.seed)


@pytest.mark.usefixtures("soon")
def test_attempt_that_is_missing_is_told(
    site: Site, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """A mail that was settled without its attempt has an error in the log, with its id."""
    with refusing(site, ATTEMPTS):
        taken, _ = record_one(ledger, result())
    assert [("attempt_lost", str(taken.id))] == errors(caplog)


@pytest.mark.usefixtures("soon")
def test_mail_that_lost_its_lease_without_its_attempt(site: Site, ledger: Ledger) -> None:
    """A mail that another worker has by now is left to it, though its attempt is refused."""
    taken = claimed(ledger.database)
    change(ledger.database, taken.id, lease_token="f" * 32)

    async def work() -> Recorded | None:
        return await Recorder(ledger, directly).submit(delivery(taken))

    with refusing(site, ATTEMPTS):
        assert Recorded(None, blocked=None) == asyncio.run(work())
    assert "processing" == row(ledger.database, taken.id).status


@pytest.mark.usefixtures("soon")
def test_unknown_outcome_without_its_attempt_is_held(site: Site, ledger: Ledger) -> None:
    """What the server may have is repeated at most once: with nothing to count by, not at all."""
    unknown = result(Outcome.UNKNOWN, code=None, text="the connection was closed")
    with refusing(site, ATTEMPTS):
        taken, recorded = record_one(ledger, unknown, carries_token=True)
    assert Recorded(Status.HELD, blocked=None) == recorded
    assert "outcome_unknown" == row(ledger.database, taken.id).reason


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize(
    ("what", "outcome"), [(SENT, Outcome.ACCEPTED), (ATTEMPTS, Outcome.DEFERRED)]
)
def test_result_that_is_dropped(
    site: Site, ledger: Ledger, caplog: pytest.LogCaptureFixture, what: str, outcome: Outcome
) -> None:
    """A result of which nothing can be written is given up, with an error in the log."""
    with refusing(site, what):
        taken, recorded = record_one(ledger, result(outcome))
    assert (None, "processing") == (recorded, row(ledger.database, taken.id).status)
    assert [("result_lost", str(taken.id))] == errors(caplog)


def errors(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Action and message of each error in the log."""
    return [
        (vars(record)["action"], vars(record)["message_id"])
        for record in caplog.records
        if record.levelno >= logging.ERROR
    ]


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
