"""The databases that tests run on: SQLite always, PostgreSQL and MariaDB where a server answers.

Each server is found through an environment variable, else on its standard loopback port. Without
one its tests skip and say so; with ``CI`` set they fail.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

NAMES = ("sqlite", "postgresql", "mysql")

#: Marks a test, or a module, that runs once on each database.
every_database = pytest.mark.parametrize(
    "database_name",
    [pytest.param(name, marks=[] if name == "sqlite" else [pytest.mark.server]) for name in NAMES],
    indirect=True,
)

#: The configuration of a site whose SQLite says at once that it is locked.
IMPATIENT = {"SQLALCHEMY_ENGINE_OPTIONS": {"connect_args": {"timeout": 0.05}}}

_SERVERS = {
    "postgresql": (
        "COURIER_TEST_POSTGRES_URL",
        "postgresql+psycopg://postgres@127.0.0.1:5432/test",
    ),
    "mysql": ("COURIER_TEST_MYSQL_URL", "mysql+pymysql://root@127.0.0.1:3306/test"),
}


def server_url(name: str) -> sa.URL:
    """Where the server of this name is looked for."""
    variable, standard = _SERVERS[name]
    return sa.make_url(os.environ.get(variable) or standard)


def needs_server(name: str) -> None:
    """Skip the test if the server does not answer; fail it where skipping is not allowed."""
    try:
        with administration(name):
            return
    except OperationalError as error:
        reason = f"no {name} server answers at {server_url(name).host}; set {_SERVERS[name][0]}"
        if os.environ.get("CI"):
            raise AssertionError(reason) from error
        pytest.skip(reason)


@contextmanager
def administration(name: str) -> Iterator[sa.Connection]:
    """A connection to the server's own database, outside any transaction."""
    engine = sa.create_engine(server_url(name), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        yield connection


@contextmanager
def fresh_database(name: str, label: str) -> Iterator[str]:
    """A database of its own on the server, dropped at the end; answers its URL."""
    needs_server(name)
    database = f"courier_{label}_{os.getpid()}"
    with administration(name) as connection:
        connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {database}")
        connection.exec_driver_sql(f"CREATE DATABASE {database}")
    try:
        yield server_url(name).set(database=database).render_as_string(hide_password=False)
    finally:
        with administration(name) as connection:
            force = " WITH (FORCE)" if name == "postgresql" else ""
            connection.exec_driver_sql(f"DROP DATABASE IF EXISTS {database}{force}")


def sqlite_url(folder: Path) -> str:
    """A SQLite file of its own."""
    return f"sqlite:///{folder / 'site.sqlite'}"


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Hold the write lock of a SQLite file: nobody else writes until the end of the block."""
    connection = sqlite3.connect(sa.make_url(url).database or "", isolation_level=None)
    try:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def empty(url: str) -> None:
    """Delete every row of every table."""
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    metadata = sa.MetaData()
    metadata.reflect(engine)
    with engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
