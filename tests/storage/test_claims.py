"""Claims in batches: fair to both lanes, given back as they were, and taken again when late."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_courier.core.messages import Claim, Lane
from flask_courier.core.replies import Outcome
from flask_courier.core.retry import Decision
from flask_courier.core.status import Status
from flask_courier.storage import outbox, transports
from flask_courier.storage.models import Attempt
from flask_courier.storage.uow import Database
from tests.databases import every_database
from tests.queue_rows import (
    LEASE,
    add_attempt,
    ago,
    change,
    claim,
    claimed,
    enqueue,
    hold,
    ids,
    reclaim,
    record,
    result,
    row,
    rows,
    settlement,
)

pytestmark = every_database

TRANSPORT = "smtp://mail.example:587"


def flood(database: Database, count: int) -> tuple[list[uuid.UUID], list[uuid.UUID]]:
    """As many notices as account mails, the account mails queued last."""
    lanes = (Lane.NOTICE, Lane.ACCOUNT)
    notices, account = ([enqueue(database, lane=lane) for _ in range(count)] for lane in lanes)
    return notices, account


def lanes(claims: list[Claim]) -> list[int]:
    """The lanes of claims, in their order."""
    return [taken.lane for taken in claims]


@pytest.mark.parametrize(("count", "share"), [(4, 1), (8, 2), (11, 2), (3, 0)])
def test_one_in_four_is_a_notice(database: Database, count: int, share: int) -> None:
    """Under a flood of account mail one message in four of a batch is a notice."""
    flood(database, 12)
    assert [0] * (count - share) + [1] * share == lanes(claim(database, count))


def test_notice_that_has_its_share_is_the_oldest(database: Database) -> None:
    """Of the notices it is the one that has been due for longest."""
    notices, _ = flood(database, 4)
    change(database, notices[2], next_attempt_at=ago(minutes=5))
    assert notices[2] in ids(claim(database, 4))


def test_single_claims_have_their_share_too(database: Database) -> None:
    """A worker that claims one message at a time takes a notice every fourth time."""
    flood(database, 8)
    taken = [claim(database, 1, turn=turn)[0].lane for turn in range(8)]
    assert [0, 0, 0, 1] * 2 == taken


def test_share_that_no_notice_takes_is_account_mail(database: Database) -> None:
    """Where no notice waits, the whole batch is account mail."""
    for _ in range(8):
        enqueue(database)
    assert [0] * 8 == lanes(claim(database, 8))


def test_claims_are_in_the_order_of_the_queue(database: Database) -> None:
    """A batch is answered by lane and age, however the database found it."""
    notices, account = flood(database, 3)
    assert [*sorted(account), *sorted(notices)] == ids(claim(database, 6))


def open_breaker(database: Database) -> None:
    """Let the transport have failed just now."""
    database.transact(
        lambda session: transports.fault(
            session,
            TRANSPORT,
            outcome=Outcome.TRANSPORT_FAULT,
            cause="refused",
            reason="nobody listens",
            error="Connection refused",
            message_id=None,
            wait=lambda _faults: timedelta(minutes=5),
        )
    )


def test_open_breaker_claims_nothing(database: Database) -> None:
    """While the breaker is open nothing is taken out of the queue."""
    message_id = enqueue(database)
    open_breaker(database)
    assert [] == claim(database, transport=TRANSPORT)
    assert ("queued", 0) == (row(database, message_id).status, row(database, message_id).claims)


def test_breaker_of_another_transport_stops_nobody(database: Database) -> None:
    """An open breaker stops those who send through its transport only."""
    message_id = enqueue(database)
    open_breaker(database)
    found = claim(database, transport="smtp://other.example:587")
    assert [message_id] == ids(found)


def test_closed_breaker_stops_nobody(database: Database) -> None:
    """Once a message got through, the queue is served again."""
    message_id = enqueue(database)
    open_breaker(database)
    database.transact(lambda session: transports.ok(session, TRANSPORT))
    assert [message_id] == ids(claim(database, transport=TRANSPORT))


def test_message_that_is_not_wanted_stays(database: Database) -> None:
    """``but_not`` leaves one message where it is, though it is the first in line."""
    failed, other = enqueue(database), enqueue(database)
    change(database, failed, next_attempt_at=ago(minutes=5))
    assert [other] == ids(claim(database, 2, but_not=failed))
    assert "queued" == row(database, failed).status


def give_back(database: Database, *claims: Claim) -> None:
    """Put claims back, and commit."""
    database.transact(lambda session: outbox.give_back(session, claims))


def test_given_back_is_as_it_was(database: Database) -> None:
    """What was not started is queued as before: due at its time, and the claim not counted."""
    message_id = enqueue(database)
    before = row(database, message_id)
    give_back(database, *claim(database))
    assert before == row(database, message_id)


def test_given_back_can_be_claimed_at_once(database: Database) -> None:
    """The next worker takes it, as if nobody had."""
    first = claimed(database)
    give_back(database, first)
    [again] = claim(database)
    assert (first.id, 1) == (again.id, again.claims)
    assert first.lease_token != again.lease_token


def test_given_back_by_a_late_worker_changes_nothing(database: Database) -> None:
    """A claim whose lease has changed hands is not given back by its first holder."""
    first = claimed(database)
    reclaim(database, first)
    [second] = claim(database)
    before = row(database, first.id)
    give_back(database, first)
    assert before == row(database, second.id)


def test_held_are_those_that_were_not_lost(database: Database) -> None:
    """Of a batch of leases the answer names those that still run."""
    kept, lost = claimed(database), claimed(database)
    reclaim(database, lost)
    claim(database)
    assert {kept.id} == hold(database, kept, lost)


def held_twice(database: Database) -> tuple[Claim, Claim, Claim]:
    """A claim whose lease was lost, a later one of the same message, and one beside that."""
    first = claimed(database)
    reclaim(database, first)
    other = enqueue(database)
    second, beside = sorted(claim(database), key=lambda taken: taken.id == other)
    return first, second, beside


def test_of_two_claims_of_a_message_the_later_one_holds_it(database: Database) -> None:
    """A lease that was lost is not renewed by the one that the same worker has now."""
    claims = held_twice(database)
    held = database.transact(lambda session: outbox.hold(session, claims, lease=LEASE))
    assert [*claims[1:]] == held


def test_given_back_with_others_changes_nothing(database: Database) -> None:
    """A claim that was lost takes no message from its holder, whatever is given back beside it."""
    first, second, beside = held_twice(database)
    give_back(database, first, beside)
    assert ["processing", "queued"] == [row(database, one.id).status for one in (second, beside)]


def test_reclaimed_message_keeps_its_lease_token(database: Database) -> None:
    """Until somebody else claims the message, its late worker can still be told from others."""
    late = claimed(database)
    reclaim(database, late)
    kept = row(database, late.id)
    assert ("queued", late.lease_token, None) == (kept.status, kept.lease_token, kept.lease_until)


def retake(database: Database, *claims: Claim) -> set[uuid.UUID]:
    """Take again what was reclaimed, and commit; answer what is held."""

    def work(session: Any) -> set[uuid.UUID]:
        outbox.retake(session, claims, lease=LEASE)
        return {taken.id for taken in outbox.hold(session, claims, lease=LEASE)}

    return database.transact(work)


def test_late_result_settles_what_nobody_else_has(database: Database) -> None:
    """A worker that was merely cut off writes its result down after the lease: no duplicate."""
    late = claimed(database)
    reclaim(database, late)
    assert {late.id} == retake(database, late)
    record(database, settlement(late, Decision(Status.SENT)))
    assert ("sent", []) == (row(database, late.id).status, claim(database))


def test_message_of_another_worker_is_not_retaken(database: Database) -> None:
    """Once somebody else has claimed it, a late worker decides nothing any more."""
    late = claimed(database)
    reclaim(database, late)
    [second] = claim(database)
    assert set() == retake(database, late)
    assert {second.id} == hold(database, second)


def test_message_that_another_worker_put_off_is_not_retaken(database: Database) -> None:
    """A message that waits for its retry after somebody else's attempt is not ours again."""
    late = claimed(database)
    reclaim(database, late)
    [second] = claim(database)
    record(
        database,
        settlement(second, Decision(Status.QUEUED, "deferred"), result(Outcome.DEFERRED)),
    )
    assert set() == retake(database, late)


