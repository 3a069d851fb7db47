"""The queue: what joins a transaction, who wins a claim, and what a lost lease may still write."""

from __future__ import annotations

import dataclasses
import itertools
import uuid
from datetime import timedelta
from typing import Any

import pytest

from flask_courier.core.errors import StatusError
from flask_courier.core.messages import Claim, Lane, Rendered
from flask_courier.core.replies import TRANSPORT_OUTCOMES, Outcome
from flask_courier.core.retry import Decision
from flask_courier.core.status import FINAL, TRANSITIONS, Status
from flask_courier.storage import attempts, contents, dialect, outbox
from flask_courier.storage.models import Attempt, Message, Token
from flask_courier.storage.uow import Conflict, Database, Session
from tests.databases import every_database
from tests.queue_rows import (
    LEASE,
    add_attempt,
    add_token,
    ago,
    at_once,
    change,
    claim,
    claimed,
    enqueue,
    hold,
    ids,
    message,
    reclaim,
    record,
    result,
    row,
    rows,
    settlement,
)

pytestmark = every_database

FINAL_FROM_PROCESSING = sorted(TRANSITIONS[Status.PROCESSING] & FINAL)


def lost(database: Database) -> Claim:
    """A claim whose lease ran out, on a message that another worker has taken since."""
    first = claimed(database)
    reclaim(database, first)
    assert [first.id] == ids(claim(database))
    return first


def keep_history(database: Database, taken: Claim, worker: str = "w1") -> None:
    """Record an accepted attempt of a message that another worker decides about."""
    found = [(taken.id, result())]
    database.transact(lambda session: outbox.keep_history(session, found, worker=worker))


def test_enqueued_row(database: Database) -> None:
    """A queued message is due at once, unattempted, and ends with its lifetime."""
    kept = row(database, enqueue(database, context={"a": ["é", None]}, requester_key="k"))
    assert ("queued", 0, 0, 0) == (kept.status, kept.lane, kept.attempts, kept.claims)
    assert ({"a": ["é", None]}, "k") == (kept.context, kept.requester_key)
    assert (None, None, None) == (kept.lease_token, kept.prepared_at, kept.sent_at)
    assert abs(kept.expires_at - kept.created_at - timedelta(minutes=30)) < timedelta(seconds=1)
    assert abs(kept.next_attempt_at - kept.created_at) < timedelta(seconds=1)


def test_id_is_of_its_moment(database: Database) -> None:
    """An id tells when its message was queued."""
    kept = row(database, enqueue(database))
    seconds = kept.created_at.timestamp() - (kept.id.int >> 80) / 1000
    assert abs(seconds) < 5


def test_delayed_message_is_not_due(database: Database) -> None:
    """A message with a delay is not claimed before."""
    message_id = enqueue(database, delay=timedelta(seconds=30))
    assert [] == claim(database)
    change(database, message_id, next_attempt_at=ago(seconds=0))
    assert [message_id] == ids(claim(database))


def test_claim_answers_the_message(database: Database) -> None:
    """A claim carries what its preparation needs, as it is after claiming."""
    message_id = enqueue(database, account_ref="7", locale="de", context={"n": 1})
    [taken] = claim(database)
    kept = row(database, message_id)
    own = {"claimed_at": taken.claimed_at}
    names = {field.name for field in dataclasses.fields(Claim)} - own.keys()
    values = {name: getattr(kept, name) for name in names} | own
    assert Claim(**values) == taken
    assert ("processing", 1, {"n": 1}) == (kept.status, taken.claims, taken.context)


def test_claim_takes_a_lease(database: Database) -> None:
    """A claim is leased from the database's present for as long as it was asked."""
    taken = claimed(database)
    now = database.transact(dialect.now)
    left = row(database, taken.id).lease_until - now
    assert timedelta(seconds=50) < left <= LEASE
    assert 32 == len(taken.lease_token)


