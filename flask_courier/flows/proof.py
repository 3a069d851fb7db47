"""What follows from the first proof that an account's owner reads mail at its address.

Until then anybody may have made the account, with a password of theirs and a login session that
waits for the owner to come (pre-hijacking). So the first proof drops what is older than it, unless
it comes from the very browser in which the application asked for this mail.
"""

from __future__ import annotations

import hmac
from typing import Any, cast

from sqlalchemy.orm import Session

from flask_courier.core.accounts import AccountState, DropsCredentials
from flask_courier.core.messages import BROWSER_KEY
from flask_courier.flows.challenge import Settings
from flask_courier.flows.redemption import OpenToken
from flask_courier.storage import outbox


def accept(
    session: Session,
    settings: Settings,
    account: Any,
    state: AccountState,
    *,
    same_browser: bool = False,
) -> bool:
    """Mark the address verified, if it is not; answer whether the account lost its password.

    :param same_browser: as :func:`is_same_browser` answered.
    """
    if state.verified:
        return False
    store, dropped = settings.accounts, False
    if not same_browser:
        if isinstance(store, DropsCredentials):
            cast("DropsCredentials[Session]", store).drop_credentials(session, account)
            dropped = state.password_hash is not None
        store.revoke_sessions(session, account)
    store.mark_verified(session, account, state.address)
    return dropped


def is_same_browser(
    session: Session, settings: Settings, token: OpenToken, browser: str | None
) -> bool:
    """Whether the application asked for the token's mail in this browser, for this account."""
    queued = outbox.find_queued(session, token.message_id)
    if browser is None or queued is None:
        return False
    expected = str(queued.context.get(BROWSER_KEY, ""))
    return hmac.compare_digest(expected, settings.browser_key(browser))
