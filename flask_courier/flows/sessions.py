"""What a login session carries of its account, so that it ends with what it was begun on."""

from __future__ import annotations

import hmac
import re
from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core.accounts import AccountState
from flask_courier.flows.challenge import Settings

_SHAPE = re.compile(r"(.{1,255})\.([0-9a-f]{32})")


def name(settings: Settings, account: Any) -> str:
    """The account's reference, and a mark of the password and the stamp it has now."""
    reference = settings.accounts.reference(account)
    state = settings.accounts.state(account)
    return f"{reference}.{settings.keys.current.session_mark(reference, _covers(state))}"


def load(session: Session, settings: Settings, session_id: str) -> Any | None:
    """The account of a login session; None if it is gone, switched off, or the session ended."""
    shape = _SHAPE.fullmatch(session_id)
    if shape is None or not session_id.isprintable():
        return None
    reference, mark = shape.groups()
    account = settings.accounts.get(session, reference)
    if account is None:
        return None
    state = settings.accounts.state(account)
    marks = settings.keys.session_marks(reference, _covers(state))
    genuine = [hmac.compare_digest(mark, one) for one in marks]
    return account if state.active and any(genuine) else None


def _covers(state: AccountState) -> tuple[str | None, ...]:
    return state.password_hash, state.security_stamp
