"""Account recovery in the browser and in JSON."""

from __future__ import annotations

from flask import Response, request

from flask_courier.core.tokens import Secret
from flask_courier.flows import recovery as flow
from flask_courier.flows.recovery import RECOVERY
from flask_courier.signals import recovery_completed
from flask_courier.state import current_state
from flask_courier.web import challenge, guard
from flask_courier.web.forms import PasswordForm
from flask_courier.web.presented import Presented, presented_by_client, transact


def ask() -> Response:
    """``/account/recovery``: ask for a mail."""
    return challenge.ask(RECOVERY)


def code() -> Response:
    """``/account/recovery/code``: check your mail, and type the code."""
    return challenge.enter_code(RECOVERY, _first_form)


def link(token: str) -> Response:
    """``/account/recovery/<token>``: to the clean page."""
    return challenge.follow_link(RECOVERY, token)


def password() -> Response:
    """``/account/recovery/password``: the new password, which the POST sets."""
    presented = presented_by_client(RECOVERY)
    if presented is None:
        return challenge.dead_link(RECOVERY)
    if request.method == "POST":
        return _change(presented)
    return challenge.describe(["password"]) if guard.wants_json() else _first_form(presented)


def _change(presented: Presented) -> Response:
    form = challenge.final_form(RECOVERY, PasswordForm, presented)
    if not form.validate():
        if "form_token" in form.errors:
            return challenge.foreign_form()
        return challenge.show_again(RECOVERY, "password.html", form, **_context(presented))
    state = current_state()
    new = Secret(form.password.data)
    public_url = guard.stored_public_url()
    done = transact(
        state,
        lambda session: flow.complete(
            session, state.flows, presented.token, new, public_url=public_url
        ),
    )
    if not done:
        return challenge.dead_link(RECOVERY)
    challenge.announce(recovery_completed, presented)
    return challenge.finished(RECOVERY, state.config.after_recovery_url)


def _first_form(presented: Presented) -> Response:
    form = challenge.final_form(RECOVERY, PasswordForm, presented, fresh=True)
    return challenge.page(RECOVERY, "password.html", form=form, **_context(presented))


def _context(presented: Presented) -> dict[str, object]:
    return {
        "address": presented.token.masked_address,
        "min_length": current_state().config.password_min_length,
    }
