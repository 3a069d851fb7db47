"""The worker's half of a challenge: whose account it is, whether it gets a mail, and its token.

A batch at a time: the accounts of all its messages are locked, read and counted together.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy.orm import Session

from flask_courier.core.accounts import (
    AccountState,
    fold,
    normalise_address,
    references_of,
    states_of,
)
from flask_courier.core.errors import AddressError
from flask_courier.core.ids import random_bytes
from flask_courier.core.messages import STATE_KEY, Claim, Credentials, Draft, Refusal
from flask_courier.core.tokens import SEED_BYTES, Ending, Key, Seed
from flask_courier.flows.challenge import Challenge, Settings
from flask_courier.flows.not_me import NOT_ME
from flask_courier.storage import limits, outbox, tokens, waiting
from flask_courier.storage.outbox.operator import FIRST_QUEUED_KEY
from flask_courier.storage.waiting import ADDRESS_TAKEN

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
        checked = _recipient(session, challenge, settings, owners.get(claim.id), claim)
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
        (token, *others), credentials = _mint(challenge, settings, claim=claim, owner=owner)
        minted.append(token)
        if challenge.to_new_address and _is_taken(session, settings, owner, recipient):
            # All else is as for a free address, or what becomes of other mail would tell.
            answers[claim.id] = Refusal(ADDRESS_TAKEN)
            continue
        minted += others
        answers[claim.id] = draft(
            challenge,
            settings,
            claim=claim,
            owner=owner,
            recipient=recipient,
            credentials=credentials,
        )
    allowance.save()
    if minted:
        by = {token.account_ref: token.message_id for token in minted}
        outbox.supersede(session, kind=challenge.purpose.value, by=by)
        if challenge.to_new_address:
            _end_older(session, challenge, by)
        tokens.add(session, minted)
    return answers


def draft(
    challenge: Challenge,
    settings: Settings,
    *,
    claim: Claim,
    owner: Owner,
    recipient: str,
    credentials: Credentials,
) -> Draft:
    """What the mail of a challenge is made of."""
    config, kind = settings.config, challenge.purpose.value
    return Draft(
        recipient=recipient,
        account_ref=owner.reference,
        template=f"courier/mail/{kind}",
        context={
            **claim.context,
            "link_lifetime": challenge.lifetime(config),
            "code_lifetime": config.code_lifetime,
        },
        # What the account says comes before what the browser asked for.
        locales=(owner.state.locale, claim.locale),
        link_path=challenge.link_path(config),
        credentials=credentials,
        not_me_path=NOT_ME.link_path(config) if challenge.disownable else None,
        with_code=challenge.has_code,
    )


def _end_older(session: Session, challenge: Challenge, by: Mapping[str, uuid.UUID]) -> None:
    """Of two new addresses only the one that was asked for last can be confirmed."""
    for reference in by:
        purposes = [challenge.purpose]
        tokens.end(session, account_ref=reference, purposes=purposes, ending=Ending.REPLACED)


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
    states = states_of(accounts, session, references)
    owners = {reference: Owner(reference, state) for reference, state in states.items()}
    return {claim_id: owners[ref] for claim_id, ref in named.items() if ref in owners}


def _recipient(
    session: Session, challenge: Challenge, settings: Settings, owner: Owner | None, claim: Claim
) -> tuple[Owner, str] | Refusal:
    """Whose mail it is and where it goes, or why there is none."""
    if owner is None:
        return Refusal("no_account")
    reason = "inactive" if not owner.state.active else challenge.refuses(owner.state)
    if reason is None and challenge.freezes and settings.is_frozen(session, owner.reference):
        reason = "frozen"
    if reason is None and challenge.to_new_address:
        reason = _refuse_address(session, challenge, settings, owner, claim)
    if reason is not None:
        return Refusal(reason)
    if challenge.to_new_address:
        return owner, claim.recipient
    if owner.state.address == claim.recipient:
        # It has been through normalise_address when it was asked for.
        return owner, claim.recipient
    try:
        return owner, normalise_address(owner.state.address)
    except AddressError:
        return Refusal("bad_address")


def _refuse_address(
    session: Session, challenge: Challenge, settings: Settings, owner: Owner, claim: Claim
) -> str | None:
    """Why no mail about this new address goes out, or None."""
    kind, state = challenge.purpose.value, owner.state
    if waiting.has_newer(session, kind=kind, account_ref=owner.reference, than=claim.id):
        return "superseded"
    as_asked = settings.keys.fingerprints(challenge.purpose, challenge.covers(state))
    if claim.context.get(STATE_KEY) not in as_asked:
        return "account_changed"
    # The first proof of an address is verification's, which drops what is older than it; once there
    # is one, another spelling is a change as any other.
    written, asked = state.address, claim.recipient
    same = written == asked if state.verified else fold(written) == fold(asked)
    return "address_unchanged" if same else None


def _is_taken(session: Session, settings: Settings, owner: Owner, address: str) -> bool:
    """Whether another account has the address."""
    other = settings.accounts.find(session, address)
    return other is not None and settings.accounts.reference(other) != owner.reference


class _Allowance:
    """How much mail the accounts of a batch may still get.

    Whatever a stranger sends, the owner keeps a live mail: the limits only hold while one is out.
    The day's limit counts nothing but mail that goes out. It is absolute for mail to an address
    that whoever is signed in may choose. Who sends a message anew from the delivery log says that
    the mail which is out did not help: what is out holds that back no more.
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
        if not all(room) and self._has_live(claim, owner):
            return "recipient_limit"
        room = [take(key, limit) for limit in self._long]
        absolute = self._challenge.to_new_address
        if not all(room) and (absolute or self._has_live(claim, owner)):
            return "day_limit"
        self._served.add(owner.reference)
        return None

    def _has_live(self, claim: Claim, owner: Owner) -> bool:
        if owner.reference in self._served:
            return True
        if FIRST_QUEUED_KEY in claim.context:
            return False
        purpose, covers = self._challenge.purpose, self._challenge.covers
        return waiting.has_live(
            self._session,
            kind=purpose.value,
            account_ref=owner.reference,
            fingerprints=self._settings.keys.fingerprints(purpose, covers(owner.state)),
            than=claim.id,
            recipient=claim.recipient if self._challenge.to_new_address else None,
        )

    def save(self) -> None:
        """Write down what was counted."""
        self._counters.save()