def test_nothing_is_claimed_twice(database: Database) -> None:
    """What one worker has claimed is not there for the next."""
    message_id = enqueue(database)
    assert [[message_id], []] == [ids(claim(database)), ids(claim(database))]


def test_claim_takes_at_most_its_count(database: Database) -> None:
    """A worker gets no more than it has room for, the longest due first."""
    queued = [enqueue(database) for _ in range(5)]
    for place, message_id in enumerate(queued):
        change(database, message_id, next_attempt_at=ago(minutes=place))
    assert sorted(queued[2:]) == ids(claim(database, 3))


def test_account_mail_overtakes(database: Database) -> None:
    """The account lane is emptied before a notice is claimed, however long that has waited."""
    notice = enqueue(database, lane=Lane.NOTICE)
    change(database, notice, next_attempt_at=ago(minutes=5))
    account = [enqueue(database) for _ in range(2)]
    assert [sorted(account), [notice]] == [ids(claim(database, 2)), ids(claim(database, 2))]


def test_one_claim_reaches_over_both_lanes(database: Database) -> None:
    """Room that account mail leaves goes to notices in the same claim."""
    queued = [enqueue(database, lane=lane) for lane in (Lane.NOTICE, Lane.ACCOUNT)]
    assert sorted(queued) == sorted(ids(claim(database, 2)))


def test_overdue_message_is_not_claimed(database: Database) -> None:
    """A message whose time is over is never sent, even before a sweep has ended it."""
    message_id = enqueue(database)
    change(database, message_id, expires_at=ago(seconds=1))
    assert [] == claim(database)


def test_parallel_claims_share_the_queue(database: Database) -> None:
    """Four workers at once claim 400 messages, each message once."""
    with database.unit_of_work() as session:
        queued = [outbox.enqueue(session, message()) for _ in range(400)]

    def work(_: int) -> list[uuid.UUID]:
        mine: list[uuid.UUID] = []
        while taken := claim_patiently(database):
            mine += ids(taken)
        return mine

    shares = at_once(4, work)
    assert sorted(queued) == sorted(itertools.chain(*shares))
    assert {1} == set(sa_column(database, Message.claims))


def claim_patiently(database: Database) -> list[Claim]:
    """Claim as a worker does: two conflicts in a row are asked again."""
    while True:
        try:
            return claim(database, 10)
        except Conflict:
            continue


def sa_column(database: Database, column: Any) -> list[Any]:
    """The values of one column."""
    return [found[0] for found in rows(database, column)]


def test_expired_lease_is_reclaimed(database: Database) -> None:
    """The message of a worker that died is queued again, due now, and says why."""
    taken = claimed(database)
    change(database, taken.id, lease_until=ago(seconds=1))
    assert 1 == database.transact(outbox.reclaim_expired_leases)
    kept = row(database, taken.id)
    assert ("queued", "lease_expired", None) == (kept.status, kept.reason, kept.lease_until)
    [again] = claim(database)
    assert (taken.id, 2, 0) == (again.id, again.claims, again.attempts)
    assert taken.lease_token != again.lease_token


def test_running_lease_is_not_reclaimed(database: Database) -> None:
    """As long as a lease runs, its message stays with its worker."""
    taken = claimed(database)
    assert 0 == database.transact(outbox.reclaim_expired_leases)
    assert "processing" == row(database, taken.id).status


def test_held_lease_is_renewed(database: Database) -> None:
    """A worker that is still at it gets a new lease from now on."""
    taken = claimed(database)
    change(database, taken.id, lease_until=ago(seconds=1))
    assert {taken.id} == hold(database, taken)
    assert 0 == database.transact(outbox.reclaim_expired_leases)


