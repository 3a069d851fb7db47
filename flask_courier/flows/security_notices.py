"""What an account's owner is told after the fact, with a link that takes it back."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core import links
from flask_courier.core.accounts import fold, mask_address
from flask_courier.core.ids import random_bytes
from flask_courier.core.messages import (
    PUBLIC_URL_KEY,
    Claim,
    Context,
    Credentials,
    Draft,
    Lane,
    NewMessage,
    Refusal,
)
from flask_courier.core.tokens import SEED_BYTES, Purpose, Seed
from flask_courier.flows.challenge import Challenge, Settings
from flask_courier.storage import limits, outbox, tokens
from flask_courier.storage.outbox import operator

PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of a kind
#: Goes to the old address.
EMAIL_CHANGED = "email_changed"
KINDS = frozenset({PASSWORD_CHANGED, EMAIL_CHANGED})

_LIFETIME = timedelta(days=2)


def password_changed(
    session: Session, *, address: str, account_ref: str, locale: str | None, public_url: str | None
) -> None:
    """Tell the account's owner that its password was changed."""
    message = _notice(PASSWORD_CHANGED, address, account_ref, locale, origin(public_url))
    outbox.enqueue(session, message)


def email_changed(
    session: Session,
    *,
    old: str,
    new: str,
    account_ref: str,
    locale: str | None,
    public_url: str | None,
) -> None:
    """Tell the old address that it is no longer the account's."""
    context = {"new_address": mask_address(new), **origin(public_url)}
    outbox.enqueue(session, _notice(EMAIL_CHANGED, old, account_ref, locale, context))


def _notice(
    kind: str, address: str, account_ref: str, locale: str | None, context: dict[str, Any]
) -> NewMessage:
    return NewMessage(
        kind=kind,
        recipient=address,
        lane=Lane.NOTICE,
        lifetime=_LIFETIME,
        account_ref=account_ref,
        locale=locale,
        context=context,
    )


def prepare(
    session: Session, challenge: Challenge, settings: Settings, claims: Sequence[Claim]
) -> dict[uuid.UUID, Draft | Refusal]:
    """The worker's half: mint. Mail goes to the address the account had then.

    A change of address that was taken back meanwhile is told to nobody.

    :param challenge: what the notice's link begins.
    """
    undone = _undone(session, settings, claims) if challenge.purpose is Purpose.EMAIL_UNDO else {}
    told = [claim for claim in claims if claim.id not in undone]
    minted = [token for claim in told if (token := _mint(challenge, settings, claim))]
    if minted:
        tokens.add(session, minted)
    digits = settings.config.code_digits
    carried = {
        token.message_id: Credentials.of(token.key, token.seed, digits=digits) for token in minted
    }
    drafts = {claim.id: draft(challenge, settings, claim, carried.get(claim.id)) for claim in told}
    return {**drafts, **undone}


def _undone(
    session: Session, settings: Settings, claims: Sequence[Claim]
) -> dict[uuid.UUID, Refusal]:
    """Of notices that waited, those of changes that are taken back by now, with earlier ones.

    Their links would go to an intruder's address, and give the account back to it.
    """
    references = {claim.account_ref for claim in claims if claim.account_ref is not None}
    limits.lock(session, [settings.mutex(reference) for reference in references])
    return {
        claim.id: Refusal("undone")
        for claim in claims
        if claim.account_ref is not None and _is_undone(session, claim.account_ref, claim)
    }


def _is_undone(session: Session, account_ref: str, claim: Claim) -> bool:
    moment = _changed_at(claim.created_at, claim.context)
    used = tokens.messages_of_used(
        session, account_ref=account_ref, purpose=Purpose.EMAIL_UNDO, since=moment
    )
    notices = [outbox.find_queued(session, message_id) for message_id in used]
    return any(
        one is not None and _changed_at(one.created_at, one.context) <= moment for one in notices
    )


def _changed_at(queued: datetime, context: Context) -> datetime:
    """When what a notice tells of happened: one that is sent anew tells of what the first did."""
    first = context.get(operator.FIRST_QUEUED_KEY)
    return queued if first is None else datetime.fromisoformat(str(first))


def _mint(challenge: Challenge, settings: Settings, claim: Claim) -> tokens.NewToken | None:
    if claim.account_ref is None:
        return None
    key = settings.keys.current
    return tokens.NewToken(
        key=key,
        seed=Seed(challenge.purpose, str(claim.id), random_bytes(SEED_BYTES)),
        message_id=claim.id,
        account_ref=claim.account_ref,
        address_key=key.address_key(fold(claim.recipient)),
        code_digest=None,
        fingerprint=key.fingerprint(challenge.purpose, ()),
        lifetime=challenge.lifetime(settings.config),
    )


def draft(
    challenge: Challenge, settings: Settings, claim: Claim, credentials: Credentials | None
) -> Draft:
    """What a notice is made of."""
    config = settings.config
    public_url = config.public_url or str(claim.context.get(PUBLIC_URL_KEY, ""))
    path = challenge.link_path(config)
    is_not_me = challenge.path == "not-me"
    return Draft(
        recipient=claim.recipient,
        account_ref=claim.account_ref,
        template=f"courier/mail/{claim.kind}",
        context={
            **claim.context,
            "link_lifetime": challenge.lifetime(config),
            "changed_at": _changed_at(claim.created_at, claim.context),
            "recovery_url": links.absolute(public_url, f"{config.account_url_prefix}/recovery"),
        },
        locales=(claim.locale,),
        link_path=None if is_not_me else path,
        not_me_path=path if is_not_me else None,
        credentials=credentials,
        with_code=False,
    )


def origin(public_url: str | None) -> dict[str, str]:
    """What a message must remember of where its links lead."""
    return {} if public_url is None else {PUBLIC_URL_KEY: public_url}
