"""Accounts that are rows: which one an address means, how it is locked, and what is refused."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import pytest
import sqlalchemy as sa
from babel import Locale
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.dialects import mysql
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from werkzeug.security import check_password_hash

from flask_courier.core.accounts import AccountState, AccountStore
from flask_courier.core.clock import utc_now
from flask_courier.core.errors import ConfigError
from flask_courier.storage.accounts import SQLAlchemyAccounts
from flask_courier.storage.dialect import UtcDateTime
from flask_courier.storage.quickstart import (
    QuickstartAccount,
    QuickstartAccounts,
    QuickstartBase,
)
from flask_courier.storage.uow import Database
from tests.databases import every_database
from tests.site import Site

DOTLESS_I = "\N{LATIN SMALL LETTER DOTLESS I}"


#: Texts that differ by case are different in every database.
BY_CASE = sa.String(320).with_variant(mysql.VARCHAR(320, collation="utf8mb4_bin"), "mysql")


class Base(DeclarativeBase):
    """The base of the models below, which no site has."""


class Keyed:
    """An account without behaviour: only columns."""

    email: Mapped[str] = mapped_column(BY_CASE)
    password_hash: Mapped[str | None] = mapped_column(sa.String(255))
    email_verified_at: Mapped[datetime | None] = mapped_column(sa.DateTime())


class ByUuid(Keyed, Base):
    """An account whose key is a UUID."""

    __tablename__ = "account_by_uuid"
    id: Mapped[uuid.UUID] = mapped_column(sa.Uuid(), primary_key=True)


class ByName(Keyed, Base):
    """An account whose key is a text, in a column of another name."""

    __tablename__ = "account_by_name"
    handle: Mapped[str] = mapped_column(BY_CASE, primary_key=True)


class OtherBase(DeclarativeBase):
    """The base of a model that MySQL takes no table of."""


class ByBytes(Keyed, OtherBase):
    """An account whose key no text can be turned into."""

    __tablename__ = "account_by_bytes"
    id: Mapped[bytes] = mapped_column(sa.LargeBinary(16), primary_key=True)


class Untyped(sa.types.UserDefinedType[Any]):
    """A type that does not tell its Python type."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """A type that every database has."""
        return "VARCHAR(36)"


class ByUntyped(Keyed, Base):
    """An account whose key is of a type of the application's own."""

    __tablename__ = "account_by_untyped"
    id: Mapped[str] = mapped_column(Untyped(), primary_key=True)


@contextmanager
def session_on(engine: sa.Engine, *bases: type[DeclarativeBase]) -> Iterator[Session]:
    """A session on the tables of ``bases``, which exist meanwhile."""
    for base in bases:
        base.metadata.create_all(engine)
    try:
        with Session(engine) as session:
            yield session
    finally:
        for base in bases:
            base.metadata.drop_all(engine)


@pytest.fixture
def accounts(site: Site) -> SQLAlchemyAccounts:
    """The site's accounts."""
    return SQLAlchemyAccounts(site.user)


@pytest.fixture
def find(accounts: SQLAlchemyAccounts, database: Database) -> Callable[[str], str | None]:
    """The address of the account that an address means."""

    def find(address: str) -> str | None:
        def work(session: Session) -> str | None:
            account = accounts.find(session, address)
            return None if account is None else str(account.email)

        return database.transact(work)

    return find


def test_is_an_account_store(site: Site) -> None:
    """The store fits the protocol that applications implement."""
    store: AccountStore[Session] = SQLAlchemyAccounts(site.user)
    assert site.user is getattr(store, "model", None)


@every_database
@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("ada@example.com", "ada@example.com"),
        ("ada@example.com", "Ada@Example.COM"),
        ("Ada@Example.COM", "ada@example.com"),
        ("Ada@Example.COM", "aDA@example.com"),
        ("ada@bücher.example", "ada@xn--bcher-kva.example"),
        ("ada@xn--bcher-kva.example", "ada@bücher.example"),
        ("josé@example.com", "JOSÉ@example.com"),
        ("ada@example.com", "\N{FULLWIDTH LATIN CAPITAL LETTER A}da@example.com"),
    ],
)
def test_s28_spelling_does_not_matter(
    site: Site, find: Callable[[str], str | None], stored: str, asked: str
) -> None:
    """An account is found under every spelling of its address."""
    site.add_user(stored)
    assert stored == find(asked)