def test_message_that_was_ended_meanwhile_is_not_retaken(database: Database) -> None:
    """A reclaimed message whose time ran out before the late result stays expired."""
    late = claimed(database)
    reclaim(database, late)
    change(database, late.id, expires_at=ago(seconds=1))
    database.transact(outbox.expire_overdue)
    assert set() == retake(database, late)
    assert "expired" == row(database, late.id).status


def suspect(**changes: Any) -> Any:
    """A connection that was dropped from RCPT on."""
    return result(Outcome.DEFERRED, **({"code": None, "text": "dropped"} | changes))


def test_refund_gives_the_attempt_back(database: Database) -> None:
    """What turns out to have been the transport's fault costs the message nothing."""
    message_id = enqueue(database)
    change(database, message_id, attempts=2)
    add_attempt(database, message_id, suspect())
    database.transact(lambda session: outbox.refund(session, [message_id]))
    assert 1 == row(database, message_id).attempts
    assert [("transport_fault",)] == rows(database, Attempt.outcome)


def test_refund_acquits_suspects_alone(database: Database) -> None:
    """Dropped connections and 421 are laid to the transport; a plain refusal stays a refusal."""
    message_id = enqueue(database)
    for ended in (suspect(), suspect(code=421), suspect(code=450)):
        add_attempt(database, message_id, ended)
    database.transact(lambda session: outbox.refund(session, [message_id]))
    outcomes = rows(database, Attempt.number, Attempt.outcome)
    assert [(1, "transport_fault"), (2, "transport_fault"), (3, "deferred")] == outcomes


