"""From claims to parcels: everything an attempt needs, a batch in one transaction.

A message is prepared once: account look-up, limits, minting and rendering are the kind's
``prepare``, which this floor is handed and does not know. Later attempts load what was stored and
derive the same token again from its seed.
"""

from __future__ import annotations

import logging
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jinja2

from flask_courier.catalogues import Catalogues
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
from flask_courier.core.tokens import KeyRing, Purpose
from flask_courier.delivery.budget import HourlyBudget
from flask_courier.delivery.render import UnknownKind, render
from flask_courier.delivery.template_failure import TemplateFailed
from flask_courier.storage import contents, dialect, outbox, seeds, tokens
from flask_courier.storage.uow import Session

logger = logging.getLogger("flask_courier.worker")

#: How long a worker's claim lasts before another worker may take the message over.
LEASE = timedelta(seconds=60)
#: A mail that only another release of the application can make is given back for this long.
_RELEASE_WAIT = timedelta(seconds=30)


@dataclass(frozen=True)
class Kind:
    """How messages of one kind are prepared."""

    #: What each claim's mail is to be made of, or why there is none.
    prepare: Callable[[Session, Sequence[Claim]], Mapping[uuid.UUID, Draft | Refusal]]
    #: How long its token lives after each attempt; None for mail that carries no token, whose
    #: repetition would be a second, different mail to its reader.
    token_lifetime: timedelta | None = None


@dataclass
class Batch:
    """What came of preparing claims."""

    parcels: list[Parcel]
    #: How often each status was reached without an attempt.
    settled: Counter[Status]
    #: Whether there is one message alone.
    alone: bool = False