@every_database
@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("mike@example.com", f"m{DOTLESS_I}ke@example.com"),
        (f"m{DOTLESS_I}ke@example.com", "mike@example.com"),
        ("mike@example.com", "míke@example.com"),
        ("míke@example.com", "mike@example.com"),
        ("strasse@example.com", "straße@example.com"),
        ("mike@example.com", "mike@example.com "),
        ("mike@example.com", "mike@example.org"),
        ("mike@example.com", "%"),
        ("mike@example.com", ""),
    ],
)
def test_s28_look_alikes_are_not_found(
    site: Site, find: Callable[[str], str | None], stored: str, asked: str
) -> None:
    """CVE-2019-19844: what a collation takes for equal is not the same address."""
    site.add_user(stored)
    assert find(asked) is None


@every_database
@pytest.mark.parametrize(
    ("asked", "stored", "found"),
    [
        ("ada@example.com", ["ada@example.com", "ADA@example.com"], "ada@example.com"),
        ("ADA@example.com", ["ada@example.com", "ADA@example.com"], "ADA@example.com"),
        ("Ada@example.com", ["ada@example.com", "ADA@example.com"], "ada@example.com"),
        ("ada@example.com", ["ADA@example.com", "aDa@example.com"], None),
    ],
    ids=["lower", "upper", "neither", "ambiguous"],
)
def test_accounts_that_differ_by_case(
    engine: sa.Engine, asked: str, stored: list[str], found: str | None
) -> None:
    """The spelling asked for is meant, else the folded one; where none of them is, nobody."""
    store = SQLAlchemyAccounts(ByName, id="handle")
    with session_on(engine, Base) as session:
        session.add_all([ByName(handle=email, email=email) for email in stored])
        session.flush()
        account = store.find(session, asked)
        assert found == (None if account is None else account.email)


@every_database
def test_get_by_reference(site: Site, database: Database, accounts: SQLAlchemyAccounts) -> None:
    """What ``reference`` answers leads back to the account."""
    identity = site.add_user()
    reference = accounts.reference(site.get_user(identity))
    assert str(identity) == reference
    found = database.transact(
        lambda session: getattr(accounts.get(session, reference), "email", None)
    )
    assert "ada@example.com" == found


@every_database
@pytest.mark.parametrize("reference", ["0", "", "x", "1.5", "None"])
def test_unknown_reference(
    site: Site, database: Database, accounts: SQLAlchemyAccounts, reference: str
) -> None:
    """A reference that no account has, or could have, is answered with None."""
    site.add_user()
    assert database.transact(lambda session: accounts.get(session, reference)) is None


@every_database
def test_locked_account_is_read_anew(
    site: Site, database: Database, accounts: SQLAlchemyAccounts
) -> None:
    """``for_update`` answers what others have committed since the session first saw the row."""
    reference = str(site.add_user(name="before"))

    def rename(session: Session) -> None:
        accounts.get(session, reference).name = "after"  # type: ignore[union-attr]

    def work(session: Session) -> list[str]:
        first = accounts.get(session, reference)
        session.commit()
        names = [first.name]  # type: ignore[union-attr]
        session.commit()
        database.transact(rename)
        return [*names, accounts.get(session, reference, for_update=True).name]  # type: ignore[union-attr]

    assert ["before", "after"] == database.transact(work)


@pytest.mark.parametrize("database_name", ["postgresql", "mysql"], indirect=True)
def test_locked_account_is_read_over_a_cached_one(
    site: Site, database: Database, accounts: SQLAlchemyAccounts
) -> None:
    """Even an object that the session holds unexpired shows what others committed."""
    reference = str(site.add_user(name="before"))

    def rename(session: Session) -> None:
        accounts.get(session, reference).name = "after"  # type: ignore[union-attr]

    def work(session: Session) -> tuple[str, str]:
        account: Any = accounts.get(session, reference)
        first = account.name
        database.transact(rename)
        again: Any = accounts.get(session, reference, for_update=True)
        assert again is account
        return first, again.name

    assert ("before", "after") == database.transact(work)


