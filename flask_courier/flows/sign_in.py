"""Signing in by mail, where the application has switched it on."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core.accounts import AccountState
from flask_courier.core.tokens import Purpose
from flask_courier.flows import proof
from flask_courier.flows.challenge import Challenge, Settings, credentials
from flask_courier.flows.redemption import OpenToken, redeem

SIGN_IN = Challenge(
    purpose=Purpose.SIGN_IN,
    path="sign-in",
    covers=credentials,
    lifetime=lambda config: config.sign_in_lifetime,
    disownable=True,
)


def complete(session: Session, settings: Settings, token: OpenToken) -> bool:
    """Use the token up, in the caller's transaction; False if it is too late.

    The application's own ``sign_in`` begins the login session, after the commit.
    """

    def act(session: Session, account: Any, state: AccountState) -> None:
        proof.accept(session, settings, account, state)

    return redeem(session, SIGN_IN, settings, token, act)
