"""Whether the database is as this release needs it; reads only."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.storage.dialect import SCHEMA_KEY
from flask_courier.storage.models import CourierBase


def tables() -> tuple[str, ...]:
    """The names of our tables."""
    return tuple(sorted(CourierBase.metadata.tables))


def missing(session: Session) -> Mapping[str, tuple[str, ...]]:
    """What is not there: each table with its missing columns, or with none if it is not there.

    Columns that are there and unknown here are a newer release's, or the host's, and do no harm.
    """
    inspector: sa.Inspector = sa.inspect(session.connection())
    schema = session.info.get(SCHEMA_KEY)
    found: dict[str, tuple[str, ...]] = {}
    for name in tables():
        if not inspector.has_table(name, schema=schema):
            found[name] = ()
            continue
        present = {column["name"] for column in inspector.get_columns(name, schema=schema)}
        wanted = CourierBase.metadata.tables[name].columns.keys()
        absent = tuple(column for column in wanted if column not in present)
        if absent:
            found[name] = absent
    return found