@pytest.mark.parametrize("database_name", ["postgresql", "mysql"], indirect=True)
def test_locked_account_waits_for_the_lock(
    site: Site, database: Database, accounts: SQLAlchemyAccounts
) -> None:
    """While one transaction holds an account, no other one gets it for update."""
    reference = str(site.add_user())
    statement = sa.select(site.user).where(site.user.id == int(reference))

    def work(session: Session) -> list[Any]:
        accounts.get(session, reference, for_update=True)
        skipping = statement.with_for_update(skip_locked=True)
        return database.transact(lambda other: list(other.execute(skipping)))

    assert [] == database.transact(work)


@every_database
@pytest.mark.parametrize(
    ("model", "options", "key", "wrong"),
    [
        (ByUuid, {}, uuid.UUID(int=7), "not-a-uuid"),
        (ByName, {"id": "handle"}, "ada", "eve"),
        (ByUntyped, {}, "ada", "eve"),
    ],
)
def test_keys_of_any_type(
    engine: sa.Engine, model: type[Any], options: dict[str, str], key: Any, wrong: str
) -> None:
    """A key of another type than a number leads from account to reference and back."""
    store = SQLAlchemyAccounts(model, **options)  # type: ignore[arg-type]
    with session_on(engine, Base) as session:
        account = model(email="ada@example.com", **{options.get("id", "id"): key})
        session.add(account)
        session.flush()
        assert str(key) == store.reference(account)
        assert account is store.get(session, str(key))
        assert store.get(session, wrong) is None


