"""What a test sees of a site from outside: its whole database, and the SQL that it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from tests.site import Site

Dump = dict[str, list[dict[str, Any]]]


def dump(site: Site, *, without: Collection[str] = ()) -> Dump:
    """Every row of every table, save the tables or columns named in ``without``."""
    found: Dump = {}
    with site.app.app_context(), site.db.engine.connect() as connection:
        for table in site.db.metadata.sorted_tables:
            if table.name not in without:
                rows = connection.execute(table.select().order_by(*table.primary_key)).mappings()
                found[table.name] = [
                    {name: value for name, value in row.items() if name not in without}
                    for row in rows
                ]
    return found


@contextmanager
def statements(site: Site) -> Iterator[list[str]]:
    """Collect the SQL that the site runs inside the block, without its parameters."""
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    with site.app.app_context():
        engine = site.db.engine
    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def update(site: Site, table: str, **values: Any) -> None:
    """Write ``values`` into every row of a table."""
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.execute(site.db.metadata.tables[table].update().values(**values))


def age(site: Site, table: str, by: timedelta, *, like: str = "%") -> None:
    """Make the rows of a table older: move each of its times ``by`` into the past.

    :param like: a pattern of the first column of the primary key, where that is text.
    """
    rows = site.db.metadata.tables[table]
    key = next(iter(rows.primary_key))
    times = [column for column in rows.columns if isinstance(column.type, sa.DateTime)]
    with site.app.app_context(), site.db.engine.begin() as connection:
        for row in connection.execute(sa.select(key, *times)).mappings().all():
            moved = {name: _earlier(row[name], by) for name in row if name != key.name}
            matches = key == row[key.name]
            if like != "%":
                matches &= key.like(like)
            connection.execute(rows.update().where(matches).values(moved))


def _earlier(moment: datetime | None, by: timedelta) -> datetime | None:
    return None if moment is None else moment - by
