"""Account recovery: a new password for whoever reads the account's mail."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core.accounts import AccountState
from flask_courier.core.tokens import Purpose, Secret
from flask_courier.flows import notice
from flask_courier.flows.challenge import Challenge, OpenToken, Settings, redeem

#: A recovery link dies with the password it would replace, and with everything it rests on.
RECOVERY = Challenge(
    purpose=Purpose.RECOVERY,
    covers=lambda state: (
        state.address,
        state.password_hash,
        state.security_stamp,
        state.active,
    ),
    refuses=lambda _state: None,
    lifetime=lambda config: config.recovery_lifetime,
)


def complete(
    session: Session,
    settings: Settings,
    token: OpenToken,
    password: Secret,
    *,
    public_url: str | None = None,
) -> bool:
    """Set the password, end the account's sessions, and tell its owner; False if it is too late.

    All in the caller's transaction. No login session begins here.

    :param public_url: where the notice's link leads, if PUBLIC_URL does not say.
    """

    def act(session: Session, account: Any, state: AccountState) -> None:
        settings.accounts.set_password(session, account, password.value)
        settings.accounts.revoke_sessions(session, account)
        notice.password_changed(
            session,
            address=state.address,
            account_ref=token.account_ref,
            locale=state.locale,
            public_url=public_url,
        )

    return redeem(session, RECOVERY, settings, token, act)
