"""The ``Courier`` object: reads the configuration, wires the floors together, decides nothing."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_courier.calls import Calls
from flask_courier.cli.group import told_by_commands
from flask_courier.core.accounts import AccountStore
from flask_courier.core.config import SECRET_KEY_BYTES, WorkerMode, from_mapping
from flask_courier.core.errors import ConfigError, SetupError
from flask_courier.core.ids import nonce, random_bytes
from flask_courier.hooks import HookDecorators
from flask_courier.state import EXTENSION
from flask_courier.storage import engines
from flask_courier.storage.accounts import SQLAlchemyAccounts
from flask_courier.storage.quickstart import QuickstartAccounts
from flask_courier.storage.uow import Session
from flask_courier.web.mounting import host_options
from flask_courier.wiring import set_up

_QUICKSTART_DATABASE = "sqlite:///flask_courier.sqlite"
_QUICKSTART_KEY = "flask_courier.key"
_QUICKSTART_NOTICE = (
    "flask_courier quickstart: debug is on and no accounts were given, so nothing leaves this "
    "machine, every address that asks becomes an account, and the delivery log shows live links"
)
_NO_DEFAULT_DATABASE = (
    "SQLALCHEMY_DATABASE_URI is not set: messages live in the default database, beside the "
    "accounts; a bind of its own would be a second transaction."
)
_MEMORY_WITH_THREAD = (
    "COURIER_WORKER is 'thread', but SQLite in memory has one connection, which the worker would "
    "share with your requests: use a file, or set COURIER_WORKER to 'manual'."
)
_NO_ZXCVBN = (
    "COURIER_PASSWORD_STRENGTH is set, but zxcvbn is not installed: "
    'pip install "flask-courier[password]".'
)


class Courier(HookDecorators, Calls):
    """Mail that accounts depend on.

    Holds no application: one ``Courier`` may serve several, each with its own configuration.

    :param app: set up at once, as ``init_app`` does.
    :param db: the application's Flask-SQLAlchemy object; the queue lives beside its accounts.
    :param user_model: the mapped class of the accounts (see ``SQLAlchemyAccounts``).
    :param accounts: any ``AccountStore``, instead of ``user_model``.
    """

    def __init__(
        self,
        app: Flask | None = None,
        db: SQLAlchemy | None = None,
        *,
        user_model: type[Any] | None = None,
        accounts: AccountStore[Session] | None = None,
    ) -> None:
        super().__init__()
        if user_model is not None and accounts is not None:
            raise SetupError("pass Courier either user_model= or accounts=, not both")
        self._user_model = user_model
        self._accounts = accounts
        if app is not None:
            self.init_app(app, db)

    @told_by_commands()
    def init_app(self, app: Flask, db: SQLAlchemy | None = None) -> None:
        """Set ``app`` up: tables on ``db``'s metadata, routes, the ``flask courier`` commands.

        Opens no socket, no database connection and no thread.

        :raises ConfigError: with everything that is wrong with the configuration.
        :raises SetupError: if the application has a courier already.
        """
        if EXTENSION in app.extensions:
            raise SetupError(
                f"the application {app.name!r} has a Courier already; call init_app once"
            )
        problems: list[str] = []
        db = db or app.extensions.get("sqlalchemy")
        quickstart = app.debug and db is None and not (self._user_model or self._accounts)
        if quickstart:
            db = _quickstart_database(app)
            app.logger.warning(_QUICKSTART_NOTICE)
        problems += _database_problems(app, db)
        wants_strength = cast("dict[str, Any]", app.config).get("COURIER_PASSWORD_STRENGTH")
        if wants_strength is not None and find_spec("zxcvbn") is None:
            problems.append(_NO_ZXCVBN)
        accounts = QuickstartAccounts() if quickstart else self._account_store(problems)
        config = from_mapping(app.config, debug=app.debug, testing=app.testing, problems=problems)
        if not config.secret_keys:
            key = _quickstart_key(app) if quickstart else random_bytes(SECRET_KEY_BYTES)
            config = replace(config, secret_keys=(key,))
        server = cast("dict[str, Any]", app.config).get("SERVER_NAME")
        host = host_options(app, config.public_url, server)
        if db is not None and accounts is not None:
            set_up(
                app,
                db,
                config,
                accounts,
                host=host,
                quickstart=quickstart,
                hooks=lambda: self._hooks,
            )

    def _account_store(self, problems: list[str]) -> AccountStore[Session] | None:
        if self._accounts is not None:
            return self._accounts
        if self._user_model is None:
            problems.append(
                "Courier has no accounts: pass user_model= (your mapped class) or accounts= (an "
                "AccountStore)."
            )
            return None
        try:
            return SQLAlchemyAccounts(self._user_model)
        except ConfigError as error:
            problems.extend(error.problems)
            return None


def _database_problems(app: Flask, db: SQLAlchemy | None) -> list[str]:
    """Why the queue could not live in this database; asks the engine, connects to nothing."""
    if db is None:
        return [
            "Courier has no database: pass your Flask-SQLAlchemy object, as in Courier(app, db)."
        ]
    registered: object = app.extensions.get("sqlalchemy")
    if registered is not db:
        return [
            "the database is not set up: call db.init_app(app) before courier.init_app(app, db)."
        ]
    with app.app_context():
        engine = db.engines.get(None)
    if engine is None:
        return [_NO_DEFAULT_DATABASE]
    worker = cast("dict[str, Any]", app.config).get("COURIER_WORKER") or (
        "manual" if app.testing else "thread"
    )
    if worker in ("thread", WorkerMode.THREAD) and engines.is_in_memory(engine):
        return [_MEMORY_WITH_THREAD]
    return []


def _quickstart_database(app: Flask) -> SQLAlchemy:
    """A database of our own: one SQLite file in the instance folder."""
    db = SQLAlchemy()
    cast("dict[str, Any]", app.config).setdefault("SQLALCHEMY_DATABASE_URI", _QUICKSTART_DATABASE)
    db.init_app(app)
    return db


def _quickstart_key(app: Flask) -> bytes:
    """A key that outlives a reload, so that links of a minute ago still work."""
    path = Path(app.instance_path) / _QUICKSTART_KEY
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        draft = path.with_name(f"{_QUICKSTART_KEY}.{nonce()}")
        with open(draft, "xb", opener=_owner_only) as file:
            file.write(random_bytes(32))
        # A link appears whole or not at all: another process never reads half a key.
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()


def _owner_only(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
