"""Questions to the application's engines; none of them connects."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Engine, MetaData, StaticPool


def is_in_memory(engine: Engine) -> bool:
    """Whether ``engine`` is SQLite in memory: one connection, which no two threads can share."""
    if engine.dialect.name != "sqlite":
        return False
    database = engine.url.database or ""
    return database in ("", ":memory:") or "mode=memory" in str(engine.url)


def let_go(engines: Iterable[Engine]) -> None:
    """Forget pooled connections without closing them: after a fork they are the parent's."""
    for engine in engines:
        if not isinstance(engine.pool, StaticPool):
            engine.dispose(close=False)


def create_missing(engine: Engine, *metadatas: MetaData) -> None:
    """Create the tables that are not there yet."""
    for metadata in metadatas:
        metadata.create_all(engine)
