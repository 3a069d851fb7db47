"""What operators do with messages, and who wins where a worker is at the same message."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from flask_courier.core.actions import STATUSES, Action, Obstacle, Standing, obstacle
from flask_courier.core.messages import Claim, Rendered
from flask_courier.core.replies import Outcome
from flask_courier.core.status import FINAL, Status
from flask_courier.flows import desk
from flask_courier.storage import attempts, dialect
from flask_courier.storage.details import details
from flask_courier.storage.models import Content, Event, Message, Token
from flask_courier.storage.outbox import operator
from flask_courier.storage.uow import Conflict, Database
from tests.databases import every_database
from tests.queue_rows import (
    LEASE,
    add_content,
    add_token,
    ago,
    at_once,
    change,
    change_token,
    claim,
    enqueue,
    hold,
    ids,
    result,
    row,
    rows,
)

pytestmark = every_database

ACTOR = "cli:ada"
NOBODY = uuid.UUID(int=7)
SLACK = timedelta(seconds=5)
MAIL = Rendered("Hello", "hello", None, None)


def retry(database: Database, message_id: uuid.UUID) -> Obstacle | None:
    """Retry in a transaction."""
    return database.transact(lambda session: operator.retry(session, message_id, actor=ACTOR))


def cancel(database: Database, message_id: uuid.UUID) -> Obstacle | None:
    """Cancel in a transaction."""
    return database.transact(lambda session: operator.cancel(session, message_id, actor=ACTOR))


def delete_content(database: Database, message_id: uuid.UUID) -> Obstacle | None:
    """Delete the content in a transaction."""
    return database.transact(
        lambda session: operator.delete_content(session, message_id, actor=ACTOR)
    )


def resend(
    database: Database, message_id: uuid.UUID, key: str | None = None
) -> uuid.UUID | Obstacle:
    """Resend in a transaction."""
    return database.transact(
        lambda session: operator.resend(session, message_id, actor=ACTOR, idempotency_key=key)
    )


def message_in(database: Database, status: Status, **values: Any) -> uuid.UUID:
    """A message that has come to this status."""
    message_id = enqueue(database)
    change(database, message_id, status=status.value, **values)
    return message_id


def events(database: Database) -> list[tuple[uuid.UUID, str, str]]:
    """Every event: of which message, by whom, what."""
    return [tuple(event) for event in rows(database, Event.message_id, Event.actor, Event.what)]


def token(database: Database, digest: str) -> Any:
    """The token's row."""
    statement = sa.select(Token.__table__).where(Token.digest == digest)
    return database.transact(lambda session: dialect.run(session, statement).one())


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (Status.ABANDONED, "retries_exhausted"),
        (Status.ABANDONED, None),
        (Status.HELD, "outcome_unknown"),
    ],
)
def test_retry_queues_again(database: Database, status: Status, reason: str | None) -> None:
    """What was given up or is held is due at once, with all its attempts before it."""
    message_id = message_in(
        database, status, reason=reason, attempts=6, next_attempt_at=ago(hours=-3)
    )
    assert retry(database, message_id) is None
    kept = row(database, message_id)
    assert ("queued", "retried", 0) == (kept.status, kept.reason, kept.attempts)
    assert [message_id] == ids(claim(database))
    assert [(message_id, ACTOR, "retried")] == events(database)


def test_retry_gives_the_original_life_again(database: Database) -> None:
    """However late and however often, each retry gives what the message was given at first."""
    message_id = message_in(
        database, Status.ABANDONED, created_at=ago(days=3), expires_at=ago(days=3, minutes=-30)
    )
    for _ in range(3):
        change(database, message_id, status="abandoned")
        assert retry(database, message_id) is None
        left = row(database, message_id).expires_at - database.transact(dialect.now)
        assert timedelta(minutes=30) - SLACK < left <= timedelta(minutes=30)


def test_retry_forgives_claims_that_ended(database: Database) -> None:
    """Claims before the retry do not speak of poison after it."""
    message_id = message_in(database, Status.ABANDONED, claims=40)
    one = [(message_id, result(Outcome.DEFERRED))]
    database.transact(lambda session: attempts.add(session, one, worker="w1"))
    assert retry(database, message_id) is None
    assert 1 == row(database, message_id).claims


def test_rejected_is_never_retried(database: Database) -> None:
    """What its server refused for good stays abandoned; it can be sent anew."""
    message_id = message_in(database, Status.ABANDONED, reason="rejected")
    assert Obstacle.REJECTED is retry(database, message_id)
    kept = row(database, message_id)
    assert ("abandoned", "rejected") == (kept.status, kept.reason)
    assert isinstance(resend(database, message_id), uuid.UUID)


