"""What an owner does about mail that somebody else asked for: "this was not me"."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core.accounts import AccountState
from flask_courier.core.tokens import Ending, Purpose
from flask_courier.flows.challenge import Challenge, Settings
from flask_courier.flows.redemption import OpenToken, redeem
from flask_courier.storage import outbox, tokens

#: Nothing that an intruder can change ends it: the row names the account.
NOT_ME = Challenge(
    purpose=Purpose.NOT_ME,
    path="not-me",
    covers=lambda _state: (),
    lifetime=lambda config: config.undo_lifetime,
    has_code=False,
    needs_active=False,
    renewable=False,
)

#: What an owner takes back; links that undo an address change stay good.
_ENDED = [purpose for purpose in Purpose if purpose is not Purpose.EMAIL_UNDO]


def complete(session: Session, settings: Settings, token: OpenToken) -> bool:
    """End every open flow and login session of the account; False if it is too late.

    With ``COURIER_NOT_ME_FREEZE`` the account then gets no mail for recovery or a new address for
    that long.
    """

    def act(session: Session, account: Any, state: AccountState) -> None:
        reference = token.account_ref
        outbox.withdraw(
            session,
            kinds=[purpose.value for purpose in _ENDED],
            account_ref=reference,
            recipient=state.address,
        )
        tokens.end(session, account_ref=reference, purposes=_ENDED, ending=Ending.DISOWNED)
        settings.accounts.revoke_sessions(session, account)
        settings.freeze(session, reference)

    return redeem(session, NOT_ME, settings, token, act, what="disowned")