@pytest.mark.parametrize("call", ["hold", "close", "release", "give_back", "keep_history"])
def test_lost_lease_writes_nothing_to_the_message(database: Database, call: str) -> None:
    """A worker that lost its lease changes no column of the message, and is told so if it asks."""
    taken = lost(database)
    before = row(database, taken.id)
    found = [(taken.id, result())]
    calls: dict[str, Any] = {
        "hold": lambda s: outbox.hold(s, [taken], lease=timedelta(hours=1)),
        "close": lambda s: outbox.close(s, taken, Status.ABANDONED, "template", error="e"),
        "release": lambda s: outbox.release(s, taken, reason="r", delay=LEASE),
        "give_back": lambda s: outbox.give_back(s, [taken]),
        "keep_history": lambda s: outbox.keep_history(s, found, worker="w"),
    }
    assert not database.transact(calls[call])
    assert before == row(database, taken.id)


@pytest.mark.parametrize("status", [Status.SENT, Status.ABANDONED])
def test_lost_lease_is_no_result(database: Database, status: Status) -> None:
    """A result of a lease that was lost is refused with an error, and nothing of it is written."""
    taken = lost(database)
    before = row(database, taken.id)
    with pytest.raises(outbox.LeaseLost):
        record(database, settlement(taken, Decision(status)))
    assert (before, []) == (row(database, taken.id), rows(database, Attempt.number))


@pytest.mark.parametrize("status", [Status.SENT, Status.ABANDONED])
def test_one_lost_lease_takes_back_the_batch(database: Database, status: Status) -> None:
    """One lease of a batch that was lost leaves every message of it as it was."""
    gone, kept = lost(database), claimed(database)
    settlements = [settlement(taken, Decision(status)) for taken in (kept, gone)]
    with pytest.raises(outbox.LeaseLost):
        record(database, *settlements)
    assert ("processing", []) == (row(database, kept.id).status, rows(database, Attempt.number))


def test_lost_lease_keeps_the_attempt(database: Database) -> None:
    """What a worker did after it lost its lease stays in the history."""
    keep_history(database, lost(database))
    assert [(1, "w1", "accepted")] == rows(
        database, Attempt.number, Attempt.worker, Attempt.outcome
    )


def test_lost_lease_keeps_the_seed(database: Database) -> None:
    """The worker that has the message now can still derive its token."""
    taken = lost(database)
    add_token(database, taken.id)
    with pytest.raises(outbox.LeaseLost):
        record(database, settlement(taken, Decision(Status.SENT)))
    assert [(bytes(range(16)).hex(),)] == rows(database, Token.seed)


def test_two_workers_may_record_one_message_at_once(database: Database) -> None:
    """A worker that lost its lease and the one that holds it both get their attempt kept."""
    first = lost(database)
    now_held = dataclasses.replace(first, lease_token=row(database, first.id).lease_token)
    workers = [first, now_held] * 4

    def work(number: int) -> bool:
        try:
            record(database, settlement(workers[number], Decision(Status.SENT)))
        except outbox.LeaseLost:
            keep_history(database, workers[number], f"late{number}")
            return False
        return True

    assert 1 == sum(at_once(8, work))
    assert list(range(1, 9)) == sa_column(database, Attempt.number)


def test_overdue_messages_expire(database: Database) -> None:
    """A sweep ends queued messages whose time is over, wipes their seeds, and counts them."""
    overdue, live = enqueue(database), enqueue(database)
    digest = add_token(database, overdue)
    change(database, overdue, expires_at=ago(seconds=1))
    assert 1 == database.transact(outbox.expire_overdue)
    kept = row(database, overdue)
    assert ("expired", None, None) == (kept.status, kept.lease_token, kept.lease_until)
    assert [(digest, None)] == rows(database, Token.digest, Token.seed)
    assert "queued" == row(database, live).status


def test_message_under_way_does_not_expire(database: Database) -> None:
    """A message that a worker holds is for that worker to end."""
    taken = claimed(database)
    change(database, taken.id, expires_at=ago(seconds=1))
    assert 0 == database.transact(outbox.expire_overdue)
    assert "processing" == row(database, taken.id).status


def supersede(database: Database, by: uuid.UUID) -> int:
    """Cancel older recovery mail of account 1."""
    return database.transact(
        lambda session: outbox.supersede(session, kind="recovery", by={"1": by})
    )


