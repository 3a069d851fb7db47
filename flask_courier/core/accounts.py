"""The host application's accounts as the extension sees them: addresses, state, and the store."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, runtime_checkable

from email_validator import EmailNotValidError, ValidatedEmail, validate_email

from flask_courier.core.errors import AddressError

#: RFC 5321 section 4.5.3.1.3: a path is 256 octets with its angle brackets.
ADDRESS_LIMIT = 254

SessionT = TypeVar("SessionT")
SessionT_contra = TypeVar("SessionT_contra", contravariant=True)


@dataclass(frozen=True)
class AccountState:
    """What tokens depend on: a change of any of it ends those whose purpose covers it."""

    #: The address that mail goes to, as the application stores it.
    address: str
    active: bool
    verified: bool
    #: The password as the application stores it, or None for an account without one.
    password_hash: str | None = field(default=None, repr=False)
    #: Changes when every token and login session of the account must end; None if there is none.
    security_stamp: str | None = field(default=None, repr=False)
    #: A language tag (RFC 5646) for mail, or None.
    locale: str | None = None


class AccountStore(Protocol[SessionT_contra]):
    """How the extension reaches accounts. Every call joins the session it is handed.

    Nothing here may commit: a token is consumed and a password set in one transaction. An account
    may be any object; the extension only hands it back.
    """

    def find(self, session: SessionT_contra, address: str) -> Any | None:
        """The account with this address, compared by :func:`fold`, or None."""
        ...

    def get(
        self, session: SessionT_contra, reference: str, *, for_update: bool = False
    ) -> Any | None:
        """The account with this reference, or None.

        With ``for_update`` it is read anew from the database and its row stays locked until the
        transaction ends (on SQLite the transaction itself is the lock).
        """
        ...

    def reference(self, account: Any) -> str:
        """What names the account for good: its primary key as text, 255 characters at most.

        No later account may have it: a link that undoes a change of address is good for days.
        """
        ...

    def state(self, account: Any) -> AccountState:
        """What tokens depend on, as it is in this transaction."""
        ...

    def set_password(self, session: SessionT_contra, account: Any, password: str) -> None:
        """Store ``password``, hashed as the application hashes."""
        ...

    def mark_verified(self, session: SessionT_contra, account: Any, address: str) -> None:
        """Note that the account's owner reads mail at ``address``, which is its address now."""
        ...

    def revoke_sessions(self, session: SessionT_contra, account: Any) -> None:
        """End every login session of the account."""
        ...


@runtime_checkable
class ChangesAddresses(Protocol[SessionT_contra]):
    """What a store needs beside for changes of address."""

    def change_address(self, session: SessionT_contra, account: Any, address: str) -> None:
        """Store ``address`` as the account's, and mark nothing verified.

        :raises AddressTaken: if the database says that another account has it.
        """
        ...


@runtime_checkable
class DropsCredentials(Protocol[SessionT_contra]):
    """What a store has beside that forgets whatever opens an account: see ``flows.proof``."""

    def drop_credentials(self, session: SessionT_contra, account: Any) -> None:
        """Make the account's password, and every other credential it has, worthless."""
        ...


def references_of(
    store: AccountStore[SessionT], session: SessionT, addresses: Sequence[str]
) -> dict[str, str]:
    """The references of the accounts with these addresses, as far as there are any.

    A store may answer for all of them at once in a method ``references(session, addresses)``.
    """
    at_once = getattr(store, "references", None)
    if at_once is not None:
        answers: dict[str, str] = at_once(session, addresses)
        return answers
    return find_each(store, session, addresses)


def find_each(
    store: AccountStore[SessionT], session: SessionT, addresses: Sequence[str]
) -> dict[str, str]:
    """The same, one address after the other."""
    found = ((address, store.find(session, address)) for address in addresses)
    return {address: store.reference(one) for address, one in found if one is not None}


def accounts_of(
    store: AccountStore[SessionT], session: SessionT, references: Sequence[str]
) -> dict[str, Any]:
    """The accounts with these references, read anew and locked, as far as there are any.

    A store may answer for all of them at once in a method ``get_many(session, references)``.
    """
    at_once = getattr(store, "get_many", None)
    if at_once is not None:
        answers: dict[str, Any] = at_once(session, references)
        return answers
    return get_each(store, session, references)


def states_of(
    store: AccountStore[SessionT], session: SessionT, references: Sequence[str]
) -> dict[str, AccountState]:
    """The states of these accounts, read anew and locked, as far as there are any.

    A store may answer for all of them at once in a method ``states(session, references)``.
    """
    at_once = getattr(store, "states", None)
    if at_once is not None:
        answers: dict[str, AccountState] = at_once(session, references)
        return answers
    held = accounts_of(store, session, references)
    return {name: store.state(account) for name, account in held.items()}


def get_each(
    store: AccountStore[SessionT], session: SessionT, references: Sequence[str]
) -> dict[str, Any]:
    """The same, one reference after the other."""
    found = ((name, store.get(session, name, for_update=True)) for name in references)
    return {name: one for name, one in found if one is not None}


def normalise_address(text: str) -> str:
    """``text`` as an address that mail can be sent to; a look-up in no network.

    :raises AddressError: if it is not one (RFC 5321, RFC 6531; by email-validator).
    """
    checked = _validate(text)
    return checked.ascii_email or f"{checked.local_part}@{checked.ascii_domain}"


def fold(address: str) -> str:
    """The form in which two spellings of an address are the same: NFKC, lower case, ASCII domain.

    Look-alikes of other scripts stay different (CVE-2019-19844): a dotless i is not an i.
    """
    local, _, domain = address.rpartition("@")
    ascii_domain, _ = _domain_forms(domain)
    if local.isascii():
        return f"{local.lower()}@{ascii_domain}"
    # Twice: some letters meet their accent only once they are lower case (Greek iota, dialytika).
    lower = unicodedata.normalize("NFKC", local).lower()
    return f"{unicodedata.normalize('NFKC', lower)}@{ascii_domain}"


def search_key(address: str) -> str:
    """What the log finds an address by, whatever its case: folded, and as long as its column."""
    return fold(address)[:ADDRESS_LIMIT]


def spellings(address: str) -> list[str]:
    """How an account may have stored this address: as it came, folded, with a Unicode domain."""
    folded = fold(address)
    if folded.isascii() and "xn--" not in folded:
        return [address] if folded == address else [address, folded]
    local, _, domain = folded.rpartition("@")
    _, unicode_domain = _domain_forms(domain)
    return list(dict.fromkeys([address, folded, f"{local}@{unicode_domain}"]))


def mask_address(address: str) -> str:
    """``a•••@example.com``: enough for its owner to know it, not enough for anybody else."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}•••@{domain}"


def _domain_forms(domain: str) -> tuple[str, str]:
    """The domain in lower case, in ASCII and in Unicode (RFC 5891); as it is, if it is none."""
    lower = domain.lower()
    if domain.isascii() and "xn--" not in lower:
        return lower, lower
    try:
        found = _validate(f"x@{domain}")
    except AddressError:
        return lower, domain
    return found.ascii_domain.lower(), found.domain


def _validate(text: str) -> ValidatedEmail:
    try:
        # test_environment lets "test" domains pass; whether a domain exists is the SMTP server's
        # to say, and a request may not wait for a name server.
        return validate_email(
            text, check_deliverability=False, test_environment=True, allow_smtputf8=True
        )
    except EmailNotValidError:
        raise AddressError(
            "a recipient is not an e-mail address; it must look like name@example.com"
        ) from None
