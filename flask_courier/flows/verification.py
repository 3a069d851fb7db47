"""E-mail verification: proof that the account's owner reads mail at the account's address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core.accounts import AccountState
from flask_courier.core.tokens import Purpose, Secret
from flask_courier.flows import proof
from flask_courier.flows.challenge import Challenge, Settings, grant
from flask_courier.flows.redemption import OpenToken, redeem

#: A verification link dies with the address it would verify; a new password leaves it alone.
VERIFICATION = Challenge(
    purpose=Purpose.VERIFICATION,
    path="verification",
    covers=lambda state: (state.address, state.security_stamp),
    refuses=lambda state: "already_verified" if state.verified else None,
    lifetime=lambda config: config.verification_lifetime,
    disownable=True,
)


@dataclass(frozen=True)
class Verified:
    """An address was verified."""

    #: Opens the page for a new password, where the old one may have been somebody else's.
    recovery: Secret | None = None


def complete(
    session: Session,
    settings: Settings,
    token: OpenToken,
    *,
    recovery: Challenge,
    browser: str | None = None,
) -> Verified | None:
    """Mark the address verified, in the caller's transaction; None if it is too late.

    :param recovery: the flow that sets a new password.
    :param browser: names the visitor's browser, if it has a name.
    """
    same_browser = proof.is_same_browser(session, settings, token, browser)
    granted: list[Secret] = []

    def act(session: Session, account: Any, state: AccountState) -> None:
        if not proof.accept(session, settings, account, state, same_browser=same_browser):
            return
        secret = grant(
            session,
            recovery,
            settings,
            account,
            message_id=token.message_id,
            lifetime=recovery.lifetime(settings.config),
        )
        granted.append(secret)

    if not redeem(session, VERIFICATION, settings, token, act):
        return None
    return Verified(*granted)