def test_key_that_no_text_can_be_is_not_found(tmp_path: Any) -> None:
    """A reference that cannot become the key's type is answered with None, without a query."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'empty.sqlite'}")
    with Session(engine) as session:
        assert SQLAlchemyAccounts(ByBytes).get(session, "ada") is None
    engine.dispose()


def plain(**attributes: Any) -> type[Any]:
    """A mapped class with these attributes beside its id."""

    class PlainBase(DeclarativeBase):
        pass

    body = {"__tablename__": "plain", "id": mapped_column(sa.Integer, primary_key=True)}
    return type("Plain", (PlainBase,), body | attributes)


NEEDED: dict[str, Any] = {
    "email": lambda: mapped_column(sa.String(320)),
    "password_hash": lambda: mapped_column(sa.String(255)),
    "email_verified_at": lambda: mapped_column(sa.DateTime()),
}
WANTED = (
    "user_model Plain has no attribute {0!r}; add it or name yours: "
    "SQLAlchemyAccounts(Plain, {0}=…)"
)
NO_HASH = (
    "user_model Plain has no attribute 'password_hash'; a recovery link must die with the password "
    "it would replace, so name the attribute that holds its hash: "
    "SQLAlchemyAccounts(Plain, password_hash=…)"
)


def lacking(*names: str) -> type[Any]:
    """A mapped class without these attributes."""
    return plain(**{name: make() for name, make in NEEDED.items() if name not in names})


@pytest.mark.parametrize(
    ("names", "problems"),
    [
        (("email",), [WANTED.format("email")]),
        (("email_verified_at",), [WANTED.format("email_verified_at")]),
        (("password_hash",), [NO_HASH]),
        (
            ("email", "email_verified_at"),
            [WANTED.format("email"), WANTED.format("email_verified_at")],
        ),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_missing_attributes_are_named(names: tuple[str, ...], problems: list[str]) -> None:
    """Every attribute that a model lacks is named, with what to do about it."""
    with pytest.raises(ConfigError) as caught:
        SQLAlchemyAccounts(lacking(*names))
    assert problems == list(caught.value.problems)


def test_missing_id_is_named() -> None:
    """The key may have another name, which has to be given."""
    with pytest.raises(ConfigError) as caught:
        SQLAlchemyAccounts(ByName)
    expected = (
        "user_model ByName has no attribute 'id'; add it or name yours: "
        "SQLAlchemyAccounts(ByName, id=…)"
    )
    assert [expected] == list(caught.value.problems)


@pytest.mark.parametrize("where", ["class", "metadata"])
def test_model_of_another_bind_is_refused(where: str) -> None:
    """Accounts beside the default database cannot share a transaction with their tokens."""
    model = lacking()
    if where == "class":
        model.__bind_key__ = "users"
    else:
        model.metadata.info["bind_key"] = "users"
    with pytest.raises(ConfigError) as caught:
        SQLAlchemyAccounts(model)
    expected = (
        "user_model Plain lives in another bind; accounts and messages must share the default "
        "database, or a password and its token could not change in one transaction"
    )
    assert [expected] == list(caught.value.problems)


def test_model_of_the_hosts_bind_is_refused() -> None:
    """A bind key as Flask-SQLAlchemy takes it is noticed."""
    db = SQLAlchemy()

    class User(db.Model):  # type: ignore[name-defined]  # Flask-SQLAlchemy builds it
        __bind_key__ = "users"
        id = db.Column(db.Integer, primary_key=True)
        email = db.Column(db.String(320))
        password_hash = db.Column(db.String(255))
        email_verified_at = db.Column(db.DateTime)

    with pytest.raises(ConfigError, match="lives in another bind"):
        SQLAlchemyAccounts(User)


def test_state_of_a_full_model(site: Site, accounts: SQLAlchemyAccounts) -> None:
    """Everything that a model has is part of the state."""
    moment = utc_now()
    user = site.user(
        email="ada@example.com",
        password_hash="h",
        email_verified_at=moment,
        is_active=False,
        security_stamp="s",
        locale="de-AT",
    )
    expected = AccountState("ada@example.com", False, True, "h", "s", "de-AT")  # noqa: FBT003
    assert expected == accounts.state(user)


def test_state_of_a_sparse_model() -> None:
    """Without more than it must have, an account is active, has no stamp and no locale."""
    expected = AccountState("ada@example.com", True, False, None, None, None)  # noqa: FBT003
    assert expected == SQLAlchemyAccounts(ByName, id="handle").state(
        ByName(email="ada@example.com")
    )


def test_stamp_of_any_type_is_text() -> None:
    """A stamp that is a UUID or a number is compared as text."""
    model = plain(
        **{name: make() for name, make in NEEDED.items()}, security_stamp=mapped_column(sa.Uuid())
    )
    account = model(email="a", security_stamp=uuid.UUID(int=1))
    assert str(uuid.UUID(int=1)) == SQLAlchemyAccounts(model).state(account).security_stamp


def test_locale_of_any_type_is_text() -> None:
    """A locale that is an object of a library's is told as text, as Babel's is."""
    model = plain(
        **{name: make() for name, make in NEEDED.items()},
        locale=mapped_column(sa.PickleType()),
    )
    account = model(email="a", locale=Locale("de", "AT"))
    assert "de_AT" == SQLAlchemyAccounts(model).state(account).locale


def test_password_goes_through_the_model(site: Site, accounts: SQLAlchemyAccounts) -> None:
    """A model with ``set_password`` hashes as it likes."""
    user = site.user(email="ada@example.com")
    accounts.set_password(Session(), user, "correct horse")
    assert user.password_hash.startswith("pbkdf2:sha256:1$")
    assert user.check_password("correct horse")


def test_password_is_hashed_without_a_method() -> None:
    """A model without ``set_password`` gets werkzeug's hash, or that of the function given."""
    account = ByName(email="ada@example.com")
    SQLAlchemyAccounts(ByName, id="handle").set_password(Session(), account, "correct horse")
    assert account.password_hash is not None
    assert check_password_hash(account.password_hash, "correct horse")
    own = SQLAlchemyAccounts(ByName, id="handle", hash_password=lambda text: text[::-1])
    own.set_password(Session(), account, "correct horse")
    assert "esroh tcerroc" == account.password_hash


@pytest.mark.parametrize(
    ("column", "aware"),
    [
        (sa.DateTime(), False),
        (sa.DateTime(timezone=True), True),
        (UtcDateTime(), True),
    ],
    ids=["naive", "aware", "decorated"],
)
def test_time_of_verification_fits_its_column(
    column: sa.types.TypeEngine[datetime], *, aware: bool
) -> None:
    """A naive column gets naive UTC, every other one an aware time."""
    makers = {name: make() for name, make in NEEDED.items()}
    model = plain(**(makers | {"email_verified_at": mapped_column(column)}))
    account = model(email="ada@example.com")
    SQLAlchemyAccounts(model).mark_verified(Session(), account, "ADA@example.com")
    moment = account.email_verified_at
    assert aware is (moment.tzinfo is not None)
    assert abs(moment.replace(tzinfo=None) - utc_now().replace(tzinfo=None)).total_seconds() < 30


