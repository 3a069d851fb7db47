"""What the flows share: proving that somebody reads an account's mail.

The request half queues and answers, and knows nothing of accounts. The worker half looks the
account up, applies its limits and mints. Then, with the link or the code in hand, the request half
comes back: it inspects the token, turns a right code into a token, and redeems the token once.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core.accounts import AccountState, AccountStore, fold
from flask_courier.core.config import CourierConfig
from flask_courier.core.ids import random_bytes
from flask_courier.core.language import choose
from flask_courier.core.messages import (
    BROWSER_KEY,
    PUBLIC_URL_KEY,
    STATE_KEY,
    Lane,
    NewMessage,
)
from flask_courier.core.tokens import SEED_BYTES, Key, KeyRing, Purpose, Secret, Seed
from flask_courier.storage import limits, outbox, tokens

#: A request answered late is a request forgotten: account mail lives this long in the queue.
MESSAGE_LIFETIME = timedelta(minutes=30)
_DAY = 86_400


@dataclass(frozen=True)
class Settings:
    """What every flow of one application works with."""

    config: CourierConfig
    keys: KeyRing
    accounts: AccountStore[Session]
    #: What mail can be written in, as language tags.
    languages: tuple[str, ...]

    def language(self, *wanted: str | None) -> str | None:
        """The first of these that mail can be written in, or None."""
        return choose(wanted, self.languages)

    def mutex(self, reference: str) -> str:
        """The name of the lock that everything about one account happens under."""
        return self.keys.current.limit_key("account", reference)

    def freeze(self, session: Session, reference: str) -> None:
        """Note that the account's owner said "this was not me", where that holds mail back."""
        if self.config.not_me_freeze is not None:
            limits.lock(session, [self._freeze_keys(reference)[-1]])

    def unfreeze(self, session: Session, reference: str) -> None:
        """Forget it, for an owner who has shown more."""
        if self.config.not_me_freeze is not None:
            limits.forget(session, self._freeze_keys(reference))

    def is_frozen(self, session: Session, reference: str) -> bool:
        """Whether that was so lately that the account gets no mail for a change."""
        duration = self.config.not_me_freeze
        keys = self._freeze_keys(reference)
        return duration is not None and limits.is_held_since(session, keys, duration)

    def _freeze_keys(self, reference: str) -> list[str]:
        """Its names, the current one last: a SECRET_KEY that is new since then does not lift it."""
        return self.keys.limit_keys("freeze", reference)

    def browser_key(self, browser: str) -> str:
        """How a message knows the browser of this name."""
        return self.keys.current.limit_key("browser", browser)

    def address_mutex(self, address: str) -> str:
        """The name of the lock that an address changes hands under."""
        return self.keys.current.limit_key("address", fold(address))


def credentials(state: AccountState) -> tuple[str | bool | None, ...]:
    """What a link rests on that opens an account: all that could have changed hands."""
    return state.address, state.password_hash, state.security_stamp, state.active


@dataclass(frozen=True)
class Challenge:
    """One flow's own part: where its pages are, what its token depends on, and who gets none."""

    purpose: Purpose
    #: The first part of its pages' paths, below the prefix of the account pages.
    path: str
    #: What the fingerprint covers: a change of any of it ends the token.
    covers: Callable[[AccountState], tuple[str | bool | None, ...]]
    #: How long the link lives.
    lifetime: Callable[[CourierConfig], timedelta]
    #: Why an account in this state gets no mail, or None if it does.
    refuses: Callable[[AccountState], str | None] = lambda _state: None
    #: The page that completes it.
    final: str = "confirm"
    #: Whether there are pages to ask for the mail and to type its code.
    has_code: bool = True
    #: Whether an account that is switched off may use it.
    needs_active: bool = True
    #: Whether its mail goes to the address it asks about, and not to the account's.
    to_new_address: bool = False
    #: Whether a dead link can be exchanged for a new mail.
    renewable: bool = True
    #: Whether its pages show the address its mail went to, and not the account's.
    about_recipient: bool = False
    #: Whether one completion ends the account's other tokens of this purpose.
    ends_others: bool = True
    #: Whether ``COURIER_NOT_ME_FREEZE`` holds its mail back.
    freezes: bool = False
    #: Whether its mail has a "this was not me" link for the account's owner.
    disownable: bool = False

    def fingerprint(self, key: Key, state: AccountState) -> str:
        """A digest of what the flow's tokens depend on."""
        return key.fingerprint(self.purpose, self.covers(state))

    def link_path(self, config: CourierConfig) -> str:
        """The path before the token in a link."""
        return f"{config.account_url_prefix}/{self.path}/"


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
    #: Names the browser in which the application asked for this account; see ``flows.proof``.
    browser_key: str | None = None
    #: The fingerprint of the account as it was when its owner asked.
    state: str | None = None
    #: The message whose dead link led here.
    resend_of: uuid.UUID | None = None


def request(session: Session, challenge: Challenge, asked: Asked) -> uuid.UUID:
    """Queue a mail for whoever has this address, if anybody has. One INSERT."""
    return outbox.enqueue(session, _message(challenge, asked))


def request_limited(
    session: Session, challenge: Challenge, settings: Settings, asked: Asked
) -> bool:
    """The same for a client that may have had its share: False then. Alike for all addresses."""
    return outbox.enqueue_limited(
        session,
        _message(challenge, asked),
        key=asked.requester_key,
        within=settings.config.requester_limit,
    )


def _message(challenge: Challenge, asked: Asked) -> NewMessage:
    kept = {
        PUBLIC_URL_KEY: asked.public_url,
        BROWSER_KEY: asked.browser_key,
        STATE_KEY: asked.state,
    }
    context = {name: value for name, value in kept.items() if value is not None}
    return NewMessage(
        kind=challenge.purpose.value,
        recipient=asked.address,
        lane=Lane.ACCOUNT,
        lifetime=MESSAGE_LIFETIME,
        account_ref=asked.account_ref,
        locale=asked.locale,
        context=context,
        requester_key=asked.requester_key,
        delay=asked.delay,
        resend_of=asked.resend_of,
    )


def requester_key(settings: Settings, requester: str | None) -> str | None:
    """How limits and messages know a client; None for one that is not known."""
    return None if requester is None else settings.keys.current.limit_key("requester", requester)


def count_request(session: Session, settings: Settings, key: str | None) -> bool:
    """Count a request of this client; False if it has had its share. Alike for all addresses.

    :param key: its :func:`requester_key`.
    """
    return key is None or all(
        limits.take(session, key, limit) for limit in settings.config.requester_limit
    )


def grant(
    session: Session,
    challenge: Challenge,
    settings: Settings,
    account: Any,
    *,
    message_id: uuid.UUID,
    lifetime: timedelta,
) -> Secret:
    """A token for ``account`` that travels in no mail: handed over at once, and derivable never."""
    key, state = settings.keys.current, settings.accounts.state(account)
    seed = Seed(challenge.purpose, str(message_id), random_bytes(SEED_BYTES))
    token = tokens.NewToken(
        key=key,
        seed=seed,
        message_id=message_id,
        account_ref=settings.accounts.reference(account),
        address_key=key.address_key(fold(state.address)),
        code_digest=None,
        fingerprint=challenge.fingerprint(key, state),
        lifetime=lifetime,
        keep_seed=False,
    )
    tokens.add(session, [token])
    return key.sign(challenge.purpose, key.token_id(seed))
