"""Our tables on the application's metadata, whatever base, schema or convention that has."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from flask_sqlalchemy.model import Model
from sqlalchemy.orm import DeclarativeBase, DeclarativeBaseNoMeta, MappedAsDataclass

from flask_courier import Courier
from flask_courier.core.errors import ConfigError
from flask_courier.storage.models import CourierBase, attach
from tests import databases
from tests.site import PUBLIC_URL, SECRET, SENDER

OURS = {
    "courier_message",
    "courier_content",
    "courier_attempt",
    "courier_token",
    "courier_limit",
    "courier_transport",
    "courier_worker",
    "courier_event",
}
ROOT = Path(__file__).parents[2]
CONVENTION = {"ix": "host_ix_%(column_0_label)s", "pk": "host_pk_%(table_name)s"}


class LegacyModel(Model):
    """A base as Flask-SQLAlchemy 2 had them."""


class PlainBase(DeclarativeBase):
    """A base as SQLAlchemy 2 has them."""


class NoMetaBase(DeclarativeBaseNoMeta):
    """A base without a metaclass."""


class ConventionBase(DeclarativeBase):
    """A base whose metadata names what has no name."""

    metadata = sa.MetaData(naming_convention=CONVENTION)


def dataclass_base() -> type[Any]:
    """A base that makes dataclasses, where Flask-SQLAlchemy can take one."""
    if sa.__version__ >= "2.1":
        pytest.skip("not for SQLAlchemy 2.1: Flask-SQLAlchemy 3.1 refuses such a base there")

    class DataclassBase(MappedAsDataclass, DeclarativeBase):
        pass

    return DataclassBase


def schema_base() -> type[Any]:
    """A base whose tables live in a schema."""

    class SchemaBase(DeclarativeBase):
        metadata = sa.MetaData(schema="app", naming_convention=CONVENTION)

    return SchemaBase


BASES: dict[str, Callable[[], type[Any] | None]] = {
    "default": lambda: None,
    "legacy": lambda: LegacyModel,
    "declarative": lambda: PlainBase,
    "no-meta": lambda: NoMetaBase,
    "dataclass": dataclass_base,
    "convention": lambda: ConventionBase,
}


def make_app(db: SQLAlchemy, url: str) -> Flask:
    """An application on ``db``."""
    app = Flask("tests.models")
    app.config.update(
        TESTING=True,
        SECRET_KEY=SECRET,
        SQLALCHEMY_DATABASE_URI=url,
        COURIER_DEFAULT_SENDER=SENDER,
        COURIER_PUBLIC_URL=PUBLIC_URL,
    )
    db.init_app(app)
    return app


def make_db(base: type[Any] | None) -> tuple[SQLAlchemy, type[Any]]:
    """A ``SQLAlchemy()`` on a base, and its account model."""
    db = SQLAlchemy() if base is None else SQLAlchemy(model_class=base)
    body = {
        "__tablename__": "account",
        "id": db.Column(db.Integer, primary_key=True),
        "email": db.Column(db.String(320)),
        "password_hash": db.Column(db.String(255)),
        "email_verified_at": db.Column(db.DateTime),
    }
    return db, type("User", (db.Model,), body)


def recover(app: Flask, db: SQLAlchemy, user: type[Any], courier: Courier) -> list[str]:
    """Ask for recovery and deliver; answer who got mail."""
    with app.app_context():
        account = user()
        account.email = "ada@example.com"
        db.session.add(account)
        courier.request_recovery("ada@example.com")
        db.session.commit()
        with courier.record_messages() as outbox:
            courier.deliver_pending()
        return [message.recipient for message in outbox]


def dispose(app: Flask, db: SQLAlchemy) -> None:
    """Close the application's connections."""
    with app.app_context():
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


@pytest.mark.parametrize("name", BASES)
def test_any_base_will_do(name: str, tmp_path: Path) -> None:
    """Whatever base the ``SQLAlchemy()`` was given, tables are made and mail goes out."""
    db, user = make_db(BASES[name]())
    app = make_app(db, databases.sqlite_url(tmp_path))
    courier = Courier(app, db, user_model=user)
    assert {*OURS, "account"} == set(db.metadata.tables)
    with app.app_context():
        db.create_all()
    assert ["ada@example.com"] == recover(app, db, user, courier)
    dispose(app, db)
    db.metadata.clear()


def test_schema_of_the_metadata(server_databases: Callable[[str], str]) -> None:
    """With ``MetaData(schema="app")`` our tables, and what is asked of them, are in that schema."""
    db, user = make_db(schema_base())
    app = make_app(db, server_databases("postgresql"))
    courier = Courier(app, db, user_model=user)
    assert {f"app.{name}" for name in (*OURS, "account")} == set(db.metadata.tables)
    with app.app_context(), db.engine.begin() as connection:
        connection.execute(sa.schema.CreateSchema("app"))
    try:
        with app.app_context():
            db.create_all()
        assert ["ada@example.com"] == recover(app, db, user, courier)
    finally:
        with app.app_context(), db.engine.begin() as connection:
            connection.execute(sa.schema.DropSchema("app", cascade=True))
        dispose(app, db)


