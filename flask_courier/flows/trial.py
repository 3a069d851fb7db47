"""A mail that says nothing: somebody here wants to see one arrive."""

from __future__ import annotations

import uuid
from datetime import timedelta

from sqlalchemy.orm import Session

from flask_courier.core.messages import Lane, NewMessage
from flask_courier.storage import log, outbox

KIND = "test"
#: Whoever asked is watching: what has not gone out by then is of no use.
_LIFETIME = timedelta(minutes=10)


def send(
    session: Session,
    recipient: str,
    *,
    actor: str,
    locale: str | None = None,
    idempotency_key: str | None = None,
) -> uuid.UUID:
    """Queue a test mail as any other, so that it shows what happens to all mail; answer its id.

    :param recipient: an address in its normal form.
    :param actor: who asked for it, as the log shows it.
    :param idempotency_key: a second call with the same one queues nothing.
    """
    message = NewMessage(
        kind=KIND,
        recipient=recipient,
        lane=Lane.ACCOUNT,
        lifetime=_LIFETIME,
        locale=locale,
        idempotency_key=idempotency_key,
    )
    message_id = outbox.enqueue(session, message)
    log.add_event(session, message_id, actor=actor, what="test_asked")
    return message_id
