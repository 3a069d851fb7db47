"""Many rows in one statement, as fast as each database takes them.

PostgreSQL gets all rows as one JSON parameter and unpacks them itself, which costs a tenth of what
it costs to hand it one row after the other; the others run the statement once for each row.
SQLite's driver gets the rows as it takes them: SQLAlchemy would look at every value once more.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import repeat
from types import SimpleNamespace
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.compiler import SQLCompiler

from flask_courier.storage.dialect import SCHEMA_KEY, Result, run

Columns = Mapping[str, "InstrumentedAttribute[Any]"]


class Bulk:
    """A statement over many rows, built once.

    :param columns: what each value is called in a row, and the column that has its type.
    :param build: makes the statement from an object with an attribute for each value.
    :param found_by: the value by whose column the rows of an UPDATE are found.
    """

    def __init__(
        self,
        columns: Columns,
        build: Callable[[Any], sa.Executable],
        *,
        found_by: str | None = None,
    ) -> None:
        self._columns = columns
        self._build = build
        self._found_by = found_by
        self._known: dict[str, _Prepared | None] = {}

    @cached_property
    def _each(self) -> sa.Executable:
        found = {
            name: sa.bindparam(f"b_{name}", type_=column.type)
            for name, column in self._columns.items()
        }
        return self._build(SimpleNamespace(**found))

    @cached_property
    def _together(self) -> sa.Executable:
        record = sa.func.jsonb_to_recordset(sa.bindparam("rows", type_=JSONB())).table_valued(
            *(sa.column(name, column.type) for name, column in self._columns.items()), name="r"
        )
        statement = self._build(record.render_derived(with_types=True).c)
        if self._found_by is None:
            return statement
        # Said once more, where PostgreSQL sees how many there are: for all it knows of a parameter
        # the JSON may hold any number, and it would rather read the whole table.
        column = self._columns[self._found_by]
        keys = sa.cast(sa.bindparam("keys", type_=ARRAY(sa.Text())), ARRAY(column.type))
        return cast("sa.Update", statement).where(column == sa.any_(keys))

    def run(self, session: Session, rows: Sequence[Mapping[str, Any]]) -> Result:
        """Execute it; the answer's row count is that of all rows together."""
        connection = session.connection()
        if connection.dialect.name == "postgresql":
            plain = [{name: _plain(value) for name, value in row.items()} for row in rows]
            parameters = {"rows": plain}
            if self._found_by is not None:
                parameters["keys"] = [row[self._found_by] for row in plain]
            return run(session, self._together, parameters)
        translates = connection.get_execution_options().get("schema_translate_map")
        fast = self._prepared(connection.dialect)
        if fast is not None and not session.info.get(SCHEMA_KEY) and not translates:
            return cast("Result", connection.exec_driver_sql(fast.sql, fast.tuples(rows)))
        return run(
            session,
            self._each,
            [{f"b_{name}": value for name, value in row.items()} for row in rows],
        )

    def _prepared(self, dialect: sa.Dialect) -> _Prepared | None:
        """The statement as SQLite's driver takes it; None for others."""
        if dialect.name != "sqlite":
            return None
        style = dialect.paramstyle
        if style not in self._known:
            self._known[style] = _Prepared.of(self._each, dialect)
        return self._known[style]


@dataclass(frozen=True)
class _Prepared:
    """A statement in SQL, and how its parameters are made from a row."""

    sql: str
    #: In the order of the SQL: the name of a value and what makes the driver's value of it, or None
    #: and the value that is always the same.
    parameters: Sequence[tuple[str | None, Any]]

    @classmethod
    def of(cls, statement: sa.Executable, dialect: sa.Dialect) -> _Prepared | None:
        """The same for ``statement``, whose values are parameters called ``b_<name>``."""
        compiled = cast("SQLCompiler", cast("Any", statement).compile(dialect=dialect))
        if not compiled.positional or compiled.positiontup is None:
            return None
        found: list[tuple[str | None, Any]] = []
        for place in compiled.positiontup:
            type_ = compiled.binds[place].type
            process = cast("Any", type_.dialect_impl(dialect)).bind_processor(dialect)
            if place.startswith("b_"):
                found.append((place.removeprefix("b_"), process))
            else:
                value = compiled.params[place]
                found.append((None, value if process is None else process(value)))
        return cls(str(compiled), found)

    def tuples(self, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
        """The parameters for each of ``rows``, column by column."""
        columns: list[Iterable[Any]] = []
        for name, how in self.parameters:
            if name is None:
                columns.append(repeat(how, len(rows)))
            else:
                values = [row[name] for row in rows]
                if how is None:
                    columns.append(values)
                elif all(value is values[0] for value in values):
                    columns.append(repeat(how(values[0]), len(values)))
                else:
                    columns.append(map(how, values))
        return list(zip(*columns, strict=True))


def _plain(value: Any) -> Any:
    """``value`` as JSON and PostgreSQL both write it."""
    if isinstance(value, (uuid.UUID, datetime)):
        return str(value)
    return value
