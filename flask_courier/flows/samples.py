"""A sample of each mail of our own, to see whether its templates can make it. Reaches nothing."""

from __future__ import annotations

import uuid
from datetime import timedelta

from flask_courier.core.accounts import AccountState
from flask_courier.core.clock import utc_now
from flask_courier.core.messages import PUBLIC_URL_KEY, Claim, Credentials, Draft, Lane
from flask_courier.core.tokens import SEED_BYTES, Seed
from flask_courier.flows import notice, prepare, security_notices
from flask_courier.flows.challenge import Challenge, Settings
from flask_courier.flows.challenges import MAILED
from flask_courier.flows.email_change import EMAIL_UNDO
from flask_courier.flows.not_me import NOT_ME
from flask_courier.flows.sign_in import SIGN_IN

_ADDRESS = "somebody@example.com"
_NOTICES = {
    security_notices.PASSWORD_CHANGED: NOT_ME,
    security_notices.EMAIL_CHANGED: EMAIL_UNDO,
}


def samples(settings: Settings) -> list[tuple[Claim, Draft]]:
    """The mails that this configuration can send, to nobody, with links that open nothing."""
    owner = prepare.Owner("0", AccountState(_ADDRESS, active=True, verified=True))
    found: list[tuple[Claim, Draft]] = []
    for flow in MAILED:
        if flow is SIGN_IN and not settings.config.sign_in:
            continue
        claim = _claim(settings, flow.purpose.value)
        draft = prepare.draft(
            flow,
            settings,
            claim=claim,
            owner=owner,
            recipient=_ADDRESS,
            credentials=_credentials(settings, flow),
        )
        found.append((claim, draft))
    for kind, flow in _NOTICES.items():
        claim = _claim(settings, kind)
        found.append(
            (claim, security_notices.draft(flow, settings, claim, _credentials(settings, flow)))
        )
    test = _claim(settings, "test")
    return [*found, (test, notice.prepare_custom([test])[test.id])]


def _claim(settings: Settings, kind: str) -> Claim:
    """A message of this kind that is in no queue."""
    now = utc_now()
    return Claim(
        id=uuid.UUID(int=0),
        kind=kind,
        recipient=_ADDRESS,
        account_ref="0",
        locale=None,
        context={
            PUBLIC_URL_KEY: settings.config.public_url or "http://localhost",
            "new_address": "s•••@example.com",
        },
        lane=Lane.ACCOUNT,
        attempts=0,
        claims=0,
        created_at=now,
        expires_at=now + timedelta(days=1),
        prepared_at=None,
        lease_token="",
        message_id_header=None,
    )


def _credentials(settings: Settings, flow: Challenge) -> Credentials:
    seed = Seed(flow.purpose, "", bytes(SEED_BYTES))
    return Credentials.of(settings.keys.current, seed, digits=settings.config.code_digits)
