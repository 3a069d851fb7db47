"""Codes: what a person types who cannot open the link.

A code has few digits, so what protects it is how often anybody may guess: a slot is taken, for
every address alike, and committed before a code is looked at.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from flask_courier.core.accounts import fold
from flask_courier.core.config import Limit
from flask_courier.core.ids import random_bytes
from flask_courier.core.tokens import SEED_BYTES, Secret, Seed
from flask_courier.flows.challenge import Challenge, Settings
from flask_courier.storage import limits, log, tokens

#: Wrong codes an address may meet, whoever types them; nothing refills them but time.
CODE_LIMITS = (Limit(5, 600), Limit(20, 86_400))


def take_code_slot(
    session: Session, challenge: Challenge, settings: Settings, address: str
) -> bool:
    """Count one more try at a code of this address; commit it before the code is looked at."""
    key = settings.keys.current.limit_key("code", challenge.purpose.value, fold(address))
    return all(limits.take(session, key, limit) for limit in CODE_LIMITS)


def find(
    session: Session, challenge: Challenge, settings: Settings, *, address: str, code: Secret
) -> tokens.TokenRow | None:
    """The open token whose code this is, if it was mailed to ``address``. One SELECT.

    It runs for every address alike, also for one whose slots are used up; the account is not read.
    """
    keys, folded = settings.keys, fold(address)
    return tokens.find_by_code(
        session,
        challenge.purpose,
        address_keys=keys.address_keys(folded),
        code_digests=keys.code_digests(challenge.purpose, folded, code),
        lifetime=settings.config.code_lifetime,
    )


def issue(
    session: Session, challenge: Challenge, settings: Settings, row: tokens.TokenRow, address: str
) -> Secret | None:
    """A token to go on with, for whoever typed the code of ``row``.

    The token in the mail cannot be made again once it is sent, so a right code gets one of its own,
    which lives as long as a code does.
    """
    key = settings.keys.get(row.key_id)
    if key is None:
        return None
    seed = Seed(challenge.purpose, str(row.message_id), random_bytes(SEED_BYTES))
    token = tokens.NewToken(
        key=key,
        seed=seed,
        message_id=row.message_id,
        account_ref=row.account_ref,
        address_key=key.address_key(fold(address)),
        code_digest=None,
        fingerprint=row.fingerprint,
        lifetime=settings.config.code_lifetime,
        keep_seed=False,
    )
    tokens.add(session, [token])
    log.add_event(session, row.message_id, actor="visitor", what="code_accepted")
    return key.sign(challenge.purpose, key.token_id(seed))
