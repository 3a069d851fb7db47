"""What recovery and verification share: proving that somebody reads an account's mail.

The request half queues and answers, and knows nothing of accounts. The worker half looks the
account up, applies its limits and mints. Then, with the link or the code in hand, the request half
comes back: it inspects the token, turns a right code into a token, and redeems the token once.
"""

from __future__ import annotations

import hmac
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core.accounts import (
    AccountState,
    AccountStore,
    mask_address,
)
from flask_courier.core.config import CourierConfig
from flask_courier.core.messages import (
    PUBLIC_URL_KEY,
    Lane,
    NewMessage,
)
from flask_courier.core.tokens import Key, KeyRing, Purpose, Secret
from flask_courier.storage import limits, log, outbox, tokens

#: A request answered late is a request forgotten: account mail lives this long in the queue.
MESSAGE_LIFETIME = timedelta(minutes=30)
_DAY = 86_400


@dataclass(frozen=True)
class Settings:
    """What every flow of one application works with."""

    config: CourierConfig
    keys: KeyRing
    accounts: AccountStore[Session]

    def mutex(self, reference: str) -> str:
        """The name of the lock that everything about one account happens under."""
        return self.keys.current.limit_key("account", reference)


@dataclass(frozen=True)
class Challenge:
    """One flow's own part: what its token depends on, and who gets none."""

    purpose: Purpose
    #: What the fingerprint covers: a change of any of it ends the token.
    covers: Callable[[AccountState], tuple[str | bool | None, ...]]
    #: Why an account in this state gets no mail, or None if it does.
    refuses: Callable[[AccountState], str | None]
    #: How long the link lives.
    lifetime: Callable[[CourierConfig], timedelta]

    def fingerprint(self, key: Key, state: AccountState) -> str:
        """A digest of what the flow's tokens depend on."""
        return key.fingerprint(self.purpose, self.covers(state))


@dataclass(frozen=True)
class Asked:
    """A request for a mail, before anybody knows whether there is such an account."""

    address: str
    account_ref: str | None = None
    locale: str | None = None
    requester_key: str | None = None
    #: Where links lead, if PUBLIC_URL does not say.
    public_url: str | None = None
    delay: timedelta = timedelta(0)


@dataclass(frozen=True)
class OpenToken:
    """An authentic, open token whose account is as it was when it was minted."""

    digest: str
    account_ref: str
    message_id: uuid.UUID
    #: Its owner knows it by this; nobody else learns it.
    masked_address: str


def request(session: Session, challenge: Challenge, asked: Asked) -> uuid.UUID:
    """Queue a mail for whoever has this address, if anybody has. One INSERT."""
    context = {} if asked.public_url is None else {PUBLIC_URL_KEY: asked.public_url}
    message = NewMessage(
        kind=challenge.purpose.value,
        recipient=asked.address,
        lane=Lane.ACCOUNT,
        lifetime=MESSAGE_LIFETIME,
        account_ref=asked.account_ref,
        locale=asked.locale,
        context=context,
        requester_key=asked.requester_key,
        delay=asked.delay,
    )
    return outbox.enqueue(session, message)


def count_request(session: Session, settings: Settings, requester: str) -> bool:
    """Count a request of this client; False if it has had its share. Alike for all addresses."""
    key = settings.keys.current.limit_key("requester", requester)
    return all(limits.take(session, key, limit) for limit in settings.config.requester_limit)


def inspect(
    session: Session, challenge: Challenge, settings: Settings, token: Secret
) -> OpenToken | None:
    """The token if it is authentic, open, and its account unchanged; reads only."""
    row = _find(session, challenge, settings, token)
    if row is None or not row.open:
        return None
    account = settings.accounts.get(session, row.account_ref)
    if account is None:
        return None
    state = settings.accounts.state(account)
    if not _matches(row, challenge, settings, state):
        return None
    return OpenToken(row.digest, row.account_ref, row.message_id, mask_address(state.address))


def mark_opened(session: Session, token: OpenToken) -> None:
    """Note that the link was fetched, by a person or by a scanner."""
    tokens.mark_opened(session, token.digest)


def redeem(
    session: Session,
    challenge: Challenge,
    settings: Settings,
    token: OpenToken,
    act: Callable[[Session, Any, AccountState], None],
) -> bool:
    """Consume the token and ``act`` on its account, in one transaction; False if it is dead by now.

    The order is what makes it safe: the account's lock first (a write, which SQLite needs to come
    first), then the account as it is now, then the token, which only one transaction can claim.

    :param token: as :func:`inspect` answered it in an earlier transaction.
    """
    limits.lock(session, [settings.mutex(token.account_ref)])
    account = settings.accounts.get(session, token.account_ref, for_update=True)
    if account is None or not tokens.claim(session, token.digest):
        return False
    row = tokens.find(session, challenge.purpose, [token.digest])
    state = settings.accounts.state(account)
    if row is None or not _matches(row, challenge, settings, state):
        return False
    act(session, account, state)
    tokens.consume_others(session, account_ref=token.account_ref, purpose=challenge.purpose)
    log.add_event(session, token.message_id, actor="visitor", what="completed")
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
        and state.active
        and hmac.compare_digest(row.fingerprint, challenge.fingerprint(key, state))
    )
