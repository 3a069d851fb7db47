"""A dead link in hand: whose it was, so that a new mail can go to the same account."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace

from sqlalchemy.orm import Session

from flask_courier.core.tokens import Secret
from flask_courier.flows.challenge import Asked, Challenge, Settings
from flask_courier.flows.redemption import DeadToken, inspect
from flask_courier.storage import outbox


@dataclass(frozen=True)
class Renewal:
    """What a new mail repeats of the one with the dead link."""

    recipient: str
    account_ref: str
    message_id: uuid.UUID

    def asked(self, asked: Asked) -> Asked:
        """The request, for the account that the dead link was for."""
        return replace(asked, account_ref=self.account_ref, resend_of=self.message_id)


def find(
    session: Session, challenge: Challenge, settings: Settings, token: Secret
) -> Renewal | None:
    """What to repeat, if the token is authentic; an open one may be asked for again, too."""
    found = inspect(session, challenge, settings, token)
    reference, message_id = found.account_ref, found.message_id
    if reference is None or message_id is None:
        return None
    if isinstance(found, DeadToken) and found.fulfilled:
        return None
    queued = outbox.find_queued(session, message_id)
    return None if queued is None else Renewal(queued.recipient, reference, message_id)
