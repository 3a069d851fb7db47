"""A new address for an account: applied once it is verified, and taken back from the old one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from sqlalchemy.orm import Session

from flask_courier.core.accounts import ADDRESS_LIMIT, AccountState, ChangesAddresses
from flask_courier.core.errors import AddressTaken
from flask_courier.core.tokens import Ending, Purpose
from flask_courier.flows import security_notices
from flask_courier.flows.challenge import Asked, Challenge, Settings, credentials
from flask_courier.flows.redemption import OpenToken, redeem
from flask_courier.storage import log, outbox, tokens, waiting

#: A new password ends it as well: whoever asked may have known the old one alone.
EMAIL_CHANGE = Challenge(
    purpose=Purpose.EMAIL_CHANGE,
    path="email",
    covers=credentials,
    lifetime=lambda config: config.email_change_lifetime,
    to_new_address=True,
    # Whoever reads the new address could take the account again, after "undo" and "not me" too;
    # asking is for somebody who has just signed in.
    renewable=False,
    about_recipient=True,
    freezes=True,
)

#: Nothing that an intruder can change ends it. The mail that carries it went to the old address.
EMAIL_UNDO = Challenge(
    purpose=Purpose.EMAIL_UNDO,
    path="email-undo",
    covers=lambda _state: (),
    lifetime=lambda config: config.undo_lifetime,
    has_code=False,
    needs_active=False,
    renewable=False,
    about_recipient=True,
    ends_others=False,
)

_ENDED = [purpose for purpose in Purpose if purpose is not Purpose.EMAIL_UNDO]


def by_owner(settings: Settings, account: Any, asked: Asked) -> Asked:
    """The request of whoever is signed in to ``account``; it ends with what it was begun on.

    The mail may wait, and its token is minted when it leaves: by then the owner may have thrown out
    whoever asked.
    """
    state = settings.accounts.state(account)
    return replace(
        asked,
        account_ref=settings.accounts.reference(account),
        state=EMAIL_CHANGE.fingerprint(settings.keys.current, state),
    )


def complete(
    session: Session,
    settings: Settings,
    token: OpenToken,
    *,
    public_url: str | None,
    locale: str | None = None,
) -> bool:
    """Give the account the address that the token's mail went to; False if it is too late.

    The old address is told, with a link that takes the change back.

    :param locale: that mail's language, if the account does not say.
    :raises AddressTaken: if another account has it by now; nothing was written that is committed.
    """
    queued = outbox.find_queued(session, token.message_id)
    if queued is None:
        return False
    new = queued.recipient

    def act(session: Session, account: Any, state: AccountState) -> None:
        if waiting.has_newer(
            session, kind=EMAIL_CHANGE.purpose.value, account_ref=token.account_ref, than=queued.id
        ):
            raise AddressTaken
        _move(session, settings, account, new)
        settings.accounts.mark_verified(session, account, new)
        tokens.end(
            session,
            account_ref=token.account_ref,
            purposes=[Purpose.RECOVERY, Purpose.VERIFICATION, Purpose.SIGN_IN],
            ending=Ending.REPLACED,
        )
        security_notices.email_changed(
            session,
            old=state.address,
            new=new,
            account_ref=token.account_ref,
            locale=settings.language(state.locale, locale),
            public_url=public_url,
        )

    locks = [settings.address_mutex(new)]
    return redeem(session, EMAIL_CHANGE, settings, token, act, locks=locks)


def undo(session: Session, settings: Settings, token: OpenToken) -> bool:
    """Give the account its old address back and end its sessions; False if it is too late.

    Links that undo an earlier change stay good, those of later changes end: an intruder who changed
    the address again cannot take this back. Nor by making another account with the old address:
    one that never proved it gives it up.

    :raises AddressTaken: if another account has proved by now that the address is its own; nothing
        was written that is committed.
    """
    queued = outbox.find_queued(session, token.message_id)
    if queued is None:
        return False
    old = queued.recipient

    def act(session: Session, account: Any, state: AccountState) -> None:
        reference = token.account_ref
        outbox.withdraw(
            session,
            kinds=[purpose.value for purpose in _ENDED],
            account_ref=reference,
            recipient=state.address,
        )
        if _vacate(session, settings, account, old):
            log.add_event(session, token.message_id, actor="visitor", what="address_vacated")
        _move(session, settings, account, old)
        settings.accounts.mark_verified(session, account, old)
        settings.accounts.revoke_sessions(session, account)
        # Who read the new address may have said "this was not me", to keep the owner out.
        settings.unfreeze(session, reference)
        tokens.end(session, account_ref=reference, purposes=_ENDED, ending=Ending.REPLACED)
        tokens.end(
            session,
            account_ref=reference,
            purposes=[Purpose.EMAIL_UNDO],
            ending=Ending.REPLACED,
            after=queued.id,
        )

    locks = [settings.address_mutex(old)]
    return redeem(session, EMAIL_UNDO, settings, token, act, locks=locks, what="undone")


def _vacate(session: Session, settings: Settings, account: Any, address: str) -> bool:
    """Take ``address`` from another account that never proved it; answer whether there was one.

    Whoever reads mail at the address could open that account anyway. Its own address becomes one
    that nobody can have (RFC 6761 section 6.4), and that support still recognises.
    """
    store = settings.accounts
    found = store.find(session, address)
    if found is None or store.reference(found) == store.reference(account):
        return False
    other = store.get(session, store.reference(found), for_update=True)
    if other is None or store.state(other).verified:
        return False
    nobodys = f"{store.state(other).address}.invalid"
    if len(nobodys) > ADDRESS_LIMIT or not isinstance(store, ChangesAddresses):
        return False
    cast("ChangesAddresses[Session]", store).change_address(session, other, nobodys)
    return True


def _move(session: Session, settings: Settings, account: Any, address: str) -> None:
    """Store the new address, unless another account has it."""
    store = settings.accounts
    other = store.find(session, address)
    if other is not None and store.reference(other) != store.reference(account):
        raise AddressTaken
    if not isinstance(store, ChangesAddresses):
        raise TypeError("the account store has no change_address()")
    cast("ChangesAddresses[Session]", store).change_address(session, account, address)
