"""A token in hand: what it opens, why it opens nothing, and how it is used up, once."""

from __future__ import annotations

import enum
import hmac
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core.accounts import AccountState, fold, mask_address
from flask_courier.core.tokens import Ending, Purpose, Secret
from flask_courier.flows.challenge import Challenge, Settings
from flask_courier.storage import limits, log, outbox, tokens


@dataclass(frozen=True)
class OpenToken:
    """An authentic, open token whose account is as it was when it was minted."""

    digest: str
    account_ref: str
    message_id: uuid.UUID
    #: Its owner knows it by this; nobody else learns it.
    masked_address: str
    #: For the password manager of whoever reads the account's mail.
    address: str = field(repr=False)


class Death(str, enum.Enum):
    """Why a link does not work. Only whoever has an authentic one learns more than ``FORGED``."""

    FORGED = "forged"
    WRONG_PURPOSE = "wrong_purpose"
    EXPIRED = "expired"
    USED = "used"
    REPLACED = "replaced"
    DISOWNED = "disowned"
    #: The account is no longer as it was: another address, another password, switched off.
    CHANGED = "changed"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class DeadToken:
    """A token that opens nothing."""

    death: Death
    #: Whose it was and what for, where it is authentic.
    account_ref: str | None = None
    message_id: uuid.UUID | None = None
    digest: str | None = None
    #: The purpose of an authentic token that came to the wrong page.
    purpose: Purpose | None = None
    #: Whether what it was for is done: the address is verified.
    fulfilled: bool = False


_DEATHS = {
    Ending.USED: Death.USED,
    Ending.REPLACED: Death.REPLACED,
    Ending.UNDELIVERED: Death.EXPIRED,
    Ending.DISOWNED: Death.DISOWNED,
}


def inspect(
    session: Session, challenge: Challenge, settings: Settings, token: Secret
) -> OpenToken | DeadToken:
    """What ``token`` opens, or why it opens nothing; reads only."""
    row = _find(session, challenge, settings, token)
    if row is None:
        other = settings.keys.purpose_of(token)
        if other in (None, challenge.purpose):
            return DeadToken(Death.FORGED)
        return DeadToken(Death.WRONG_PURPOSE, purpose=other)
    account = settings.accounts.get(session, row.account_ref)
    state = None if account is None else settings.accounts.state(account)
    fits = state is not None and _matches(row, challenge, settings, state)
    if row.open and not fits:
        # Used, perhaps, after it was read and before its account was.
        row = _find(session, challenge, settings, token) or row
    if state is not None and fits and row.open:
        address = state.address
        if challenge.about_recipient:
            queued = outbox.find_queued(session, row.message_id)
            address = address if queued is None else queued.recipient
        masked = mask_address(address)
        return OpenToken(row.digest, row.account_ref, row.message_id, masked, address)
    death = Death.EXPIRED if fits else Death.CHANGED
    if row.ended_as is not None:
        death = _DEATHS[row.ended_as]
    return DeadToken(
        death,
        row.account_ref,
        row.message_id,
        row.digest,
        fulfilled=state is not None and _is_fulfilled(row, challenge, settings, state),
    )


def _is_fulfilled(
    row: tokens.TokenRow, challenge: Challenge, settings: Settings, state: AccountState
) -> bool:
    """Whether the address that a verification mail went to is verified by now, and still there."""
    key = settings.keys.get(row.key_id)
    return (
        challenge.purpose is Purpose.VERIFICATION
        and row.ended_as is not None
        and state.verified
        and key is not None
        and key.address_key(fold(state.address)) == row.address_key
    )


def mark_opened(session: Session, token: OpenToken) -> None:
    """Note that the link was fetched, by a person or by a scanner."""
    tokens.mark_opened(session, token.digest)


def redeem(
    session: Session,
    challenge: Challenge,
    settings: Settings,
    token: OpenToken,
    act: Callable[[Session, Any, AccountState], None],
    *,
    locks: Collection[str] = (),
    what: str = "completed",
) -> bool:
    """Consume the token and ``act`` on its account, in one transaction; False if it is dead by now.

    The order is what makes it safe: the account's lock first (a write, which SQLite needs to come
    first), then the account as it is now, then the token, which only one transaction can claim.

    :param token: as :func:`inspect` answered it in an earlier transaction.
    :param locks: what else nobody may touch meanwhile.
    :param what: how the delivery log calls it.
    """
    limits.lock(session, [settings.mutex(token.account_ref), *locks])
    account = settings.accounts.get(session, token.account_ref, for_update=True)
    if account is None or not tokens.claim(session, token.digest):
        return False
    row = tokens.find(session, challenge.purpose, [token.digest])
    state = settings.accounts.state(account)
    if row is None or not _matches(row, challenge, settings, state):
        return False
    act(session, account, state)
    if challenge.ends_others:
        purposes = [challenge.purpose]
        tokens.end(
            session, account_ref=token.account_ref, purposes=purposes, ending=Ending.REPLACED
        )
    log.add_event(session, token.message_id, actor="visitor", what=what)
    return True


def _find(
    session: Session, challenge: Challenge, settings: Settings, token: Secret
) -> tokens.TokenRow | None:
    """The row of an authentic token, open or not."""
    token_id = settings.keys.verify(challenge.purpose, token)
    if token_id is None:
        return None
    return tokens.find(session, challenge.purpose, settings.keys.digests(token_id))


def _matches(
    row: tokens.TokenRow, challenge: Challenge, settings: Settings, state: AccountState
) -> bool:
    """Whether the account is as it was when the token was minted, and active."""
    key = settings.keys.get(row.key_id)
    return (
        key is not None
        and (state.active or not challenge.needs_active)
        and hmac.compare_digest(row.fingerprint, challenge.fingerprint(key, state))
    )