def test_supersede_cancels_older_queued_mail(database: Database) -> None:
    """An older queued message of the same kind and account is cancelled, its seed wiped."""
    old = enqueue(database, account_ref="1")
    add_token(database, old)
    assert 1 == supersede(database, uuid.UUID(int=2**128 - 1))
    kept = row(database, old)
    assert ("cancelled", "superseded", None) == (kept.status, kept.reason, kept.lease_token)
    assert [(None,)] == rows(database, Token.seed)


@pytest.mark.parametrize(
    "changes",
    [{"kind": "verification"}, {"account_ref": "2"}, {"account_ref": None}],
    ids=["kind", "account", "unresolved"],
)
def test_supersede_spares_other_mail(database: Database, changes: dict[str, Any]) -> None:
    """Mail of another kind or account stays queued."""
    spared = enqueue(database, **({"account_ref": "1"} | changes))
    assert 0 == supersede(database, uuid.UUID(int=2**128 - 1))
    assert "queued" == row(database, spared).status


@pytest.mark.parametrize("other", ["A1", "á1"])
def test_references_differ_by_case_and_accent(database: Database, other: str) -> None:
    """No collation takes two accounts for one: their references are compared to the byte."""
    spared = enqueue(database, account_ref=other)
    newest = uuid.UUID(int=2**128 - 1)
    cancelled = database.transact(
        lambda session: outbox.supersede(session, kind="recovery", by={"a1": newest})
    )
    assert (0, "queued") == (cancelled, row(database, spared).status)


def test_supersede_spares_newer_mail(database: Database) -> None:
    """Only what was queued before the newer message is cancelled, never itself."""
    newest = enqueue(database, account_ref="1")
    assert 0 == supersede(database, newest)


def test_supersede_spares_what_is_under_way(database: Database) -> None:
    """A message that a worker holds is not cancelled under it."""
    taken = claimed(database, account_ref="1")
    assert 0 == supersede(database, uuid.UUID(int=2**128 - 1))
    assert "processing" == row(database, taken.id).status


@pytest.mark.parametrize("status", FINAL_FROM_PROCESSING)
def test_final_status_wipes_the_seed(database: Database, status: Status) -> None:
    """Whatever end an attempt brings a message to, its token cannot be derived any more."""
    taken = claimed(database)
    add_token(database, taken.id)
    record(database, settlement(taken, Decision(status, "why")))
    kept = row(database, taken.id)
    # Of what was sent there is nothing to explain.
    reason = None if status is Status.SENT else "why"
    assert (status.value, reason, None, None) == (
        kept.status,
        kept.reason,
        kept.lease_token,
        kept.lease_until,
    )
    assert [(None,)] == rows(database, Token.seed)


@pytest.mark.parametrize("status", FINAL_FROM_PROCESSING)
def test_seed_is_kept_where_mail_stays_here(database: Database, status: Status) -> None:
    """With ``keep_seed`` the log page can show the link of a final message."""
    taken = claimed(database)
    add_token(database, taken.id)
    record(database, settlement(taken, Decision(status)), keep_seed=True)
    assert [(bytes(range(16)).hex(),)] == rows(database, Token.seed)


def test_retry_keeps_the_seed(database: Database) -> None:
    """A message that waits for its next attempt will need the same token again."""
    taken = claimed(database)
    add_token(database, taken.id)
    due = database.transact(dialect.now) + timedelta(seconds=20)
    record(database, settlement(taken, Decision(Status.QUEUED, "deferred", due)))
    kept = row(database, taken.id)
    assert ("queued", "deferred", due) == (kept.status, kept.reason, kept.next_attempt_at)
    assert [(bytes(range(16)).hex(),)] == rows(database, Token.seed)


