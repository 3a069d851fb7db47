"""Questions to engines, none of which connects."""

from __future__ import annotations

from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_courier.storage import engines


@pytest.mark.parametrize(
    ("url", "in_memory"),
    [
        ("sqlite://", True),
        ("sqlite:///:memory:", True),
        ("sqlite:///file:shared?mode=memory&cache=shared&uri=true", True),
        ("sqlite:////tmp/site.sqlite", False),
        ("sqlite:///site.sqlite", False),
        ("postgresql+psycopg://nobody@127.0.0.1:1/memory", False),
        ("mysql+pymysql://nobody@127.0.0.1:1/none", False),
    ],
)
def test_in_memory(url: str, *, in_memory: bool) -> None:
    """SQLite in memory is one connection that threads cannot share; nothing else is."""
    assert in_memory is engines.is_in_memory(sa.create_engine(url, poolclass=sa.StaticPool))


def test_let_go_forgets_without_closing(tmp_path: Path) -> None:
    """After a fork the parent's pooled connections are left alone, and new ones are made."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'site.sqlite'}")
    with engine.connect() as connection:
        parents = connection.connection.driver_connection
    engines.let_go([engine])
    assert parents is not None
    assert (1,) == parents.execute("SELECT 1").fetchone()
    with engine.connect() as connection:
        assert parents is not connection.connection.driver_connection
    parents.close()
    engine.dispose()


def test_let_go_keeps_a_database_in_memory() -> None:
    """A database that lives in its one connection is not forgotten."""
    engine = sa.create_engine("sqlite://", poolclass=sa.StaticPool)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE kept (id INTEGER)")
    engines.let_go([engine])
    assert ["kept"] == sa.inspect(engine).get_table_names()
    engine.dispose()


def test_missing_tables_are_created(tmp_path: Path) -> None:
    """Tables of each metadata are made where they are missing, with every call."""
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'site.sqlite'}")
    ours, theirs = sa.MetaData(), sa.MetaData()
    sa.Table("ours", ours, sa.Column("id", sa.Integer, primary_key=True))
    sa.Table("theirs", theirs, sa.Column("id", sa.Integer, primary_key=True))
    engines.create_missing(engine, ours)
    engines.create_missing(engine, ours, theirs)
    assert ["ours", "theirs"] == sa.inspect(engine).get_table_names()
    engine.dispose()