def test_retry_of_what_waits_is_due_at_once(database: Database) -> None:
    """What waits for its next attempt is due now; its life and its attempts are what they were."""
    message_id = enqueue(database, delay=timedelta(minutes=20))
    change(database, message_id, attempts=2, reason="deferred")
    before = row(database, message_id)
    assert ([], None) == (claim(database), retry(database, message_id))
    kept = row(database, message_id)
    assert (2, "deferred", before.expires_at) == (kept.attempts, kept.reason, kept.expires_at)
    assert [(message_id, ACTOR, "hurried")] == events(database)
    assert [message_id] == ids(claim(database))


def test_retry_after_a_hurry_gives_the_original_life(database: Database) -> None:
    """That it was hurried once takes nothing from the life that a later retry gives."""
    message_id = enqueue(database, delay=timedelta(minutes=20))
    retry(database, message_id)
    change(
        database,
        message_id,
        status="abandoned",
        created_at=ago(days=1),
        expires_at=ago(days=1, minutes=-30),
    )
    retry(database, message_id)
    left = row(database, message_id).expires_at - database.transact(dialect.now)
    assert timedelta(minutes=30) - SLACK < left <= timedelta(minutes=30)


def test_retry_of_what_is_due(database: Database) -> None:
    """What a worker may take at any moment has nothing to gain, and stays as it is."""
    message_id = enqueue(database)
    before = row(database, message_id)
    assert Obstacle.DUE is retry(database, message_id)
    assert (before, []) == (row(database, message_id), events(database))


@pytest.mark.parametrize("status", sorted(set(Status) - STATUSES[Action.RETRY]))
def test_retry_of_other_statuses(database: Database, status: Status) -> None:
    """What waits, is on its way or was never to be sent is not retried, and stays as it is."""
    message_id = message_in(database, status, attempts=2)
    before = row(database, message_id)
    assert Obstacle.WRONG_STATUS is retry(database, message_id)
    assert (before, []) == (row(database, message_id), events(database))


@pytest.mark.parametrize("act", [retry, cancel, resend, delete_content])
def test_unknown_message(database: Database, act: Any) -> None:
    """An id that no message has is said to have none."""
    assert Obstacle.NOT_FOUND is act(database, NOBODY)
    assert [] == events(database)


def test_cancel_ends_a_waiting_message(database: Database) -> None:
    """A cancelled message is claimed by nobody; its token is closed and its seed is gone."""
    message_id = enqueue(database)
    digest = add_token(database, message_id)
    assert cancel(database, message_id) is None
    kept, its_token = row(database, message_id), token(database, digest)
    assert ("cancelled", "operator") == (kept.status, kept.reason)
    assert ([], None, False) == (claim(database), its_token.seed, its_token.consumed_at is None)
    assert [(message_id, ACTOR, "cancelled")] == events(database)


def test_cancel_leaves_a_link_that_may_have_arrived(database: Database) -> None:
    """Where an attempt ended unknown, the mail may be read: its link goes on working."""
    message_id = enqueue(database)
    digest = add_token(database, message_id)
    one = [(message_id, result(Outcome.UNKNOWN))]
    database.transact(lambda session: attempts.add(session, one, worker="w1"))
    assert cancel(database, message_id) is None
    assert token(database, digest).consumed_at is None


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.QUEUED}))
def test_cancel_of_other_statuses(database: Database, status: Status) -> None:
    """What a worker has, or what is done, cannot be taken back."""
    message_id = message_in(database, status)
    assert Obstacle.WRONG_STATUS is cancel(database, message_id)
    assert (status.value, []) == (row(database, message_id).status, events(database))


@pytest.mark.parametrize("status", sorted(FINAL))
def test_resend_queues_a_new_message(database: Database, status: Status) -> None:
    """A message that is done is sent anew as another one, like it in all that makes its mail."""
    old_id = enqueue(database, account_ref="7", locale="de", context={"n": 1}, requester_key="k")
    change(database, old_id, status=status.value, attempts=3, created_at=ago(days=2))
    new_id = resend(database, old_id)
    assert isinstance(new_id, uuid.UUID)
    old, new = row(database, old_id), row(database, new_id)
    copied = ("kind", "recipient", "account_ref", "locale", "lane")
    assert [getattr(old, name) for name in copied] == [getattr(new, name) for name in copied]
    assert (status.value, "queued", old_id) == (old.status, new.status, new.resend_of)
    assert (0, None, None) == (new.attempts, new.requester_key, new.idempotency_key)
    assert [(old_id, ACTOR, "resent")] == events(database)
    assert [new_id] == ids(claim(database))


