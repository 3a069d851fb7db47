"""Messages and tokens in the tables: how storage tests put them there and look at them.

Time is never waited for: a test moves the times of a row instead.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from threading import Barrier
from typing import Any, TypeVar

import sqlalchemy as sa

from flask_courier.core.messages import Claim, Lane, NewMessage, Rendered, SendResult
from flask_courier.core.replies import Outcome, Phase
from flask_courier.core.retry import Decision
from flask_courier.core.tokens import Key, Purpose, Seed
from flask_courier.storage import attempts, contents, outbox, tokens
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Message, Token
from flask_courier.storage.uow import Database

T = TypeVar("T")

LEASE = timedelta(seconds=60)
KEY = Key(b"a secret of more than sixteen")
ENTROPY = bytes(range(16))


def message(**changes: Any) -> NewMessage:
    """A recovery mail to Ada, as a request queues it."""
    values: dict[str, Any] = {
        "kind": "recovery",
        "recipient": "ada@example.com",
        "lane": Lane.ACCOUNT,
        "lifetime": timedelta(minutes=30),
    }
    return NewMessage(**(values | changes))


def enqueue(database: Database, **changes: Any) -> uuid.UUID:
    """Queue a message and commit."""
    return database.transact(lambda session: outbox.enqueue(session, message(**changes)))


def claim(database: Database, count: int = 10, **options: Any) -> list[Claim]:
    """Claim what is due and commit."""
    return database.transact(
        lambda session: outbox.claim(session, count=count, lease=LEASE, **options)
    )


def claimed(database: Database, **changes: Any) -> Claim:
    """Queue a message and claim it."""
    message_id = enqueue(database, **changes)
    return next(taken for taken in claim(database) if taken.id == message_id)


def result(outcome: Outcome = Outcome.ACCEPTED, **changes: Any) -> SendResult:
    """What an attempt came to."""
    values: dict[str, Any] = {
        "phase": Phase.DOT,
        "transport": "smtp://mail.example:587",
        "started_at": datetime(2026, 9, 27, 12, 0, 0, 123456, tzinfo=timezone.utc),
        "duration": timedelta(milliseconds=42),
        "code": 250,
        "text": "2.0.0 queued",
    }
    return SendResult(outcome, **(values | changes))


def row(database: Database, message_id: uuid.UUID) -> Any:
    """The message's row: one attribute a column."""
    statement = sa.select(Message.__table__).where(Message.id == message_id)
    return database.transact(lambda session: run(session, statement).one())


def rows(database: Database, *columns: Any) -> list[Any]:
    """These columns of a table, sorted."""
    return database.transact(lambda session: sorted(run(session, sa.select(*columns)).all()))


def change(database: Database, message_id: uuid.UUID, **values: Any) -> None:
    """Change the message's row, for instance its times."""
    statement = sa.update(Message).where(Message.id == message_id).values(**values)
    database.transact(lambda session: run(session, statement))


def change_token(database: Database, digest: str, **values: Any) -> None:
    """Change the token's row, for instance its times."""
    statement = sa.update(Token).where(Token.digest == digest).values(**values)
    database.transact(lambda session: run(session, statement))


def ago(**units: float) -> db_time:
    """The database's clock, so long ago."""
    return db_time(-timedelta(**units))


def add_token(database: Database, message_id: uuid.UUID, **changes: Any) -> str:
    """Store a token of the message; answer its digest."""
    purpose = changes.pop("purpose", Purpose.RECOVERY)
    seed = Seed(purpose, str(message_id), changes.pop("entropy", ENTROPY))
    values: dict[str, Any] = {
        "account_ref": "1",
        "address_key": "address",
        "code_digest": "code",
        "fingerprint": "fingerprint",
        "lifetime": timedelta(minutes=30),
    }
    token = tokens.NewToken(key=KEY, seed=seed, message_id=message_id, **(values | changes))
    database.transact(lambda session: tokens.add(session, [token]))
    return KEY.digest(KEY.token_id(seed))


def add_content(database: Database, message_id: uuid.UUID, rendered: Rendered) -> None:
    """Store what was rendered for the message."""
    database.transact(lambda session: contents.store(session, [(message_id, rendered)]))


def add_attempt(database: Database, message_id: uuid.UUID, ended: SendResult) -> None:
    """Store an attempt of the message, and change nothing of the message."""
    found = [(message_id, ended)]
    database.transact(lambda session: attempts.add(session, found, worker="w"))


def settlement(
    taken: Claim, decision: Decision, ended: SendResult | None = None
) -> outbox.Settlement:
    """An attempt, accepted if nothing else is said, and the move that follows it."""
    return outbox.Settlement(taken, ended or result(), decision, carries_token=True)


def record(database: Database, *settlements: outbox.Settlement, keep_seed: bool = False) -> None:
    """Record attempts and what they led to, and commit."""
    database.transact(
        lambda session: outbox.record(session, settlements, worker="w1", keep_seed=keep_seed)
    )


def hold(database: Database, *claims: Claim) -> set[uuid.UUID]:
    """Renew leases and commit; answer what is held."""
    held = database.transact(lambda session: outbox.hold(session, claims, lease=LEASE))
    return {taken.id for taken in held}


def reclaim(database: Database, *claims: Claim) -> None:
    """Let the leases of ``claims`` run out, and a sweep bring their messages back."""
    for taken in claims:
        change(database, taken.id, lease_until=ago(seconds=1))
    database.transact(outbox.reclaim_expired_leases)


def at_once(count: int, work: Callable[[int], T]) -> list[T]:
    """Run ``work`` in ``count`` threads that start together; answer what each answered."""
    barrier = Barrier(count)

    def start(number: int) -> T:
        barrier.wait(timeout=30)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(start, range(count)))


def ids(claims: Sequence[Claim]) -> list[uuid.UUID]:
    """The ids of claims, in their order."""
    return [taken.id for taken in claims]
