"""Puts the floors together for one application: who calls whom, and with what."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_courier.cli import courier_commands
from flask_courier.core.accounts import AccountStore
from flask_courier.core.config import CourierConfig, WorkerMode
from flask_courier.core.messages import RecordedMessage
from flask_courier.core.smtp_uri import SmtpUri, format_with_credentials
from flask_courier.core.tokens import KeyRing
from flask_courier.delivery import runner
from flask_courier.delivery.parts import WorkerParts
from flask_courier.delivery.pool import SmtpTransport
from flask_courier.delivery.prepare import Kind, Preparer
from flask_courier.delivery.settings import smtp_settings
from flask_courier.delivery.thread import EmbeddedWorker
from flask_courier.delivery.transport import LogTransport, Transport
from flask_courier.flows import notice
from flask_courier.flows.challenge import Challenge, Settings
from flask_courier.flows.prepare import prepare
from flask_courier.flows.recovery import RECOVERY
from flask_courier.flows.verification import VERIFICATION
from flask_courier.state import EXTENSION, CourierState, Hooks
from flask_courier.storage import engines
from flask_courier.storage.accounts import QuickstartBase
from flask_courier.storage.models import attach
from flask_courier.storage.uow import Database, Session, listen
from flask_courier.web.blueprints import account_blueprint, log_blueprint


def set_up(
    app: Flask,
    db: SQLAlchemy,
    config: CourierConfig,
    accounts: AccountStore[Session],
    *,
    quickstart: bool,
    hooks: Callable[[], Hooks],
) -> None:
    """Give ``app`` its courier: tables, state, routes, commands and, if it has one, its worker."""
    keys = KeyRing(config.secret_keys)
    transport = _transport(config, keys)
    attach(db.metadata)
    listen(db.session.session_factory)
    recorders: list[list[RecordedMessage]] = []
    open_session = partial(_open_session, app, db, _CreateOnce(db) if quickstart else None)
    settings = Settings(config, keys, accounts)

    def parts(kind: str) -> WorkerParts:
        return WorkerParts(
            name=runner.worker_name(),
            kind=kind,
            database=database,
            preparer=_preparer(app, settings),
            transport=transport,
            on_accepted=partial(_note, recorders),
        )

    embedded = None
    if config.worker is WorkerMode.THREAD:
        embedded = EmbeddedWorker(partial(parts, "thread"), let_go=partial(_let_go, app, db))
        app.before_request(embedded.ensure_started)
    wake = embedded.wake if embedded else _nobody
    external = config.worker is WorkerMode.EXTERNAL
    database = Database(open_session, db.metadata.schema, wake, notifies=external)
    app.extensions[EXTENSION] = CourierState(
        config=config,
        keys=settings.keys,
        accounts=accounts,
        database=database,
        caller_session=lambda: database.bind(db.session()),
        worker_parts=parts,
        transport=transport().name,
        quickstart=quickstart,
        hooks=hooks,
        recorders=recorders,
    )
    _register(app, config)


def _register(app: Flask, config: CourierConfig) -> None:
    account_pages = account_blueprint(config)
    app.register_blueprint(account_pages)
    app.register_blueprint(log_blueprint(config))
    app.cli.add_command(courier_commands)

    def exempt() -> None:
        """Keep a host's CSRFProtect, set up before or after us, from forms that have no session."""
        protection = app.extensions.get("csrf")
        if protection is not None:
            protection.exempt(account_pages)

    exempt()
    app.before_request(exempt)


def _preparer(app: Flask, settings: Settings) -> Preparer:
    config = settings.config

    def challenge_kind(flow: Challenge) -> Kind:
        return Kind(
            prepare=lambda session, claims: prepare(session, flow, settings, claims),
            token_lifetime=flow.lifetime(config),
        )

    return Preparer(
        kinds={
            RECOVERY.purpose.value: challenge_kind(RECOVERY),
            VERIFICATION.purpose.value: challenge_kind(VERIFICATION),
            notice.PASSWORD_CHANGED: Kind(
                lambda _session, claims: notice.prepare_password_changed(config, claims)
            ),
        },
        other=Kind(lambda _session, claims: notice.prepare_custom(claims)),
        environment=lambda: app.jinja_env,
        keys=settings.keys,
        config=config,
    )


def _transport(config: CourierConfig, keys: KeyRing) -> Callable[[], Transport]:
    """What makes the transport of a worker; certificates are read here, once."""
    if config.smtp_uri is None:
        return LogTransport
    name = f"{config.smtp_uri.origin}#{_fingerprint(config.smtp_uri, keys)}"
    settings = smtp_settings(config, config.smtp_uri, name=name)
    return lambda: SmtpTransport(
        settings, sender=config.default_sender, headers=config.smtp_headers
    )


def _fingerprint(uri: SmtpUri, keys: KeyRing) -> str:
    """Changes with anything in the URI, so that a corrected one begins with a clean record."""
    return keys.current.limit_key("transport", format_with_credentials(uri))[:8]


@contextmanager
def _open_session(app: Flask, db: SQLAlchemy, create: _CreateOnce | None) -> Iterator[Session]:
    """A session of the application's own class, so that it finds its way to the right engine."""
    # Fresh, also inside another one: what hangs on a context must not outlive its transaction.
    with app.app_context():
        if create is not None:
            create()
        session = db.session.session_factory()
        try:
            yield session
        finally:
            session.close()


class _CreateOnce:
    """Creates the quickstart's tables with its first session: ``init_app`` opens no connection."""

    def __init__(self, db: SQLAlchemy) -> None:
        self._db = db
        self._lock = threading.Lock()
        self._done = False

    def __call__(self) -> None:
        with self._lock:
            if not self._done:
                engines.create_missing(self._db.engine, self._db.metadata, QuickstartBase.metadata)
                self._done = True


def _let_go(app: Flask, db: SQLAlchemy) -> None:
    with app.app_context():
        engines.let_go(db.engines.values())


def _note(recorders: list[list[RecordedMessage]], read: Callable[[], RecordedMessage]) -> None:
    for recorder in recorders:
        recorder.append(read())


def _nobody() -> None:
    """No worker of this process waits for messages."""
