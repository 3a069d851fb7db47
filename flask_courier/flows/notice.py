"""Mail that carries no token: notices of ours, and the application's own."""

from __future__ import annotations

import json
import re
import uuid
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core import links
from flask_courier.core.accounts import normalise_address
from flask_courier.core.config import CourierConfig
from flask_courier.core.errors import ContextError
from flask_courier.core.messages import (
    PUBLIC_URL_KEY,
    RESERVED_PREFIX,
    Claim,
    Context,
    Draft,
    Lane,
    NewMessage,
)
from flask_courier.core.tokens import Purpose
from flask_courier.storage import outbox

PASSWORD_CHANGED = "password_changed"  # noqa: S105 - the name of a kind
#: Kinds that ``send`` does not take: they carry a token, which only their own flow can mint.
RESERVED_KINDS = frozenset({purpose.value for purpose in Purpose} | {PASSWORD_CHANGED})

_LIFETIME = timedelta(days=2)
_KIND_LIMIT = 64
#: How JSON writes NUL: an escape that is not itself escaped.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def password_changed(
    session: Session, *, address: str, account_ref: str, locale: str | None, public_url: str | None
) -> None:
    """Tell the account's owner that its password was changed."""
    outbox.enqueue(
        session,
        NewMessage(
            kind=PASSWORD_CHANGED,
            recipient=address,
            lane=Lane.NOTICE,
            lifetime=_LIFETIME,
            account_ref=account_ref,
            locale=locale,
            context=_origin(public_url),
        ),
    )


def send(
    session: Session, kind: str, *, to: str, context: Context, public_url: str | None
) -> uuid.UUID:
    """Queue a mail of the application's own in the caller's transaction.

    :param kind: ``"welcome"`` for the templates ``courier/mail/welcome.*``, or a path such as
        ``"mail/welcome"`` for ``mail/welcome.*``.
    :param public_url: where its links lead, if PUBLIC_URL does not say.
    :raises AddressError: if ``to`` is not an e-mail address.
    :raises ContextError: if the kind is one of ours, or the context is not JSON.
    """
    _refuse_kind(kind)
    message = NewMessage(
        kind=kind,
        recipient=normalise_address(to),
        lane=Lane.NOTICE,
        lifetime=_LIFETIME,
        context={**_checked(context), **_origin(public_url)},
    )
    return outbox.enqueue(session, message)


def prepare_password_changed(session: Session, config: CourierConfig, claim: Claim) -> Draft:  # noqa: ARG001
    """Everything is in the row already; mail goes to the address the account had then."""
    public_url = config.public_url or str(claim.context.get(PUBLIC_URL_KEY, ""))
    moment = claim.created_at
    return Draft(
        recipient=claim.recipient,
        account_ref=claim.account_ref,
        template=f"courier/mail/{PASSWORD_CHANGED}",
        context={
            "changed_at": f"{moment.day} {moment:%B %Y, %H:%M} UTC",
            "recovery_url": links.absolute(public_url, f"{config.account_url_prefix}/recovery"),
        },
    )


def prepare_custom(session: Session, claim: Claim) -> Draft:  # noqa: ARG001 - a kind's signature
    """The application's own mail: its kind names its templates."""
    template = claim.kind if "/" in claim.kind else f"courier/mail/{claim.kind}"
    return Draft(claim.recipient, claim.account_ref, template, claim.context)


def _origin(public_url: str | None) -> dict[str, str]:
    return {} if public_url is None else {PUBLIC_URL_KEY: public_url}


def _refuse_kind(kind: str) -> None:
    if kind in RESERVED_KINDS:
        raise ContextError(
            f"the kind {kind!r} is flask_courier's own; call request_recovery() or "
            "request_verification(), or name your templates differently"
        )
    if not kind or len(kind) > _KIND_LIMIT or ".." in kind or kind.startswith("/"):
        raise ContextError(
            f"the kind {kind[:_KIND_LIMIT]!r} is no template name; write 'welcome' or "
            f"'mail/welcome', at most {_KIND_LIMIT} characters"
        )


def _checked(context: Context) -> dict[str, Any]:
    for name, value in context.items():
        if name.startswith(RESERVED_PREFIX):
            raise ContextError(f"the context key {name!r} begins with an underscore; rename it")
        try:
            text = json.dumps({name: value}, allow_nan=False, ensure_ascii=False)
            text.encode()
        except (TypeError, ValueError):
            raise ContextError(
                f"the context value of {name!r} is not JSON: pass text, numbers, booleans, None, "
                "lists and dicts; a date goes in as text"
            ) from None
        if _NUL.search(text):
            raise ContextError(f"the context value of {name!r} holds NUL, which no database stores")
    return dict(context)