def test_resend_remembers_when_it_was_first_queued(database: Database) -> None:
    """A notice tells of a moment, and that is the first message's, however often it is resent."""
    first = message_in(database, Status.SENT, created_at=ago(days=2))
    moment = row(database, first).created_at.isoformat()
    second = resend(database, first)
    assert isinstance(second, uuid.UUID)
    change(database, second, status="sent")
    third = resend(database, second)
    assert isinstance(third, uuid.UUID)
    contexts = [row(database, one).context for one in (second, third)]
    assert [{operator.FIRST_QUEUED_KEY: moment}] * 2 == contexts


@pytest.mark.parametrize("status", [Status.QUEUED, Status.PROCESSING])
def test_resend_of_what_is_not_done(database: Database, status: Status) -> None:
    """What may still be sent is not sent a second time."""
    message_id = message_in(database, status)
    assert Obstacle.WRONG_STATUS is resend(database, message_id)
    assert 1 == len(rows(database, Message.id))


def test_resend_with_a_key_is_done_once(database: Database) -> None:
    """The second half of a double submit answers the message of the first, and adds nothing."""
    message_id = message_in(database, Status.SENT)
    first, second, other = (resend(database, message_id, key) for key in ("a", "a", "b"))
    assert first == second != other
    assert 3 == len(rows(database, Message.id))
    assert 2 == len(events(database))


def test_key_of_another_message_is_refused(database: Database) -> None:
    """A key that another resend has used answers no message that is not this one's."""
    one, other = (message_in(database, Status.SENT) for _ in range(2))
    resend(database, one, "a")
    assert Obstacle.KEY_TAKEN is resend(database, other, "a")


def test_resend_by_who_knows_of_all_resends(database: Database) -> None:
    """Of two operators who saw the same page one sends it anew, and the other is told."""
    message_id = message_in(database, Status.SENT)

    def knowing(count: int) -> uuid.UUID | Obstacle:
        return database.transact(
            lambda session: operator.resend(session, message_id, actor=ACTOR, known=count)
        )

    first, second, third = knowing(0), knowing(0), knowing(1)
    assert [Obstacle.RESENT] == [one for one in (first, second, third) if isinstance(one, Obstacle)]
    assert Obstacle.RESENT is second
    assert 3 == len(rows(database, Message.id))


@pytest.mark.parametrize("status", sorted(FINAL))
def test_delete_content_keeps_the_row(database: Database, status: Status) -> None:
    """The text of what is done is gone at once, its row stays, and the log knows by whom."""
    message_id = message_in(database, status)
    add_content(database, message_id, MAIL)
    before = row(database, message_id)
    assert delete_content(database, message_id) is None
    assert (before, []) == (row(database, message_id), rows(database, Content.message_id))
    assert [(message_id, ACTOR, "content_deleted")] == events(database)
    assert Obstacle.NO_CONTENT is delete_content(database, message_id)


@pytest.mark.parametrize("status", [Status.QUEUED, Status.PROCESSING])
def test_delete_content_of_what_is_not_done(database: Database, status: Status) -> None:
    """What may still be sent keeps its text: it would be sent as another mail."""
    message_id = message_in(database, status)
    add_content(database, message_id, MAIL)
    assert Obstacle.WRONG_STATUS is delete_content(database, message_id)
    assert 1 == len(rows(database, Content.message_id))


@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("reason", [None, "rejected"])
@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("written", [False, True])
def test_what_is_said_to_be_possible_is_done(
    database: Database,
    action: Action,
    status: Status,
    reason: str | None,
    *,
    waits: bool,
    written: bool,
) -> None:
    """What the table of ``core.actions`` says is what an action comes to."""
    message_id = enqueue(database, delay=timedelta(hours=waits))
    change(database, message_id, status=status.value, reason=reason)
    if written:
        add_content(database, message_id, MAIL)
    said = obstacle(action, Standing(status, reason, is_due=not waits, has_content=written))
    answer = database.transact(lambda session: desk.act(session, action, message_id, actor=ACTOR))
    assert (said, said is None) == (answer.why_not, answer.done)


def test_many_at_once(database: Database) -> None:
    """Each of many gets its own answer, in the order that was asked for; one ID twice is one."""
    held, sent = message_in(database, Status.HELD), message_in(database, Status.SENT)
    asked = [sent, NOBODY, held, sent]
    answers = desk.act_on_all(database, Action.RETRY, asked, actor=ACTOR)
    assert [
        (sent, Obstacle.WRONG_STATUS),
        (NOBODY, Obstacle.NOT_FOUND),
        (held, None),
    ] == [(answer.id, answer.why_not) for answer in answers]