def _mint(
    challenge: Challenge, settings: Settings, *, claim: Claim, owner: Owner
) -> tuple[list[tokens.NewToken], Credentials]:
    """The tokens of a mail, and what it carries of them."""
    key = settings.keys.current
    seed = Seed(challenge.purpose, str(claim.id), random_bytes(SEED_BYTES))
    address = claim.recipient if challenge.to_new_address else owner.state.address
    address_key = key.address_key(fold(address))
    credentials = Credentials.of(key, seed, digits=settings.config.code_digits)
    token = tokens.NewToken(
        key=key,
        seed=seed,
        message_id=claim.id,
        account_ref=owner.reference,
        address_key=address_key,
        code_digest=(
            key.code_digest(challenge.purpose, address_key, credentials.code)
            if challenge.has_code
            else None
        ),
        fingerprint=challenge.fingerprint(key, owner.state),
        lifetime=challenge.lifetime(settings.config),
        token_id=credentials.token_id,
    )
    if not challenge.disownable:
        return [token], credentials
    # For an owner who did not ask for it.
    not_me = token._replace(
        seed=seed.of(NOT_ME.purpose),
        code_digest=None,
        fingerprint=_not_me_fingerprint(key),
        lifetime=NOT_ME.lifetime(settings.config),
        keep_seed=False,
        token_id=credentials.not_me_id,
    )
    return [token, not_me], credentials


@lru_cache(8)
def _not_me_fingerprint(key: Key) -> str:
    return key.fingerprint(NOT_ME.purpose, ())
