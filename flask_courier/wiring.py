"""Puts the floors together for one application: who calls whom, and with what."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy

from flask_courier.catalogues import Catalogues
from flask_courier.cli import courier_commands
from flask_courier.core.accounts import AccountStore
from flask_courier.core.config import CourierConfig, WorkerMode
from flask_courier.core.messages import Mail, RecordedMessage
from flask_courier.core.smtp_uri import SmtpUri, format_with_credentials
from flask_courier.core.steps import Step
from flask_courier.core.tokens import KeyRing
from flask_courier.delivery import check_soon, runner
from flask_courier.delivery.check_soon import SoonCheck
from flask_courier.delivery.compose import composer
from flask_courier.delivery.parts import WorkerParts
from flask_courier.delivery.pool import SmtpTransport
from flask_courier.delivery.prepare import Kind, Preparer
from flask_courier.delivery.settings import smtp_settings
from flask_courier.delivery.source import masked_source
from flask_courier.delivery.thread import EmbeddedWorker
from flask_courier.delivery.transport import LogTransport, Transport
from flask_courier.flows import notice, security_notices
from flask_courier.flows.challenge import Challenge, Settings
from flask_courier.flows.challenges import MAILED
from flask_courier.flows.email_change import EMAIL_UNDO
from flask_courier.flows.not_me import NOT_ME
from flask_courier.flows.prepare import prepare
from flask_courier.flows.samples import samples
from flask_courier.state import EXTENSION, CourierState, Hooks, state_of
from flask_courier.storage import engines
from flask_courier.storage.models import attach
from flask_courier.storage.quickstart import QuickstartBase
from flask_courier.storage.uow import Database, Session, listen
from flask_courier.web.blueprints import account_blueprint, change_password, log_blueprint
from flask_courier.web.masking import mask_logs


def set_up(
    app: Flask,
    db: SQLAlchemy,
    config: CourierConfig,
    accounts: AccountStore[Session],
    *,
    host: dict[str, Any],
    quickstart: bool,
    hooks: Callable[[], Hooks],
) -> None:
    """Give ``app`` its courier: tables, state, routes, commands and, if it has one, its worker.

    :param host: what binds routes to a host.
    """
    attach(db.metadata)
    listen(db.session.session_factory)
    recorders: list[list[RecordedMessage]] = []
    open_session = partial(_open_session, app, db, _CreateOnce(db) if quickstart else None)
    catalogues = Catalogues(Path(app.root_path) / "translations")
    settings = Settings(config, KeyRing(config.secret_keys), accounts, catalogues.languages)
    transport = _transport(config, settings.keys)

    def parts(kind: str) -> WorkerParts:
        return WorkerParts(
            name=runner.worker_name(),
            kind=kind,
            database=database,
            preparer=_preparer(app, settings, catalogues),
            transport=transport,
            on_accepted=partial(_note, recorders),
        )

    embedded = _embedded(app, db, partial(parts, "thread"), config.worker)
    wake = embedded.wake if embedded else _nobody
    external = config.worker is WorkerMode.EXTERNAL
    database = Database(open_session, db.metadata.schema, wake, notifies=external)
    app.extensions[EXTENSION] = CourierState(
        config=config,
        keys=settings.keys,
        accounts=accounts,
        database=database,
        flows=settings,
        catalogues=catalogues,
        caller_session=lambda: database.bind(db.session()),
        worker_parts=parts,
        transport=transport().name,
        quickstart=quickstart,
        hooks=hooks,
        source=_source(config),
        check=SoonCheck(partial(_check, app)),
        recorders=recorders,
    )
    _register(app, config, host)


def _embedded(
    app: Flask, db: SQLAlchemy, parts: Callable[[], WorkerParts], mode: WorkerMode
) -> EmbeddedWorker | None:
    """The worker of this process, if it is to have one; its first request starts it."""
    if mode is not WorkerMode.THREAD:
        return None
    embedded = EmbeddedWorker(parts, let_go=partial(_let_go, app, db))
    app.before_request(embedded.ensure_started)
    return embedded


def _register(app: Flask, config: CourierConfig, host: dict[str, Any]) -> None:
    account_pages = account_blueprint(config, host)
    app.register_blueprint(account_pages)
    log_pages = log_blueprint(config, host)
    app.register_blueprint(log_pages)
    app.add_url_rule(
        "/.well-known/change-password", "courier_change_password", change_password, **host
    )
    app.cli.add_command(courier_commands)
    mask_logs(app.name)

    def exempt() -> None:
        """Keep a host's CSRFProtect, set up before or after us, from forms that have no session."""
        protection = app.extensions.get("csrf")
        if protection is not None:
            protection.exempt(account_pages)

    exempt()
    app.before_request(exempt)


def _preparer(app: Flask, settings: Settings, catalogues: Catalogues) -> Preparer:
    config = settings.config

    def challenge_kind(flow: Challenge) -> Kind:
        return Kind(
            prepare=lambda session, claims: prepare(session, flow, settings, claims),
            token_lifetime=flow.lifetime(config),
        )

    def notice_kind(flow: Challenge) -> Kind:
        return Kind(
            prepare=lambda session, claims: security_notices.prepare(
                session, flow, settings, claims
            ),
            token_lifetime=flow.lifetime(config),
        )

    return Preparer(
        kinds={
            **{flow.purpose.value: challenge_kind(flow) for flow in MAILED},
            security_notices.PASSWORD_CHANGED: notice_kind(NOT_ME),
            security_notices.EMAIL_CHANGED: notice_kind(EMAIL_UNDO),
        },
        other=Kind(lambda _session, claims: notice.prepare_custom(claims)),
        environment=lambda: app.jinja_env,
        keys=settings.keys,
        config=config,
        catalogues=catalogues,
    )


def _check(app: Flask, note: Callable[[Step], None]) -> None:
    # 100 ms for the DNS library, which nothing else of an application needs.
    from flask_courier.delivery import check  # noqa: PLC0415

    state = state_of(app)
    subject = check.Subject(
        state.config,
        state.database,
        state.transport,
        state.worker_parts("check").preparer,
        samples(state.flows),
        patience=check_soon.PATIENCE,
    )
    # In a thread of its own: a template may ask for the application.
    with app.app_context():
        check.steps(subject, note)


def _transport(config: CourierConfig, keys: KeyRing) -> Callable[[], Transport]:
    """What makes the transport of a worker; certificates are read here, once."""
    if config.smtp_uri is None:
        return LogTransport
    name = f"{config.smtp_uri.origin}#{_fingerprint(config.smtp_uri, keys)}"
    settings = smtp_settings(config, config.smtp_uri, name=name)
    return lambda: SmtpTransport(
        settings, sender=config.default_sender, headers=config.smtp_headers
    )


def _source(config: CourierConfig) -> Callable[[Mail], str]:
    """What shows a mail as a worker would send it today."""
    host = "" if config.smtp_uri is None else config.smtp_uri.host
    compose = composer(host, sender=config.default_sender, headers=config.smtp_headers)
    return partial(masked_source, compose, code_digits=config.code_digits)


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