def test_refund_goes_no_lower_than_none(database: Database) -> None:
    """A message without attempts has none to get back."""
    message_id = enqueue(database)
    database.transact(lambda session: outbox.refund(session, [message_id]))
    assert 0 == row(database, message_id).attempts


def test_refund_spares_other_messages(database: Database) -> None:
    """Who is not named keeps attempt and blame."""
    named, other = enqueue(database), enqueue(database)
    change(database, other, attempts=1)
    add_attempt(database, other, suspect())
    database.transact(lambda session: outbox.refund(session, [named]))
    assert (1, [("deferred",)]) == (row(database, other).attempts, rows(database, Attempt.outcome))


@pytest.mark.parametrize("status", [Status.SENT, Status.QUEUED])
def test_batch_is_settled_each_by_its_own(database: Database, status: Status) -> None:
    """Results that share a transaction keep their own code, attempt and history."""
    claims = [claimed(database) for _ in range(3)]
    outcome = Outcome.ACCEPTED if status is Status.SENT else Outcome.DEFERRED
    record(
        database,
        *(
            settlement(taken, Decision(status, None), result(outcome, code=code))
            for code, taken in zip((250, 251, 252), claims, strict=True)
        ),
    )
    kept = [row(database, taken.id) for taken in claims]
    assert [(status.value, 1, code) for code in (250, 251, 252)] == [
        (one.status, one.attempts, one.last_code) for one in kept
    ]
    codes = rows(database, Attempt.code, Attempt.number)
    assert [(250, 1), (251, 1), (252, 1)] == codes


def test_number_of_an_attempt_is_taken_once(database: Database) -> None:
    """Two attempts of one message in one statement follow each other in its history."""
    message_id = enqueue(database)
    for _ in range(2):
        add_attempt(database, message_id, suspect())
    assert [(1,), (2,)] == rows(database, Attempt.number)
    assert 2 == database.transact(
        lambda session: (
            session.connection()
            .execute(sa.select(sa.func.count()).select_from(Attempt))
            .scalar_one()
        )
    )
