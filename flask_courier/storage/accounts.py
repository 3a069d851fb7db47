"""Account stores over SQLAlchemy models."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, lazyload
from werkzeug.security import generate_password_hash

from flask_courier.core.accounts import AccountState, find_each, fold, get_each, spellings
from flask_courier.core.clock import utc_now
from flask_courier.core.errors import AddressTaken, ConfigError
from flask_courier.core.ids import new_id

#: Where a hash stands, and no hash function's: comparing a password with it fails.
UNUSABLE_HASH = "!"


class SQLAlchemyAccounts:
    """Accounts that are rows of one mapped class.

    Needs attributes for the id, the address, when it was verified and the password's hash;
    everything else is used where it is there.

    :param model: the mapped class.
    :param email: attribute of the address; look-ups compare it folded to lower case, so an index
        on ``lower(email)`` serves addresses that are not stored in lower case.
    :param set_password: method that takes the new password, where there is one.
    :param password_hash: attribute of the hash: what recovery links depend on, and what is written,
        through ``hash_password``, where the model has no ``set_password``.
    :param email_verified_at: attribute that takes the time of verification.
    :param is_active: attribute or property; absent, every account is active.
    :param security_stamp: attribute; changed when login sessions must end.
    :param locale: attribute with a language tag.
    :param hash_password: makes a hash of a password.
    :param unusable_hash: what stands for a password that was dropped; None where the model may be
        without one.
    :raises ConfigError: if the model lacks an attribute that is needed.
    """

    def __init__(
        self,
        model: type[Any],
        *,
        id: str = "id",  # noqa: A002 - the attribute's usual name
        email: str = "email",
        set_password: str = "set_password",  # noqa: S107 - the name of a method
        password_hash: str = "password_hash",  # noqa: S107 - the name of an attribute
        email_verified_at: str = "email_verified_at",
        is_active: str = "is_active",
        security_stamp: str = "security_stamp",
        locale: str = "locale",
        hash_password: Callable[[str], str] = generate_password_hash,
        unusable_hash: str | None = UNUSABLE_HASH,
    ) -> None:
        self.model = model
        self._id = id
        self._email = email
        self._set_password = set_password
        self._password_hash = password_hash
        self._verified_at = email_verified_at
        self._is_active = is_active
        self._stamp = security_stamp
        self._locale = locale
        self._hash_password = hash_password
        self._unusable_hash = unusable_hash
        self._refuse_unfit()

    def _refuse_unfit(self) -> None:
        if sa.inspect(self.model, raiseerr=False) is None:
            raise ConfigError(["user_model is not a class that SQLAlchemy has mapped"])
        name = self.model.__name__
        problems = [
            f"user_model {name} has no attribute {attribute!r}; add it or name yours: "
            f"SQLAlchemyAccounts({name}, {keyword}=…)"
            for keyword, attribute in (
                ("id", self._id),
                ("email", self._email),
                ("email_verified_at", self._verified_at),
            )
            if not hasattr(self.model, attribute)
        ]
        if not hasattr(self.model, self._password_hash):
            problems.append(
                f"user_model {name} has no attribute {self._password_hash!r}; a recovery link must "
                "die with the password it would replace, so name the attribute that holds its "
                f"hash: SQLAlchemyAccounts({name}, password_hash=…)"
            )
        if _bind_key(self.model) is not None:
            problems.append(
                f"user_model {name} lives in another bind; accounts and messages must share the "
                "default database, or a password and its token could not change in one transaction"
            )
        if problems:
            raise ConfigError(problems)

    def find(self, session: Session, address: str) -> Any | None:
        """The account whose address folds to the same, or None; an exact match comes first.

        The database's own comparison only narrows the search: collations take look-alikes for
        equal (CVE-2019-19844), so the answer is checked here.
        """
        column = getattr(self.model, self._email)
        folded, written = fold(address), spellings(address)
        for condition in (column.in_(written), sa.func.lower(column).in_(written)):
            rows = session.execute(self._select().where(condition)).scalars().all()
            same = [row for row in rows if fold(getattr(row, self._email)) == folded]
            exact = [row for row in same if getattr(row, self._email) == address]
            if exact or len(same) == 1:
                return (exact or same)[0]
        return None

    def get(self, session: Session, reference: str, *, for_update: bool = False) -> Any | None:
        """The account with this primary key; ``for_update`` reads it anew and locks its row."""
        column = getattr(self.model, self._id)
        key = _typed_key(column, reference)
        if key is None:
            return None
        statement = self._select().where(column == key)
        if for_update:
            statement = statement.with_for_update().execution_options(populate_existing=True)
        return session.execute(statement).scalars().one_or_none()

    def references(self, session: Session, addresses: Sequence[str]) -> dict[str, str]:
        """The references of the accounts that :meth:`find` answers for these addresses."""
        if type(self).find is not SQLAlchemyAccounts.find:
            return find_each(self, session, addresses)
        found: dict[str, str] = {}
        key, column = getattr(self.model, self._id), getattr(self.model, self._email)
        written = {address: spellings(address) for address in addresses}
        for comparable, spelt in ((column, str), (sa.func.lower(column), str.lower)):
            missing = {word: a for a in addresses if a not in found for word in written[a]}
            if missing:
                rows: dict[str, list[Any]] = {}
                for row in session.execute(sa.select(key, column).where(comparable.in_(missing))):
                    rows.setdefault(spelt(row[1]), []).append(row)
                for address in set(missing.values()):
                    same = [row for word in set(written[address]) for row in rows.get(word, ())]
                    match = _matching(address, same)
                    found |= {} if match is None else {address: match}
        return found

    def get_many(self, session: Session, references: Sequence[str]) -> dict[str, Any]:
        """What :meth:`get` answers for each reference, read anew and locked."""
        column = getattr(self.model, self._id)
        keys = {key: ref for ref in references if (key := _typed_key(column, ref)) is not None}
        if type(self).get is not SQLAlchemyAccounts.get or len(keys) < len(references):
            return get_each(self, session, references)
        # In one order everywhere, so that two workers never wait for each other.
        statement = self._select().where(column.in_(keys)).order_by(column).with_for_update()
        statement = statement.execution_options(populate_existing=True)
        found = session.execute(statement).scalars()
        return {keys[getattr(account, self._id)]: account for account in found}

    def states(self, session: Session, references: Sequence[str]) -> dict[str, AccountState]:
        """What :meth:`state` answers for each reference, read anew and locked: columns alone."""
        column = getattr(self.model, self._id)
        keys = {key: ref for ref in references if (key := _typed_key(column, ref)) is not None}
        columns = self._state_columns
        if columns is None or len(keys) < len(references):
            held = self.get_many(session, references)
            return {reference: self.state(account) for reference, account in held.items()}
        # In the order of :meth:`get_many`.
        statement = sa.select(column, *columns).where(column.in_(keys)).order_by(column)
        found = session.execute(statement.with_for_update())
        return {keys[key]: _state(values) for key, *values in found}

    @cached_property
    def _state_columns(self) -> list[sa.ColumnElement[Any]] | None:
        """The attributes of a state, in SQL; None where an account itself has to be asked."""
        own = ("get", "get_many", "state", "reference")
        if any(getattr(type(self), one) is not getattr(SQLAlchemyAccounts, one) for one in own):
            return None
        mapped, names = cast("Any", sa.inspect(self.model)).column_attrs, self._state_attributes
        if any(hasattr(self.model, name) and name not in mapped for name, *_ in names):
            return None
        return [
            getattr(self.model, name) if name in mapped else sa.literal(*default)
            for name, *default in names
        ]

    def _select(self) -> sa.Select[Any]:
        # The row alone: a relationship that is loaded with it is an outer join, which cannot be
        # locked, or more rows than one.
        return sa.select(self.model).options(lazyload("*"))

    def reference(self, account: Any) -> str:
        """The primary key as text."""
        return str(getattr(account, self._id))

    def state(self, account: Any) -> AccountState:
        """What tokens depend on."""
        return _state([getattr(account, *attribute) for attribute in self._state_attributes])

    @property
    def _state_attributes(self) -> list[tuple[str] | tuple[str, Any]]:
        """What a state is made of: attributes, and what stands for those that may be missing."""
        return [
            (self._email,),
            (self._is_active, True),
            (self._verified_at,),
            (self._password_hash, None),
            (self._stamp, None),
            (self._locale, None),
        ]

    def set_password(self, session: Session, account: Any, password: str) -> None:  # noqa: ARG002
        """Hand the password to the model, or store its hash."""
        method = getattr(account, self._set_password, None)
        if method is not None:
            method(password)
        else:
            setattr(account, self._password_hash, self._hash_password(password))

    def mark_verified(self, session: Session, account: Any, address: str) -> None:  # noqa: ARG002
        """Note the time of verification.

        :raises ValueError: if ``address`` is no longer the account's.
        """
        if fold(getattr(account, self._email)) != fold(address):
            raise ValueError("the address that was verified is no longer the account's")
        # Compared as the column compares: a naive column gets naive UTC.
        column_type = getattr(getattr(self.model, self._verified_at), "type", None)
        aware = getattr(column_type, "timezone", True) or not isinstance(column_type, sa.DateTime)
        moment = utc_now()
        setattr(account, self._verified_at, moment if aware else moment.replace(tzinfo=None))

    def change_address(self, session: Session, account: Any, address: str) -> None:
        """Store the new address.

        :raises AddressTaken: if the database refuses it, as it does where addresses are unique.
        """
        setattr(account, self._email, address)
        try:
            session.flush()
        except IntegrityError:
            taken = True
        else:
            taken = False
        # Outside the handler: the driver's own words name the address.
        if taken:
            raise AddressTaken

    def drop_credentials(self, session: Session, account: Any) -> None:  # noqa: ARG002
        """Put ``unusable_hash`` in the password's place; other credentials are yours."""
        if getattr(account, self._password_hash) is not None:
            setattr(account, self._password_hash, self._unusable_hash)

    def revoke_sessions(self, session: Session, account: Any) -> None:  # noqa: ARG002
        """Change the security stamp, where the model has one."""
        if hasattr(self.model, self._stamp):
            setattr(account, self._stamp, new_id(utc_now()).hex)