def test_time_of_verification_may_be_a_property() -> None:
    """An attribute that is no column gets an aware time."""
    noted: list[datetime] = []
    makers = {name: make() for name, make in NEEDED.items() if name != "email_verified_at"}
    verified = property(lambda _: None, lambda _, moment: noted.append(moment))
    model = plain(**makers, email_verified_at=verified)
    account = model(email="ada@example.com")
    SQLAlchemyAccounts(model).mark_verified(Session(), account, "ada@example.com")
    assert [True] == [moment.tzinfo is not None for moment in noted]


def test_address_that_is_not_the_accounts_is_not_verified() -> None:
    """What was verified must be the account's address now."""
    account = ByName(email="new@example.com")
    store = SQLAlchemyAccounts(ByName, id="handle")
    with pytest.raises(
        ValueError, match=r"^the address that was verified is no longer the account's$"
    ):
        store.mark_verified(Session(), account, "old@example.com")
    assert account.email_verified_at is None


def test_revoked_sessions_change_the_stamp(site: Site, accounts: SQLAlchemyAccounts) -> None:
    """Each revocation makes a stamp that was never there."""
    user, stamps = site.user(security_stamp="first"), {"first"}
    for _ in range(3):
        accounts.revoke_sessions(Session(), user)
        stamps.add(user.security_stamp)
    assert 4 == len(stamps)


def test_revocation_without_a_stamp_does_nothing() -> None:
    """A model without a stamp has no sessions that could be told."""
    account = ByName(email="ada@example.com")
    SQLAlchemyAccounts(ByName, id="handle").revoke_sessions(Session(), account)
    assert not hasattr(account, "security_stamp")


@every_database
def test_quickstart_makes_accounts(engine: sa.Engine) -> None:
    """In the quickstart whoever asks has an account, once."""
    store = QuickstartAccounts()
    with session_on(engine, QuickstartBase) as session:
        first = store.find(session, "ada@example.com")
        again = store.find(session, "ADA@example.com")
        assert (True, "ada@example.com") == (first is again, first.email)
        assert first is store.get(session, store.reference(first))
        assert 1 == session.query(QuickstartAccount).count()


def test_look_up_of_many_answers_as_one_by_one(site: Site, accounts: SQLAlchemyAccounts) -> None:
    """Whoever else is looked up at the same time changes nobody's answer."""
    for email in ("Bob@example.com", "bob@example.com", "Ada@example.com"):
        site.add_user(email)
    asked = ["BOB@example.com", "Bob@example.com", "ada@example.com", "eve@example.com"]
    with site.app.app_context():
        session = site.db.session()
        alone = {address: accounts.find(session, address) for address in asked}
        expected = {a: accounts.reference(one) for a, one in alone.items() if one is not None}
        assert expected == accounts.references(session, asked)
        assert {"BOB@example.com", "Bob@example.com", "ada@example.com"} == expected.keys()


class Switched(Keyed, Base):
    """An account that is active for a reason of its own."""

    __tablename__ = "account_switched"
    id: Mapped[int] = mapped_column(primary_key=True)

    @property
    def is_active(self) -> bool:
        """Not what a column says."""
        return not self.email.startswith("off")


class OwnState(SQLAlchemyAccounts):
    """A store that knows more of an account than its columns."""

    def state(self, account: Any) -> AccountState:
        """Everybody speaks Latin."""
        return dataclasses.replace(super().state(account), locale="la")


@every_database
@pytest.mark.parametrize(
    ("model", "store", "key"),
    [
        (ByName, SQLAlchemyAccounts, "handle"),
        (Switched, SQLAlchemyAccounts, "id"),
        (ByName, OwnState, "handle"),
    ],
    ids=["columns", "property", "own"],
)
def test_states_of_many_are_those_of_each(
    engine: sa.Engine, model: type[Any], store: type[SQLAlchemyAccounts], key: str
) -> None:
    """Whether columns are read or accounts are asked, the answer is what ``state`` says."""
    accounts = store(model, id=key)
    with session_on(engine, Base) as session:
        for number, email in enumerate(("on@example.com", "off@example.com"), 1):
            verified = datetime(2026, 1, 2) if number == 1 else None  # noqa: DTZ001 - the column's
            row = {key: number if key == "id" else str(number), "email": email}
            session.add(model(**row, password_hash="hash", email_verified_at=verified))
        session.flush()
        each = {name: accounts.state(accounts.get(session, name)) for name in ("1", "2")}
        assert each == accounts.states(session, ["1", "2", "3"])