def test_second_attach_changes_nothing() -> None:
    """Tables that are there already are left as they are."""
    metadata = sa.MetaData()
    attach(metadata)
    before = dict(metadata.tables)
    attach(metadata)
    assert before == dict(metadata.tables)


def test_two_apps_on_one_db(tmp_path: Path) -> None:
    """Two applications of one ``db`` each keep their own mail."""
    db, user = make_db(None)
    made = []
    for name in ("one", "two"):
        app = make_app(db, f"sqlite:///{tmp_path / name}")
        made.append((app, Courier(app, db, user_model=user)))
        with app.app_context():
            db.create_all()
    (one, first), (two, second) = made
    assert ["ada@example.com"] == recover(one, db, user, first)
    assert 0 == first.deliver_pending(two).total()
    assert ["ada@example.com"] == recover(two, db, user, second)
    for app in (one, two):
        dispose(app, db)


@pytest.mark.parametrize("schema", [None, "app"])
def test_foreign_table_with_our_name_is_refused(schema: str | None) -> None:
    """A table of the host's with one of our names is an error that names it."""
    metadata = sa.MetaData(schema=schema)
    sa.Table("courier_event", metadata, sa.Column("id", sa.Integer, primary_key=True))
    with pytest.raises(ConfigError) as caught:
        attach(metadata)
    key = "courier_event" if schema is None else "app.courier_event"
    expected = f"a table {key!r} that is not flask_courier's is on your metadata; rename it"
    assert [expected] == list(caught.value.problems)


def attached(**options: Any) -> list[sa.Table]:
    """Our tables on metadata with these options."""
    metadata = sa.MetaData(**options)
    attach(metadata)
    return list(metadata.tables.values())


def test_migrations_need_not_import_us() -> None:
    """Every type on the application's metadata is SQLAlchemy's own."""
    columns = [column for table in attached() for column in table.columns]
    assert not [column for column in columns if isinstance(column.type, sa.TypeDecorator)]
    modules = {type(column.type).__module__.partition(".")[0] for column in columns}
    assert {"sqlalchemy"} == modules


def test_copies_have_our_columns() -> None:
    """A copy has every column of ours, and needs a value where ours does."""
    for table in attached():
        ours = CourierBase.metadata.tables[table.name]
        expected = [(column.name, column.nullable) for column in ours.columns]
        assert expected == [(column.name, column.nullable) for column in table.columns]


def names(convention: dict[str, str] | None) -> list[str]:
    """The names of all our indexes and constraints under the host's convention."""
    tables = attached(naming_convention=convention)
    parts: list[Any] = [part for table in tables for part in (*table.indexes, *table.constraints)]
    return [str(part.name) for part in parts]


@pytest.mark.parametrize("convention", [None, CONVENTION], ids=["plain", "convention"])
def test_everything_is_named_by_us(convention: dict[str, str] | None) -> None:
    """Every index and constraint has our name, whatever the host's convention says."""
    prefixes = {name.partition("_courier_")[0] for name in names(convention)}
    assert {"pk", "ix", "uq"} == prefixes


def test_names_fit_every_database() -> None:
    """No name is longer than PostgreSQL's 63 bytes, nor used twice."""
    found = [*names(None), *OURS]
    assert (len(found), True) == (len(set(found)), max(map(len, found)) <= 63)


def test_no_key_points_at_the_hosts_tables() -> None:
    """No foreign key ties our tables to each other or to the application's."""
    assert [] == [key for table in attached() for key in table.foreign_keys]


@pytest.mark.parametrize(
    ("name", "schema"),
    [("sqlite", None), ("postgresql", None), ("mysql", None), ("postgresql", "app")],
    ids=["sqlite", "postgresql", "mysql", "postgresql-schema"],
)
def test_flask_migrate(name: str, schema: str | None, worker_id: str, tmp_path: Path) -> None:
    """A migration is written, upgrades, leaves nothing for a second one, and downgrades."""
    if name == "sqlite":
        found = migrate(databases.sqlite_url(tmp_path), tmp_path, schema)
    else:
        with databases.fresh_database(name, f"migrate_{worker_id}") as url:
            found = migrate(url, tmp_path, schema)
    bookkeeping = [] if schema else ["alembic_version"]
    assert "flask_courier" not in found["text"]
    assert sorted([*OURS, *bookkeeping, "user"]) == found["upgraded"]
    assert (1, 1) == (found["files"], found["files_after_second"])
    assert bookkeeping == found["downgraded"]


def migrate(url: str, folder: Path, schema: str | None) -> dict[str, Any]:
    """Run Flask-Migrate on the database at ``url``."""
    arguments = [url, str(folder / "migrations"), *([schema] if schema else [])]
    done = subprocess.run(
        [sys.executable, "-m", "tests.migrations", *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert 0 == done.returncode, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found
