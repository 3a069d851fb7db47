"""The worker's half of a challenge: whose account it is, whether it gets a mail, and its token.

A batch at a time: the accounts of all its messages are locked, read and counted together.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from flask_courier.core.accounts import (
    AccountState,
    accounts_of,
    fold,
    normalise_address,
    references_of,
)
from flask_courier.core.durations import describe
from flask_courier.core.errors import AddressError
from flask_courier.core.ids import random_bytes
from flask_courier.core.messages import Claim, Draft, Refusal
from flask_courier.core.tokens import SEED_BYTES, Seed
from flask_courier.flows.challenge import Challenge, Settings
from flask_courier.storage import limits, outbox, tokens, waiting

_DAY = 86_400


@dataclass(frozen=True)
class Owner:
    """The account a mail is for."""

    reference: str
    state: AccountState


def prepare(
    session: Session, challenge: Challenge, settings: Settings, claims: Sequence[Claim]
) -> dict[uuid.UUID, Draft | Refusal]:
    """The worker's half: look accounts up, apply their limits, mint. Joins a begun transaction."""
    owners = _hold_owners(session, settings, claims)
    answers: dict[uuid.UUID, Draft | Refusal] = {}
    wanted: list[tuple[Claim, Owner, str]] = []
    for claim in claims:
        checked = _recipient(challenge, owners.get(claim.id), claim)
        if isinstance(checked, Refusal):
            answers[claim.id] = checked
        else:
            wanted.append((claim, *checked))
    allowance = _Allowance(session, challenge, settings, [owner for _, owner, _ in wanted])
    minted: list[tokens.NewToken] = []
    for claim, owner, recipient in wanted:
        reason = allowance.refuse(claim, owner)
        if reason is not None:
            answers[claim.id] = Refusal(reason)
            continue
        token = _mint(challenge, settings, claim=claim, owner=owner)
        minted.append(token)
        answers[claim.id] = _draft(
            challenge, settings, claim=claim, owner=owner, recipient=recipient, seed=token.seed
        )
    allowance.save()
    if minted:
        by = {token.account_ref: token.message_id for token in minted}
        outbox.supersede(session, kind=challenge.purpose.value, by=by)
        tokens.add(session, minted)
    return answers


def _draft(
    challenge: Challenge,
    settings: Settings,
    *,
    claim: Claim,
    owner: Owner,
    recipient: str,
    seed: Seed,
) -> Draft:
    config, kind = settings.config, challenge.purpose.value
    return Draft(
        recipient=recipient,
        account_ref=owner.reference,
        template=f"courier/mail/{kind}",
        context={
            **claim.context,
            "link_lifetime": describe(challenge.lifetime(config)),
            "code_lifetime": describe(config.code_lifetime),
        },
        link_path=f"{config.account_url_prefix}/{kind}/",
        seed=seed,
    )


def _hold_owners(
    session: Session, settings: Settings, claims: Sequence[Claim]
) -> dict[uuid.UUID, Owner]:
    """The accounts that messages are for, locked and as they are now, as far as there are any."""
    accounts = settings.accounts
    named = {claim.id: claim.account_ref for claim in claims if claim.account_ref is not None}
    asked = {claim.id: claim.recipient for claim in claims if claim.account_ref is None}
    found = references_of(accounts, session, sorted(set(asked.values())))
    named |= {claim_id: found[address] for claim_id, address in asked.items() if address in found}
    references = sorted(set(named.values()))
    if not references:
        return {}
    limits.lock(session, [settings.mutex(reference) for reference in references])
    # Read again: what was read before the lock may have been changed by whoever held it.
    held = accounts_of(accounts, session, references)
    owners = {ref: Owner(ref, accounts.state(account)) for ref, account in held.items()}
    return {claim_id: owners[ref] for claim_id, ref in named.items() if ref in owners}


def _recipient(
    challenge: Challenge, owner: Owner | None, claim: Claim
) -> tuple[Owner, str] | Refusal:
    """Whose mail it is and where it goes, or why there is none."""
    if owner is None:
        return Refusal("no_account")
    reason = "inactive" if not owner.state.active else challenge.refuses(owner.state)
    if reason is not None:
        return Refusal(reason)
    if owner.state.address == claim.recipient:
        # It has been through normalise_address when it was asked for.
        return owner, claim.recipient
    try:
        return owner, normalise_address(owner.state.address)
    except AddressError:
        return Refusal("bad_address")


class _Allowance:
    """How much mail the accounts of a batch may still get.

    Whatever a stranger sends, the owner keeps a live mail: the short limits only hold while one is
    out. Only the day's limit is absolute, and it counts nothing but mail that goes out.
    """

    def __init__(
        self, session: Session, challenge: Challenge, settings: Settings, owners: Sequence[Owner]
    ) -> None:
        self._session = session
        self._challenge = challenge
        self._settings = settings
        every = settings.config.recipient_limit
        self._short = [limit for limit in every if limit.seconds < _DAY]
        self._long = [limit for limit in every if limit.seconds >= _DAY]
        self._keys = {owner.reference: self._key(owner) for owner in owners}
        wanted = {(key, limit) for key in self._keys.values() for limit in every}
        self._counters = limits.Counters(session, wanted)
        #: Accounts that get a mail from this very batch.
        self._served: set[str] = set()

    def _key(self, owner: Owner) -> str:
        purpose = self._challenge.purpose.value
        return self._settings.keys.current.limit_key("recipient", purpose, owner.reference)

    def refuse(self, claim: Claim, owner: Owner) -> str | None:
        """Why the owner gets no more mail now, or None; then it is counted."""
        key, take = self._keys[owner.reference], self._counters.take
        # Every one is counted, also behind one that is full.
        room = [take(key, limit) for limit in self._short]
        if not all(room) and (owner.reference in self._served or self._has_live(claim, owner)):
            return "recipient_limit"
        room = [take(key, limit) for limit in self._long]
        if not all(room):
            return "day_limit"
        self._served.add(owner.reference)
        return None

    def _has_live(self, claim: Claim, owner: Owner) -> bool:
        purpose, covers = self._challenge.purpose, self._challenge.covers
        return waiting.has_live(
            self._session,
            kind=purpose.value,
            account_ref=owner.reference,
            fingerprints=self._settings.keys.fingerprints(purpose, covers(owner.state)),
            than=claim.id,
        )

    def save(self) -> None:
        """Write down what was counted."""
        self._counters.save()


def _mint(
    challenge: Challenge, settings: Settings, *, claim: Claim, owner: Owner
) -> tokens.NewToken:
    key = settings.keys.current
    seed = Seed(challenge.purpose, str(claim.id), random_bytes(SEED_BYTES))
    address_key = key.address_key(fold(owner.state.address))
    code = key.code(seed, settings.config.code_digits)
    return tokens.NewToken(
        key=key,
        seed=seed,
        message_id=claim.id,
        account_ref=owner.reference,
        address_key=address_key,
        code_digest=key.code_digest(challenge.purpose, address_key, code),
        fingerprint=challenge.fingerprint(key, owner.state),
        lifetime=challenge.lifetime(settings.config),
    )
