"""E-mail verification: proof that the account's owner reads mail at the account's address."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core.accounts import AccountState
from flask_courier.core.tokens import Purpose
from flask_courier.flows.challenge import Challenge, OpenToken, Settings, redeem

#: A verification link dies with the address it would verify; a new password leaves it alone.
VERIFICATION = Challenge(
    purpose=Purpose.VERIFICATION,
    covers=lambda state: (state.address, state.security_stamp),
    refuses=lambda state: "already_verified" if state.verified else None,
    lifetime=lambda config: config.verification_lifetime,
)


def complete(session: Session, settings: Settings, token: OpenToken) -> bool:
    """Mark the address verified, in the caller's transaction; False if it is too late."""

    def act(session: Session, account: Any, state: AccountState) -> None:
        settings.accounts.mark_verified(session, account, state.address)

    return redeem(session, VERIFICATION, settings, token, act)
