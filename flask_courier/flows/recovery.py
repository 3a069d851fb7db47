"""A new password for whoever reads the account's mail: recovery, and the first by invitation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core.accounts import AccountState
from flask_courier.core.messages import Lane, NewMessage
from flask_courier.core.tokens import Purpose, Secret
from flask_courier.flows import proof, security_notices
from flask_courier.flows.challenge import Challenge, Settings, credentials, grant
from flask_courier.flows.redemption import OpenToken, redeem
from flask_courier.storage import log, outbox

#: A recovery link dies with the password it would replace, and with everything it rests on.
RECOVERY = Challenge(
    purpose=Purpose.RECOVERY,
    path="recovery",
    covers=credentials,
    lifetime=lambda config: config.recovery_lifetime,
    final="password",
    freezes=True,
    disownable=True,
)

#: An invitation is for an account that nobody has used yet, and ends with the first proof of its
#: address; whoever made it asks for the mail.
INVITATION = Challenge(
    purpose=Purpose.INVITATION,
    path="invitation",
    covers=lambda state: (*credentials(state), state.verified),
    refuses=lambda state: "already_verified" if state.verified else None,
    lifetime=lambda config: config.invitation_lifetime,
    final="password",
    has_code=False,
)


def complete(
    session: Session,
    challenge: Challenge,
    settings: Settings,
    token: OpenToken,
    password: Secret,
    *,
    public_url: str | None = None,
    locale: str | None = None,
) -> bool:
    """Set the password, end the account's sessions, and tell its owner; False if it is too late.

    All in the caller's transaction. No login session begins here. It is the proof, too, that the
    owner reads mail at the address.

    :param public_url: where the notice's links lead, if PUBLIC_URL does not say.
    :param locale: the notice's language, if the account does not say.
    """

    def act(session: Session, account: Any, state: AccountState) -> None:
        proof.accept(session, settings, account, state)
        settings.accounts.set_password(session, account, password.value)
        settings.accounts.revoke_sessions(session, account)
        if challenge is INVITATION:
            return
        security_notices.password_changed(
            session,
            address=state.address,
            account_ref=token.account_ref,
            locale=settings.language(state.locale, locale),
            public_url=public_url,
        )

    return redeem(session, challenge, settings, token, act)


def hand_over(
    session: Session, settings: Settings, account: Any, *, lifetime: timedelta, actor: str
) -> Secret:
    """A recovery token that no mail carries, for support to hand over; the log says who made it."""
    state, reference = settings.accounts.state(account), settings.accounts.reference(account)
    message = NewMessage(
        kind=RECOVERY.purpose.value,
        recipient=state.address,
        lane=Lane.ACCOUNT,
        lifetime=lifetime,
        account_ref=reference,
    )
    message_id = outbox.record_handed_over(session, message)
    log.add_event(session, message_id, actor=actor, what="handed_over")
    return grant(session, RECOVERY, settings, account, message_id=message_id, lifetime=lifetime)
