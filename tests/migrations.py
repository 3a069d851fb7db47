"""Runs Flask-Migrate on an application with a courier, in a process of its own.

Its ``env.py`` sets up logging for the whole process. Prints what came of each step as JSON.

Usage: ``python -m tests.migrations URL FOLDER [SCHEMA]``; with a schema the application's metadata
has a naming convention too.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import flask_migrate
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from flask_courier import Courier

CONVENTION = {
    "ix": "host_ix_%(column_0_label)s",
    "uq": "host_uq_%(table_name)s_%(column_0_name)s",
    "pk": "host_pk_%(table_name)s",
}


def make_app(url: str, metadata: sa.MetaData) -> tuple[Flask, SQLAlchemy]:
    """An application whose own table is migrated together with ours."""
    app = Flask("tests.migrations")
    app.config.update(TESTING=True, SECRET_KEY="x" * 32, SQLALCHEMY_DATABASE_URI=url)
    base = type("Base", (DeclarativeBase,), {"metadata": metadata})
    db = SQLAlchemy(app, model_class=base)

    class User(db.Model):  # type: ignore[name-defined]  # Flask-SQLAlchemy builds it
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(sa.String(320))
        password_hash: Mapped[str | None] = mapped_column(sa.String(255))
        email_verified_at: Mapped[str | None] = mapped_column(sa.DateTime())

    flask_migrate.Migrate(app, db, include_schemas=metadata.schema is not None)
    Courier(app, db, user_model=User)
    return app, db


def tables(db: SQLAlchemy) -> list[str]:
    """The tables that the database has."""
    return sorted(sa.inspect(db.engine).get_table_names(schema=db.metadata.schema))


def migrate(url: str, folder: str, schema: str | None) -> dict[str, Any]:
    """Go through the life of a migration."""
    convention = None if schema is None else CONVENTION
    app, db = make_app(url, sa.MetaData(schema=schema, naming_convention=convention))
    found: dict[str, Any] = {}
    versions = Path(folder) / "versions"
    with app.app_context():
        if schema is not None:
            with db.engine.begin() as connection:
                connection.execute(sa.schema.CreateSchema(schema))
        flask_migrate.init(folder)
        flask_migrate.migrate(folder)
        found["files"] = len(list(versions.glob("*.py")))
        found["text"] = next(versions.glob("*.py")).read_text()
        flask_migrate.upgrade(folder)
        found["upgraded"] = tables(db)
        flask_migrate.migrate(folder)
        found["files_after_second"] = len(list(versions.glob("*.py")))
        flask_migrate.downgrade(folder)
        found["downgraded"] = tables(db)
    return found


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        outcome = migrate(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
    print(json.dumps(outcome))  # noqa: T201 - what this program is for
