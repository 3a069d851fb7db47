"""What support staff do with messages, one or many: the same for page, JSON and command line."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from flask_courier.core.actions import Action, Obstacle
from flask_courier.storage.outbox import operator
from flask_courier.storage.uow import Conflict, Database

#: Messages a transaction acts on at most: workers and visitors wait for it.
_BATCH = 50


@dataclass(frozen=True)
class Answer:
    """What became of one message."""

    id: uuid.UUID
    done: bool
    why_not: Obstacle | None = None
    #: The message that was queued, where it was sent anew.
    new_id: uuid.UUID | None = None


def act(
    session: Session,
    action: Action,
    message_id: uuid.UUID,
    *,
    actor: str,
    key: str | None = None,
    known: int | None = None,
) -> Answer:
    """Do ``action`` with one message, in the caller's transaction, which this must begin.

    :param actor: who does it, as the log shows it.
    :param key: done once, however often it is asked for with this key; for ``RESEND`` alone, as is
    :param known: how often the message was sent anew as far as ``actor`` knows.
    """
    came: uuid.UUID | Obstacle | None
    match action:
        case Action.RETRY:
            came = operator.retry(session, message_id, actor=actor)
        case Action.CANCEL:
            came = operator.cancel(session, message_id, actor=actor)
        case Action.DELETE_CONTENT:
            came = operator.delete_content(session, message_id, actor=actor)
        case Action.RESEND:
            came = operator.resend(
                session, message_id, actor=actor, idempotency_key=key, known=known
            )
    if isinstance(came, Obstacle):
        return Answer(message_id, done=False, why_not=came)
    return Answer(message_id, done=True, new_id=came)


def act_on_all(
    database: Database, action: Action, message_ids: Sequence[uuid.UUID], *, actor: str
) -> list[Answer]:
    """Do ``action`` with each of these messages; what is not possible for one stops no other.

    Whatever was sent anew before is not sent once more: that is decided message by message.
    """
    known = 0 if action is Action.RESEND else None
    answers: dict[uuid.UUID, Answer] = {}
    for batch in _batches(message_ids):

        def work(session: Session, batch: Sequence[uuid.UUID] = batch) -> list[Answer]:
            return [act(session, action, one, actor=actor, known=known) for one in batch]

        try:
            done = database.transact(work)
        except Conflict:
            done = [Answer(one, done=False, why_not=Obstacle.BUSY) for one in batch]
        answers |= {answer.id: answer for answer in done}
    return [answers[one] for one in dict.fromkeys(message_ids)]


def times_resent(session: Session, message_ids: Sequence[uuid.UUID]) -> Counter[uuid.UUID]:
    """How often each of these messages was sent anew; reads only."""
    return operator.times_resent(session, message_ids)


def _batches(message_ids: Sequence[uuid.UUID]) -> Iterator[list[uuid.UUID]]:
    """In one order for everybody: of two that take the same rows, one waits for the other."""
    ordered = sorted(set(message_ids))
    for begin in range(0, len(ordered), _BATCH):
        yield ordered[begin : begin + _BATCH]
