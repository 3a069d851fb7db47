"""The ``Courier`` object: reads the configuration, wires the floors together, decides nothing."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar, cast

from flask import Flask, has_request_context
from flask_sqlalchemy import SQLAlchemy

from flask_courier.core.accounts import AccountStore, normalise_address
from flask_courier.core.config import SECRET_KEY_BYTES, WorkerMode, from_mapping
from flask_courier.core.errors import ConfigError, SetupError
from flask_courier.core.ids import nonce, random_bytes
from flask_courier.core.messages import RecordedMessage
from flask_courier.core.status import Status
from flask_courier.delivery import runner
from flask_courier.flows import challenge, notice
from flask_courier.flows.challenge import Asked, Challenge
from flask_courier.flows.recovery import RECOVERY
from flask_courier.flows.verification import VERIFICATION
from flask_courier.state import EXTENSION, Hooks, current_state, state_of
from flask_courier.storage import engines
from flask_courier.storage.accounts import QuickstartAccounts, SQLAlchemyAccounts
from flask_courier.storage.uow import Session
from flask_courier.web import guard
from flask_courier.wiring import set_up

HookT = TypeVar("HookT", bound=Callable[..., Any])

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


class Courier:
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
        if user_model is not None and accounts is not None:
            raise SetupError("pass Courier either user_model= or accounts=, not both")
        self._user_model = user_model
        self._accounts = accounts
        self._hooks = Hooks(None, None)
        if app is not None:
            self.init_app(app, db)

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
        accounts = QuickstartAccounts() if quickstart else self._account_store(problems)
        config = from_mapping(app.config, debug=app.debug, testing=app.testing, problems=problems)
        if not config.secret_keys:
            key = _quickstart_key(app) if quickstart else random_bytes(SECRET_KEY_BYTES)
            config = replace(config, secret_keys=(key,))
        if db is not None and accounts is not None:
            set_up(app, db, config, accounts, quickstart=quickstart, hooks=lambda: self._hooks)

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

    def log_access(self, function: HookT) -> HookT:
        """Decorate the function that says who may see the delivery log.

        It gets a permission's name (``list``, ``read_content``) and answers True; anything else,
        an exception too, refuses.
        """
        self._hooks = Hooks(function, self._hooks.password_policy)
        return function

    def password_policy(self, function: HookT) -> HookT:
        """Decorate the function that gets a new password and answers what is wrong, or None."""
        self._hooks = Hooks(self._hooks.log_access, function)
        return function

    def request_recovery(self, email: str) -> None:
        """Queue a recovery mail to whoever has this address, in ``db.session``'s transaction.

        :raises AddressError: if ``email`` is not an e-mail address.
        """
        _request(RECOVERY, _asked(email))

    def request_verification(self, account_or_email: Any) -> None:
        """Queue a verification mail to an account, in ``db.session``'s transaction.

        :param account_or_email: an account (flushed, so that it has its key), or an address.
        :raises AddressError: if an address is not one.
        """
        if isinstance(account_or_email, str):
            _request(VERIFICATION, _asked(account_or_email))
            return
        accounts = current_state().accounts
        reference = accounts.reference(account_or_email)
        if reference in ("", "None"):
            raise SetupError(
                "the account has no key yet; call db.session.flush() before request_verification()"
            )
        address = accounts.state(account_or_email).address
        _request(VERIFICATION, _asked(address, account_ref=reference))

    def send(
        self,
        kind_or_template: str,
        *,
        to: str,
        context: Mapping[str, Any] | None = None,
        send_at: datetime | None = None,
        idempotency_key: str | None = None,
    ) -> uuid.UUID:
        """Queue a mail of the application's own in ``db.session``'s transaction; answer its id.

        :param kind_or_template: ``"welcome"`` renders ``courier/mail/welcome.subject.txt``,
            ``.txt`` and ``.html``; ``"mail/welcome"`` renders ``mail/welcome.…``.
        :param context: what the templates get; JSON.
        :param send_at: when it is due, with a time zone; at once without it.
        :param idempotency_key: at most 128 characters; a second call for the same kind and key
            queues nothing and answers the first one's id, as long as that is in the delivery log.
        :raises AddressError: if ``to`` is not an e-mail address.
        :raises ContextError: if the kind, the context, the time or the key cannot be stored.
        """
        return notice.send(
            current_state().caller_session(),
            kind_or_template,
            to=to,
            context=context or {},
            public_url=_request_url(),
            send_at=send_at,
            idempotency_key=idempotency_key,
        )

    def deliver_pending(self, app: Flask | None = None) -> Counter[Status]:
        """Deliver everything that is due now, in this thread; answer how often each status came.

        SQLite in memory has one connection for everybody: commit your own work first.

        :param app: the application, where no context says it.
        """
        state = current_state() if app is None else state_of(app)
        return runner.drain(state.worker_parts("manual"))

    @contextlib.contextmanager
    def record_messages(self, app: Flask | None = None) -> Iterator[list[RecordedMessage]]:
        """Collect accepted mail with its links, tokens and codes in the clear, for tests.

        :param app: the application, where no context says it.
        """
        recorders = (current_state() if app is None else state_of(app)).recorders
        outbox: list[RecordedMessage] = []
        recorders.append(outbox)
        try:
            yield outbox
        finally:
            recorders[:] = [recorder for recorder in recorders if recorder is not outbox]


def _asked(email: str, *, account_ref: str | None = None) -> Asked:
    state = current_state()
    public_url = _request_url()
    if public_url is None and state.config.public_url is None:
        raise SetupError(
            "set COURIER_PUBLIC_URL: without it, links are only made in a request that comes from "
            "this machine"
        )
    delay = guard.unseen_delay() if account_ref is None else guard.NO_DELAY
    return Asked(
        address=normalise_address(email),
        account_ref=account_ref,
        public_url=public_url,
        delay=delay,
    )


def _request_url() -> str | None:
    """What a message must remember of where links lead; nothing outside a request."""
    if not has_request_context():
        return None
    try:
        return guard.stored_public_url()
    except guard.Refused:
        return None


def _request(flow: Challenge, asked: Asked) -> None:
    challenge.request(current_state().caller_session(), flow, asked)


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
