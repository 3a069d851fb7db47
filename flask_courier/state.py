"""What ``init_app`` leaves on the application: one frozen value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from flask import Flask, current_app, has_app_context

from flask_courier.catalogues import Catalogues
from flask_courier.core.accounts import AccountStore
from flask_courier.core.config import CourierConfig
from flask_courier.core.errors import SetupError
from flask_courier.core.messages import Mail, RecordedMessage
from flask_courier.core.steps import Step
from flask_courier.core.tokens import KeyRing
from flask_courier.delivery.parts import WorkerParts
from flask_courier.flows.challenge import Settings
from flask_courier.storage.uow import Database, Session

EXTENSION = "courier"


@dataclass(frozen=True)
class Hooks:
    """What the application told its ``Courier``: each is asked for when it is needed."""

    #: Answers True if the page may be shown to whoever asks, by permission name.
    log_access: Callable[[str], object] | None = None
    #: Answers what is wrong with a password, or None.
    password_policy: Callable[[str], str | None] | None = None
    #: Answers the account of whoever is signed in, or None.
    current_account: Callable[[], Any] | None = None
    #: Answers True if the account's owner signed in lately, or where to do so.
    recent_authentication: Callable[[Any], object] | None = None
    #: Answers True if the account's second factor was passed or there is none, or where to pass it.
    second_factor: Callable[[Any], object] | None = None
    #: Begins a login session.
    sign_in: Callable[[Any], object] | None = None
    #: Answers the visitor's language as a tag, or None for what the browser asks for.
    language: Callable[[], str | None] | None = None


@dataclass(frozen=True)
class CourierState:
    """One application's courier."""

    config: CourierConfig
    keys: KeyRing
    accounts: AccountStore[Session]
    database: Database
    #: What flows work with.
    flows: Settings
    #: The words of pages and mails.
    catalogues: Catalogues
    #: The session that public calls join.
    caller_session: Callable[[], Session]
    worker_parts: Callable[[str], WorkerParts]
    #: What the rows of the transport are called.
    transport: str
    #: True in the four-line quickstart: everything on this machine, for one developer.
    quickstart: bool
    hooks: Callable[[], Hooks]
    #: Whether mail would go out, step by step and within seconds; None while another check is at
    #: work in this process.
    check: Callable[[], Sequence[Step] | None]
    #: A mail as it goes out, with dots in place of its secrets; raises RenderError.
    source: Callable[[Mail], str]
    #: Lists that ``record_messages`` is filling.
    recorders: list[list[RecordedMessage]]


def current_state() -> CourierState:
    """The state of the current application.

    :raises SetupError: without an application context, or before ``init_app``.
    """
    if not has_app_context():
        raise SetupError(
            "flask_courier was used outside an application context; wrap the call in "
            "'with app.app_context():'"
        )
    return state_of(current_app)


def state_of(app: Flask) -> CourierState:
    """The state of ``app``.

    :raises SetupError: before ``init_app``.
    """
    state = app.extensions.get(EXTENSION)
    if not isinstance(state, CourierState):
        raise SetupError(
            f"flask_courier is not set up on the application {app.name!r}; call "
            "courier.init_app(app, db) first"
        )
    return state