def test_many_are_sent_anew_once(database: Database) -> None:
    """Of many, what was sent anew before is left out, however it came to that."""
    once, never = message_in(database, Status.SENT), message_in(database, Status.SENT)
    resend(database, once)
    for expected in ([Obstacle.RESENT, None], [Obstacle.RESENT] * 2):
        answers = desk.act_on_all(database, Action.RESEND, [once, never], actor=ACTOR)
        assert expected == [answer.why_not for answer in answers]
    assert 4 == len(rows(database, Message.id))


def test_two_operators_with_many(database: Database) -> None:
    """Two that act on the same messages share them, in whatever order; nothing is done twice."""
    message_ids = [message_in(database, Status.SENT) for _ in range(120)]

    def work(number: int) -> set[uuid.UUID]:
        asked = message_ids[:: 1 if number else -1]
        done: set[uuid.UUID] = set()
        while asked:
            answers = desk.act_on_all(database, Action.RESEND, asked, actor=ACTOR)
            done |= {answer.id for answer in answers if answer.done}
            asked = [answer.id for answer in answers if answer.why_not is Obstacle.BUSY]
        return done

    first, second = at_once(2, work)
    assert (set(message_ids), set()) == (first | second, first & second)
    assert 240 == len(rows(database, Message.id))


def test_rollback_undoes_an_action(database: Database) -> None:
    """An action and its event stand or fall with their transaction."""
    message_id = enqueue(database)

    def work(session: Any) -> None:
        assert operator.cancel(session, message_id, actor=ACTOR) is None
        raise LookupError

    with pytest.raises(LookupError):
        database.transact(work)
    assert ("queued", []) == (row(database, message_id).status, events(database))


def test_long_actor_is_cut(database: Database) -> None:
    """A name of any length fits the event."""
    message_id = enqueue(database)
    database.transact(lambda session: operator.cancel(session, message_id, actor="x" * 999))
    assert [(message_id, "x" * 255, "cancelled")] == events(database)


def test_log_shows_the_action(database: Database) -> None:
    """Who did what is among the events of the message."""
    message_id = message_in(database, Status.HELD)
    retry(database, message_id)
    found = database.transact(lambda session: details(session, message_id))
    assert found is not None
    assert [(ACTOR, "retried")] == [(event.actor, event.what) for event in found.events]


def test_take_claims_this_message_alone(database: Database) -> None:
    """A message is taken past the order of the queue, due or not, and once."""
    other, wanted = enqueue(database), enqueue(database, delay=timedelta(hours=1))

    def take() -> Claim | None:
        return database.transact(lambda session: operator.take(session, wanted, lease=LEASE))

    taken = take()
    assert taken is not None
    assert (wanted, 1, None) == (taken.id, taken.claims, take())
    assert {wanted} == hold(database, taken)
    assert "queued" == row(database, other).status


def patiently(act: Any, *arguments: Any) -> Any:
    """Act as a command that is run again: two conflicts in a row are asked again."""
    while True:
        try:
            return act(*arguments)
        except Conflict:
            continue


def test_cancel_against_claim(database: Database) -> None:
    """Of an operator and a worker that reach for a message, exactly one gets it."""
    queued = [enqueue(database) for _ in range(20)]

    def work(number: int) -> set[uuid.UUID]:
        if number:
            return {one for one in queued if patiently(cancel, database, one) is None}
        mine: set[uuid.UUID] = set()
        while taken := patiently(claim, database, 1):
            mine.update(ids(taken))
        return mine

    claimed, cancelled = at_once(2, work)
    assert (set(queued), set()) == (claimed | cancelled, claimed & cancelled)
    for message_id in queued:
        expected = "cancelled" if message_id in cancelled else "processing"
        assert expected == row(database, message_id).status


def test_retries_at_once_are_one(database: Database) -> None:
    """Of many that retry a message at the same time one does it, and one event says so."""
    message_id = message_in(database, Status.HELD)
    answers = at_once(4, lambda _: patiently(retry, database, message_id))
    assert [None, *[Obstacle.DUE] * 3] == sorted(answers, key=str)
    assert 1 == len(events(database))


def test_double_submit_at_once_is_one(database: Database) -> None:
    """The same key from many sides at the same time makes one message."""
    message_id = message_in(database, Status.SENT)
    answers = at_once(4, lambda _: patiently(resend, database, message_id, "key"))
    assert 1 == len(set(answers))
    assert 2 == len(rows(database, Message.id))


def test_retry_leaves_an_open_token_alone(database: Database) -> None:
    """A retry itself touches no token: a link that may have arrived works until a new one is."""
    message_id = message_in(database, Status.HELD)
    digest = add_token(database, message_id)
    change_token(database, digest, seed=None)
    retry(database, message_id)
    assert token(database, digest).consumed_at is None
