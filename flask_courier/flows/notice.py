"""Mail of the application's own, which carries no token."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from flask_courier.core.accounts import normalise_address
from flask_courier.core.errors import ContextError
from flask_courier.core.messages import (
    RESERVED_PREFIX,
    Claim,
    Context,
    Draft,
    Lane,
    NewMessage,
)
from flask_courier.core.tokens import Purpose
from flask_courier.flows import security_notices
from flask_courier.storage import outbox

#: Kinds that ``send`` does not take: they carry a token, which only their own flow can mint.
RESERVED_KINDS = frozenset({purpose.value for purpose in Purpose} | security_notices.KINDS)

_LIFETIME = timedelta(days=2)
_KIND_LIMIT = 64
_KEY_LIMIT = 128
#: How JSON writes NUL: an escape that is not itself escaped.
_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


def send(
    session: Session,
    kind: str,
    *,
    to: str,
    context: Context,
    public_url: str | None,
    locale: str | None = None,
    send_at: datetime | None = None,
    idempotency_key: str | None = None,
) -> uuid.UUID:
    """Queue a mail of the application's own in the caller's transaction.

    :param kind: ``"welcome"`` for the templates ``courier/mail/welcome.*``, or a path such as
        ``"mail/welcome"`` for ``mail/welcome.*``.
    :param public_url: where its links lead, if PUBLIC_URL does not say.
    :param locale: a language tag for the mail.
    :param send_at: when it is due; its life counts from then.
    :param idempotency_key: answers the message that was queued with this kind and key before.
    :raises AddressError: if ``to`` is not an e-mail address.
    :raises ContextError: if the kind is one of ours, or something cannot be stored.
    """
    _refuse_kind(kind)
    _refuse_time(send_at)
    _refuse_key(idempotency_key)
    message = NewMessage(
        kind=kind,
        recipient=normalise_address(to),
        lane=Lane.NOTICE,
        lifetime=_LIFETIME,
        locale=locale,
        context={**_checked(context), **security_notices.origin(public_url)},
        send_at=send_at,
        idempotency_key=idempotency_key,
    )
    return outbox.enqueue(session, message)


def prepare_custom(claims: Sequence[Claim]) -> dict[uuid.UUID, Draft]:
    """The application's own mail: its kind names its templates."""
    return {claim.id: _custom(claim) for claim in claims}


def _custom(claim: Claim) -> Draft:
    template = claim.kind if "/" in claim.kind else f"courier/mail/{claim.kind}"
    return Draft(claim.recipient, claim.account_ref, template, claim.context, (claim.locale,))


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


def _refuse_time(send_at: datetime | None) -> None:
    if send_at is not None and send_at.tzinfo is None:
        raise ContextError(
            "send_at has no time zone; pass an aware datetime, like datetime.now(timezone.utc) + "
            "timedelta(hours=1)"
        )


def _refuse_key(key: str | None) -> None:
    if key is not None and not (0 < len(key) <= _KEY_LIMIT and key.isprintable()):
        raise ContextError(
            f"idempotency_key must be 1 to {_KEY_LIMIT} printable characters, like 'invoice-1042'"
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
