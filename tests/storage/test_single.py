"""A statement that is compiled once says what it would have said, on every engine."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.storage.dialect import SCHEMA_KEY, UtcDateTime
from flask_courier.storage.single import Single
from tests.databases import every_database
from tests.site import Site

pytestmark = every_database

METADATA = sa.MetaData()
TABLE = sa.Table(
    "single_probe",
    METADATA,
    sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
    sa.Column("word", sa.String(20)),
    sa.Column("context", sa.JSON()),
    sa.Column("at", UtcDateTime()),
    sa.Column("fixed", sa.Integer()),
)
NAMES = ("number", "word", "context", "at")
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=2)))
ROW: dict[str, Any] = {"number": 7, "word": "100 %s?", "context": {"a": "ü"}, "at": MOMENT}


def insert(row: SimpleNamespace) -> sa.Insert:
    """Insert one row; one of its values is always the same."""
    return sa.insert(TABLE).values(**{name: getattr(row, name) for name in NAMES}, fixed=5)


@pytest.fixture
def statement() -> Single:
    """The statement, not compiled yet."""
    return Single({name: TABLE.columns[name].type for name in NAMES}, insert)


@pytest.mark.parametrize("names_schema", [False, True])
def test_values(site: Site, statement: Single, *, names_schema: bool) -> None:
    """Values of each type arrive as they were, also where a schema is put in for the statement."""
    with site.app.app_context(), Session(site.db.engine) as session:
        METADATA.create_all(session.connection())
        try:
            if names_schema:
                session.info[SCHEMA_KEY] = sa.inspect(site.db.engine).default_schema_name
            statement.run(session, ROW)
            found = session.execute(sa.select(TABLE)).one()._mapping
            assert {**ROW, "fixed": 5} == dict(found)
        finally:
            session.rollback()
            METADATA.drop_all(site.db.engine)


def test_engines_of_their_own(sites: Callable[..., Site], statement: Single) -> None:
    """Each engine writes JSON in its own way, whichever came first."""
    written: list[str] = []
    for indent in (None, 2):

        def dump(value: Any, indent: int | None = indent) -> str:
            written.append(f"indent {indent}")
            return json.dumps(value, indent=indent)

        site = sites(SQLALCHEMY_ENGINE_OPTIONS={"json_serializer": dump})
        with site.app.app_context(), Session(site.db.engine) as session:
            METADATA.create_all(session.connection())
            statement.run(session, ROW)
            session.rollback()
            METADATA.drop_all(site.db.engine)
    assert {"indent None", "indent 2"} == set(written)