def test_sent_message(database: Database) -> None:
    """An accepted message knows when, through what, and shows no error of earlier attempts."""
    taken = claimed(database)
    change(database, taken.id, last_error="4.7.1 come back later")
    record(database, settlement(taken, Decision(Status.SENT)))
    kept = row(database, taken.id)
    assert (1, 250, None) == (kept.attempts, kept.last_code, kept.last_error)
    assert "smtp://mail.example:587" == kept.transport
    assert kept.created_at <= kept.sent_at <= database.transact(dialect.now)


def test_failed_message_keeps_the_servers_words(database: Database) -> None:
    """The last error is the reply, 512 characters of it."""
    taken = claimed(database)
    words = "é" * 600
    failed = result(Outcome.REJECTED, code=550, text=words)
    record(database, settlement(taken, Decision(Status.ABANDONED, "rejected"), failed))
    kept = row(database, taken.id)
    assert (550, words[:512], None) == (kept.last_code, kept.last_error, kept.sent_at)


@pytest.mark.parametrize("outcome", sorted(TRANSPORT_OUTCOMES))
def test_transport_fault_uses_no_attempt(database: Database, outcome: Outcome) -> None:
    """A fault of the transport leaves the message's attempts as they were."""
    taken = claimed(database)
    fault = result(outcome, code=None, text="refused")
    record(database, settlement(taken, Decision(Status.QUEUED, "transport_fault"), fault))
    assert (0, 1) == (row(database, taken.id).attempts, len(rows(database, Attempt.number)))


def test_attempt_keeps_everything(database: Database) -> None:
    """The history keeps the server, its encryption and its words, time to the microsecond."""
    taken = claimed(database)
    full = result(
        host="mail.example",
        address="192.0.2.1",
        tls_version="TLSv1.3",
        tls_cipher="TLS_AES_256_GCM_SHA384",
        enhanced_code="2.0.0",
        cause="accepted_late",
        text="2.0.0 queued 🙂\nas 1",
    )
    record(database, settlement(taken, Decision(Status.SENT), full))
    [kept] = rows(database, Attempt.__table__)
    assert {
        "message_id": taken.id,
        "number": 1,
        "worker": "w1",
        "transport": "smtp://mail.example:587",
        "host": "mail.example",
        "address": "192.0.2.1",
        "tls_version": "TLSv1.3",
        "tls_cipher": "TLS_AES_256_GCM_SHA384",
        "phase": "dot",
        "outcome": "accepted",
        "code": 250,
        "enhanced_code": "2.0.0",
        "cause": "accepted_late",
        "reply": "2.0.0 queued 🙂\nas 1",
        "started_at": full.started_at,
        "duration_ms": 42,
    } == dict(kept._mapping)


def test_attempts_count_on(database: Database) -> None:
    """Each attempt of a message has the next number."""
    taken = claimed(database)
    for _ in range(2):
        due = database.transact(dialect.now)
        record(database, settlement(taken, Decision(Status.QUEUED, "deferred", due)))
        [taken] = claim(database)
    assert [1, 2] == sa_column(database, Attempt.number)
    assert (2, 3) == (taken.attempts, taken.claims)


def test_unknown_attempts_are_counted(database: Database) -> None:
    """Of the message's own attempts, those that nobody knows the end of are counted apart."""
    taken, other = claimed(database), claimed(database)
    for outcome in (Outcome.UNKNOWN, Outcome.DEFERRED):
        for message_id in (taken.id, taken.id, other.id):
            add_attempt(database, message_id, result(outcome))
    assert 2 == database.transact(lambda session: attempts.count_unknown(session, taken.id))
    assert 4 == database.transact(lambda session: attempts.count(session, taken.id))


@pytest.mark.parametrize("target", sorted(set(Status) - TRANSITIONS[Status.PROCESSING]))
def test_illegal_move_raises(database: Database, target: Status) -> None:
    """A decision that is no move of the table stops before anything is written."""
    taken = claimed(database)
    with pytest.raises(StatusError, match=f"^a message that is processing cannot become {target};"):
        record(database, settlement(taken, Decision(target)))
    assert ("processing", []) == (row(database, taken.id).status, rows(database, Attempt.number))