def _matching(address: str, rows: Sequence[Any]) -> str | None:
    """The reference of the account that has this address: the exact one, or else the only one."""
    if len(rows) == 1 and rows[0][1] == address:
        return str(rows[0][0])
    same = [(str(key), written) for key, written in rows if fold(written) == fold(address)]
    exact = [key for key, written in same if written == address]
    return exact[0] if exact else same[0][0] if len(same) == 1 else None


def _state(values: Sequence[Any]) -> AccountState:
    """A state from what its attributes hold, in the order of ``_state_attributes``."""
    address, active, verified_at, hash_, stamp, locale = values
    return AccountState(
        address=address,
        active=bool(active),
        verified=verified_at is not None,
        password_hash=hash_,
        security_stamp=None if stamp is None else str(stamp),
        locale=None if locale is None else str(locale),
    )


def _bind_key(model: type[Any]) -> str | None:
    key: str | None = getattr(model, "__bind_key__", None) or model.metadata.info.get("bind_key")
    return key


def _typed_key(column: Any, reference: str) -> Any | None:
    """``reference`` as the column's Python type, or None if it cannot be one of its values."""
    python_type: type[Any] = object
    # A type that does not say: SQLAlchemy 2.0 raises, 2.1 answers object.
    with contextlib.suppress(NotImplementedError):
        python_type = column.type.python_type
    if python_type is object:
        return reference
    try:
        key = python_type(reference)
    except (TypeError, ValueError):
        return None
    # No database has wider ones, and their drivers raise.
    return None if isinstance(key, int) and key.bit_length() > 63 else key