#: A mail, and what it carries, if anything.
_Mail = tuple[outbox.Prepared, "Credentials | None"]


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
    catalogues: Catalogues
    lease: timedelta = LEASE

    def kind(self, name: str) -> Kind:
        """How messages of this kind are prepared."""
        return self.kinds.get(name, self.other)

    def batch(self, session: Session, claims: Sequence[Claim], *, fresh: bool = False) -> Batch:
        """Everything the next attempts need, of those that are to be made.

        The other messages have been settled already, or their lease was lost.

        :param fresh: the claims were made just now, so that they are taken for held. What is stored
            in the end asks the database whether they were.
        :raises outbox.LeaseLost: if they were not: nothing may be committed.
        """
        batch = Batch([], Counter(), alone=len(claims) == 1)
        again = [claim for claim in claims if claim.prepared_at is not None]
        # A transaction begins with its write.
        asked = (again or claims[:1]) if fresh else claims
        held = {claim.key for claim in outbox.hold(session, asked, lease=self.lease)}
        if fresh and len(held) < len(asked):
            raise outbox.LeaseLost
        ours = claims if fresh else [claim for claim in claims if claim.key in held]
        again = [claim for claim in again if claim.key in held]
        if again:
            batch.parcels += self._load(session, again)
        loaded = {parcel.claim.id for parcel in batch.parcels}
        new = [claim for claim in ours if claim.id not in loaded]
        if new:
            self._make(session, new, batch)
        return batch

    def _load(self, session: Session, claims: Sequence[Claim]) -> list[Parcel]:
        """The parcels of earlier attempts, byte for byte, as far as they can be made again."""
        ids = [claim.id for claim in claims]
        rendered = contents.load(session, ids)
        found = seeds.find_all(session, ids)
        parcels: list[Parcel] = []
        renewed: dict[tuple[Purpose, timedelta], list[uuid.UUID]] = {}
        for claim in claims:
            mail = rendered.get(claim.id)
            if mail is None or claim.prepared_at is None or claim.message_id_header is None:
                continue
            credentials = None
            if mail.placeholder is not None:
                row, lifetime = found.get(claim.id), self.kind(claim.kind).token_lifetime
                key = None if row is None else self.keys.get(row.key_id)
                if row is None or key is None or lifetime is None:
                    continue
                renewed.setdefault((row.seed.purpose, lifetime), []).append(claim.id)
                credentials = Credentials.of(key, row.seed, digits=self.config.code_digits)
            parcels.append(
                Parcel(
                    claim.recipient,
                    mail,
                    claim.prepared_at,
                    claim.message_id_header,
                    credentials,
                    claim,
                )
            )
        for (purpose, lifetime), messages in renewed.items():
            seeds.renew(session, messages, purpose=purpose, lifetime=lifetime)
        return parcels

    def _make(self, session: Session, claims: Sequence[Claim], batch: Batch) -> None:
        repeated = [claim.id for claim in claims if claim.prepared_at is not None]
        if repeated:
            tokens.drop(session, repeated)
            contents.drop(session, repeated)
        most = self.config.hourly_budget
        if most is None:
            mails = self._draft(session, claims, batch)
        else:
            mails = self._within(HourlyBudget(session, self.keys, most), session, claims, batch)
        if not mails:
            return
        date = dialect.now(session)
        outbox.prepared(session, [mail for mail, _ in mails], date=date)
        batch.parcels += [_parcel(mail, credentials, date) for mail, credentials in mails]

    def _within(
        self, budget: HourlyBudget, session: Session, claims: Sequence[Claim], batch: Batch
    ) -> list[_Mail]:
        """What the budget has room for; the rest waits for the next hour."""
        mails: list[_Mail] = []
        admitted, rest = budget.admit(claims)
        # Again as long as refusals leave room.
        while admitted:
            made = self._draft(session, admitted, batch)
            for mail, _ in made:
                budget.spend(mail.claim)
            mails += made
            admitted, rest = budget.admit(rest)
        budget.save()
        for claim in rest:
            wait = budget.wait(claim)
            outbox.release(session, claim, reason="hourly_budget", delay=wait, counts=False)
        return mails

    def _draft(self, session: Session, claims: Sequence[Claim], batch: Batch) -> list[_Mail]:
        by_kind: dict[str, list[Claim]] = {}
        for claim in claims:
            by_kind.setdefault(claim.kind, []).append(claim)
        mails: list[_Mail] = []
        for name, group in by_kind.items():
            drafts = self.kind(name).prepare(session, group)
            for claim in group:
                mail = self._mail(session, claim, drafts[claim.id], batch)
                if mail is not None:
                    mails.append(mail)
        return mails

    def _mail(
        self, session: Session, claim: Claim, draft: Draft | Refusal, batch: Batch
    ) -> _Mail | None:
        """The mail that ``draft`` describes; None if it was settled here."""
        if isinstance(draft, Refusal):
            outbox.close(session, claim, Status.SUPPRESSED, draft.reason)
            batch.settled[Status.SUPPRESSED] += 1
            return None
        try:
            rendered = self.rendered(claim, draft)
        except UnknownKind as error:
            _wait(session, claim, "unknown_kind", error)
            return None
        except TemplateFailed as error:
            if not error.own and not batch.alone:
                # What it called may have left the application's session unusable for the others.
                raise
            _wait(session, claim, "template", error)
            return None
        except RenderError as error:
            _warn(claim, error)
            tokens.drop(session, [claim.id])
            outbox.close(session, claim, Status.ABANDONED, "template", error=str(error))
            batch.settled[Status.ABANDONED] += 1
            return None
        domain = self.config.default_sender.address.rpartition("@")[2]
        header = f"<{nonce()}@{domain}>"
        mail = outbox.Prepared(claim, draft.recipient, draft.account_ref, header, rendered)
        return mail, draft.credentials

    def rendered(self, claim: Claim, draft: Draft) -> Rendered:
        """The mail of ``claim`` as it may be stored.

        :raises RenderError: if its templates make none.
        """
        public_url = self.config.public_url or claim.context.get(PUBLIC_URL_KEY)
        if public_url is None and draft.credentials is not None:
            raise RenderError("set COURIER_PUBLIC_URL: nothing says where links should lead")
        sender = self.config.default_sender
        own = {"site": sender.name or sender.address, "address": draft.recipient}
        context: dict[str, Any] = {
            **own,
            "public_url": public_url or "",
            **{k: v for k, v in draft.context.items() if not k.startswith(RESERVED_PREFIX)},
        }
        words = self.catalogues.words(draft.locales)
        if draft.credentials is None:
            return render(self.environment(), draft.template, context, words=words)

        def prefix(path: str | None) -> str | None:
            return None if path is None else links.absolute(str(public_url), path)

        return render(
            self.environment(),
            draft.template,
            context,
            words=words,
            placeholder=nonce(),
            link_prefix=prefix(draft.link_path),
            not_me_prefix=prefix(draft.not_me_path),
            with_code=draft.with_code,
        )


def _parcel(mail: outbox.Prepared, credentials: Credentials | None, date: datetime) -> Parcel:
    return Parcel(
        mail.recipient, mail.rendered, date, mail.message_id_header, credentials, mail.claim
    )


def _wait(session: Session, claim: Claim, reason: str, error: RenderError) -> None:
    """Give back what another release of the application can send."""
    _warn(claim, error)
    tokens.drop(session, [claim.id])
    outbox.release(
        session, claim, reason=reason, delay=_RELEASE_WAIT, error=str(error), counts=False
    )


def _warn(claim: Claim, error: RenderError) -> None:
    """The text names templates and nothing of the message."""
    extra = {"action": "render_failed", "message_id": str(claim.id)}
    logger.warning("no mail can be made: %s", error, extra=extra)
