"""From a claim to a parcel: everything an attempt needs, in one transaction.

A message is prepared once: account look-up, limits, minting and rendering are the kind's
``prepare``, which this floor is handed and does not know. Later attempts load what was stored and
derive the same token again from its seed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import jinja2

from flask_courier.core import links
from flask_courier.core.config import CourierConfig
from flask_courier.core.errors import RenderError
from flask_courier.core.ids import nonce
from flask_courier.core.messages import (
    PUBLIC_URL_KEY,
    RESERVED_PREFIX,
    Claim,
    Credentials,
    Draft,
    Parcel,
    Refusal,
    Rendered,
)
from flask_courier.core.status import Status
from flask_courier.core.tokens import KeyRing
from flask_courier.delivery.render import UnknownKind, render
from flask_courier.storage import contents, outbox, tokens
from flask_courier.storage.uow import Session

logger = logging.getLogger("flask_courier.worker")

#: How long a worker's claim lasts before another worker may take the message over.
LEASE = timedelta(seconds=60)
#: An unknown kind (a newer release queued it) is given back for this long.
_UNKNOWN_KIND_WAIT = timedelta(seconds=30)


def _warn(claim: Claim, error: RenderError) -> None:
    """The text names templates and nothing of the message."""
    extra = {"action": "render_failed", "message_id": str(claim.id)}
    logger.warning("no mail can be made: %s", error, extra=extra)


@dataclass(frozen=True)
class Kind:
    """How messages of one kind are prepared."""

    prepare: Callable[[Session, Claim], Draft | Refusal]
    #: How long its token lives after each attempt; None for mail that carries no token, whose
    #: repetition would be a second, different mail to its reader.
    token_lifetime: timedelta | None = None


@dataclass(frozen=True)
class Preparer:
    """Turns claims into parcels; handed to the worker by the extension."""

    kinds: Mapping[str, Kind]
    #: For every kind that has no entry: the application's own mail.
    other: Kind
    #: Answers the application's Jinja environment, which may not exist yet when this is made.
    environment: Callable[[], jinja2.Environment]
    keys: KeyRing
    config: CourierConfig

    def kind(self, claim: Claim) -> Kind:
        """How ``claim`` is prepared."""
        return self.kinds.get(claim.kind, self.other)

    def parcel(self, session: Session, claim: Claim) -> Parcel | None:
        """Everything the next attempt needs, or None if there is to be none.

        Then the message has been settled already, or the lease on it was lost.
        """
        if not outbox.hold(session, claim, lease=LEASE):
            return None
        if claim.prepared_at is not None:
            parcel = self._load(session, claim)
            if parcel is not None:
                return parcel
        return self._make(session, claim)

    def _load(self, session: Session, claim: Claim) -> Parcel | None:
        """The parcel of an earlier attempt, byte for byte; None if it cannot be made again."""
        rendered = contents.load(session, claim.id)
        if rendered is None or claim.prepared_at is None or claim.message_id_header is None:
            return None
        credentials = None
        if rendered.placeholder is not None:
            credentials = self._credentials(session, claim)
            if credentials is None:
                return None
        return Parcel(
            claim,
            claim.recipient,
            rendered,
            claim.prepared_at,
            claim.message_id_header,
            credentials,
        )

    def _make(self, session: Session, claim: Claim) -> Parcel | None:
        tokens.drop(session, claim.id)
        draft = self.kind(claim).prepare(session, claim)
        if isinstance(draft, Refusal):
            outbox.close(session, claim, Status.SUPPRESSED, draft.reason)
            return None
        try:
            rendered = self._render(claim, draft)
        except UnknownKind as error:
            _warn(claim, error)
            tokens.drop(session, claim.id)
            wait, words = _UNKNOWN_KIND_WAIT, str(error)
            outbox.release(session, claim, reason="unknown_kind", delay=wait, error=words)
            return None
        except RenderError as error:
            _warn(claim, error)
            tokens.drop(session, claim.id)
            outbox.close(session, claim, Status.ABANDONED, "template", error=str(error))
            return None
        message_id_header = f"<{nonce()}@{self.config.default_sender.address.rpartition('@')[2]}>"
        date = outbox.prepared(
            session,
            claim,
            recipient=draft.recipient,
            account_ref=draft.account_ref,
            message_id_header=message_id_header,
            rendered=rendered,
        )
        credentials = None if draft.link_path is None else self._credentials(session, claim)
        return Parcel(claim, draft.recipient, rendered, date, message_id_header, credentials)

    def _render(self, claim: Claim, draft: Draft) -> Rendered:
        public_url = self.config.public_url or claim.context.get(PUBLIC_URL_KEY)
        if public_url is None and draft.link_path is not None:
            raise RenderError("set COURIER_PUBLIC_URL: nothing says where links should lead")
        context: dict[str, Any] = {
            name: value
            for name, value in draft.context.items()
            if not name.startswith(RESERVED_PREFIX)
        }
        context.setdefault(
            "site", self.config.default_sender.name or self.config.default_sender.address
        )
        context.setdefault("address", draft.recipient)
        context.setdefault("public_url", public_url or "")
        if draft.link_path is None:
            return render(self.environment(), draft.template, context)
        return render(
            self.environment(),
            draft.template,
            context,
            placeholder=nonce(),
            link_prefix=links.absolute(str(public_url), draft.link_path),
        )

    def _credentials(self, session: Session, claim: Claim) -> Credentials | None:
        """Derive the token again and start its life anew; None if its key has been dropped."""
        row = tokens.seed_of(session, claim.id)
        key = None if row is None else self.keys.get(row.key_id)
        lifetime = self.kind(claim).token_lifetime
        if row is None or key is None or lifetime is None:
            return None
        tokens.renew(session, claim.id, lifetime)
        return Credentials(
            key.sign(row.seed.purpose, key.token_id(row.seed)),
            key.code(row.seed, self.config.code_digits),
        )