def test_close_ends_without_an_attempt(database: Database) -> None:
    """A message can end before anything is sent; its reason and error are kept, its seed wiped."""
    taken = claimed(database)
    add_token(database, taken.id)
    assert database.transact(
        lambda session: outbox.close(session, taken, Status.ABANDONED, "template", error="x" * 600)
    )
    kept = row(database, taken.id)
    assert ("abandoned", "template", 0) == (kept.status, kept.reason, kept.attempts)
    assert ("x" * 512, [(None,)]) == (kept.last_error, rows(database, Token.seed))


def test_close_without_an_error_keeps_the_last_one(database: Database) -> None:
    """A message that ends after attempts still shows what the server said."""
    taken = claimed(database)
    change(database, taken.id, last_error="4.7.1 later")
    database.transact(lambda session: outbox.close(session, taken, Status.SUPPRESSED, "limit"))
    kept = row(database, taken.id)
    assert ("suppressed", "limit", "4.7.1 later") == (kept.status, kept.reason, kept.last_error)


def test_release_gives_back(database: Database) -> None:
    """A released message is queued, unattempted, due after the delay."""
    taken = claimed(database)
    assert database.transact(
        lambda session: outbox.release(session, taken, reason="unknown_kind", delay=LEASE)
    )
    kept = row(database, taken.id)
    left = kept.next_attempt_at - database.transact(dialect.now)
    assert ("queued", "unknown_kind", 0) == (kept.status, kept.reason, kept.attempts)
    assert timedelta(seconds=50) < left <= LEASE


def prepare(database: Database, taken: Claim, rendered: Rendered) -> Any:
    """Store what was rendered for a claim; answer the date of its mail."""
    mail = outbox.Prepared(taken, "Ada@example.com", "7", "<1@acme>", rendered)

    def work(session: Session) -> Any:
        contents.drop(session, [taken.id])
        date = dialect.now(session)
        outbox.prepared(session, [mail], date=date)
        return date

    return database.transact(work)


def load(database: Database, *message_ids: uuid.UUID) -> dict[uuid.UUID, Rendered]:
    """What was rendered for messages."""
    return database.transact(lambda session: contents.load(session, message_ids))


def test_prepared_stores_the_mail(database: Database) -> None:
    """A prepared message names its recipient, account and Message-ID, and its text is kept."""
    taken = claimed(database)
    rendered = Rendered("Sübject 🙂", "text\r\n", "<p>html</p>", "0" * 32)
    date = prepare(database, taken, rendered)
    kept = row(database, taken.id)
    assert ("Ada@example.com", "7", "<1@acme>") == (
        kept.recipient,
        kept.account_ref,
        kept.message_id_header,
    )
    assert (date, {taken.id: rendered}) == (kept.prepared_at, load(database, taken.id))


def test_prepared_again_replaces_the_mail(database: Database) -> None:
    """A message that is prepared a second time keeps only what was rendered last."""
    taken = claimed(database)
    for subject in ("one", "two"):
        prepare(database, taken, Rendered(subject, "text", None))
    assert {taken.id: Rendered("two", "text", None)} == load(database, taken.id)


def test_each_message_has_its_own_mail(database: Database) -> None:
    """Mails that are stored and loaded together are those of their messages."""
    first, second = claimed(database), claimed(database)
    mails = {taken.id: Rendered(str(taken.id), "text", None) for taken in (first, second)}
    together = [
        outbox.Prepared(taken, f"{taken.id}@example.com", None, "<1@acme>", mails[taken.id])
        for taken in (first, second)
    ]
    database.transact(lambda session: outbox.prepared(session, together, date=dialect.now(session)))
    assert mails == load(database, second.id, first.id)
    recipients = [row(database, taken.id).recipient for taken in (first, second)]
    assert [f"{first.id}@example.com", f"{second.id}@example.com"] == recipients


def test_unprepared_message_has_no_content(database: Database) -> None:
    """Before it is rendered, a message has no text."""
    assert {} == load(database, enqueue(database))
