"""Forms of the log: who may send them, that they come from here, and who did it."""

from __future__ import annotations

from http import HTTPStatus

from flask import request

from flask_courier.core.characters import has_control
from flask_courier.state import current_state
from flask_courier.web import forms as account_forms
from flask_courier.web import guard
from flask_courier.web.guard import Refused
from flask_courier.web.log.access import is_allowed

_ACTOR_LIMIT = 255
#: The purpose of forms that act on many messages.
BULK = "bulk"


def check(purpose: str) -> None:
    """Let a POST through that somebody who may act sent from a page of this log.

    :param purpose: what :func:`token` was asked for.
    :raises Refused: otherwise.
    """
    admit()
    check_token(purpose)


def admit(*, body_limit: int = guard.BODY_LIMIT) -> None:
    """Let a POST through to where its body is read.

    :param body_limit: bytes that it may have.
    :raises Refused: if whoever sent it may not act, or another site did.
    """
    admit_reader()
    guard.before_request(body_limit=body_limit)


def admit_reader() -> None:
    """Let somebody look at what only those who may act need to see.

    :raises Refused: if whoever asks may not act.
    """
    if not is_allowed("act"):
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "not_allowed",
            "You may look at this, and change nothing",
            "Whoever set this page up decides who may act: log_access is asked for 'act'.",
        )


def check_token(purpose: str) -> None:
    """Take the form's token; a JSON object, which a foreign page cannot send, needs none.

    :raises Refused: if it is missing, too old or another form's, or if JSON was announced and no
        object came.
    """
    if request.is_json:
        account_forms.json_object()
        return
    sent = request.form.get("form_token", "")
    lifetime = account_forms.FORM_LIFETIME
    if not current_state().keys.check_form(sent, _binding(purpose), max_age=lifetime):
        raise Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "form_expired",
            "This page stood open too long",
            "Open the page again and send the form once more. Nothing was done.",
        )


def token(purpose: str) -> str:
    """A form token for this purpose, good for an hour and for whoever opens the page."""
    return current_state().keys.sign_form(_binding(purpose))


def actor() -> str:
    """Who acts, as the log shows it: the account that is signed in, where the application says."""
    state = current_state()
    hook = state.hooks().current_account
    account = None if hook is None else hook()
    if account is None:
        return "web"
    name = f"web:{state.accounts.reference(account)}"
    return "web" if has_control(name) else name[:_ACTOR_LIMIT]


def invalid(member: str, words: str) -> Refused:
    """What refuses a field, or a member of a JSON object."""
    return Refused(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "invalid_input",
        "Something in the input is not right",
        words,
        errors={member: [words]},
    )


def _binding(purpose: str) -> str:
    return guard.binding("log", purpose, actor())
