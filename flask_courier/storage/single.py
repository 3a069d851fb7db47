"""A statement that every request runs: built and compiled once, and then only filled in.

To build it, and to find it again among what SQLAlchemy has compiled before, costs several times
what it costs to run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from flask_courier.storage.dialect import SCHEMA_KEY, Result, run


class Single:
    """One statement, filled in by name; rows come as the driver gives them.

    :param types: what each value is called, and its type.
    :param build: makes the statement from an object with an attribute for each value.
    """

    def __init__(
        self, types: Mapping[str, TypeEngine[Any]], build: Callable[[Any], sa.Executable]
    ) -> None:
        # A parameter may not be called like a column of the statement's table.
        values = {name: sa.bindparam(f"b_{name}", type_=type_) for name, type_ in types.items()}
        self._statement = build(SimpleNamespace(**values))
        # Two engines may write JSON in two ways.
        self._known: WeakKeyDictionary[sa.Dialect, _Compiled] = WeakKeyDictionary()

    def run(self, session: Session, values: Mapping[str, Any]) -> Result:
        """Execute it in ``session``'s transaction."""
        connection = session.connection()
        translates = connection.get_execution_options().get("schema_translate_map")
        if session.info.get(SCHEMA_KEY) or translates:
            return run(session, self._statement, {f"b_{n}": value for n, value in values.items()})
        compiled = self._known.get(connection.dialect)
        if compiled is None:
            compiled = self._known[connection.dialect] = _Compiled.of(
                self._statement, connection.dialect
            )
        return cast("Result", connection.exec_driver_sql(compiled.sql, compiled.fill(values)))


@dataclass(frozen=True)
class _Compiled:
    """A statement in one dialect's SQL."""

    sql: str
    #: In the order of the SQL where parameters go by their place, else None.
    places: Sequence[str] | None
    #: Values that are always the same, as the driver takes them.
    fixed: Mapping[str, Any]
    #: What makes the driver's value of one.
    processors: Mapping[str, Callable[[Any], Any]]

    @classmethod
    def of(cls, statement: sa.Executable, dialect: sa.Dialect) -> _Compiled:
        """The same for ``statement``."""
        compiled = cast("SQLCompiler", cast("Any", statement).compile(dialect=dialect))
        processors: dict[str, Callable[[Any], Any]] = {}
        fixed: dict[str, Any] = {}
        for bind, name in compiled.bind_names.items():
            process = cast("Any", bind.type.dialect_impl(dialect)).bind_processor(dialect)
            if not bind.required:
                value = compiled.params[name]
                fixed[name] = value if process is None else process(value)
            elif process is not None:
                processors[name] = process
        places = compiled.positiontup if compiled.positional else None
        return cls(str(compiled), places, fixed, processors)

    def fill(self, values: Mapping[str, Any]) -> Any:
        """The parameters."""
        found = {**self.fixed, **{f"b_{name}": value for name, value in values.items()}}
        for name, process in self.processors.items():
            found[name] = process(found[name])
        return found if self.places is None else tuple([found[name] for name in self.places])
