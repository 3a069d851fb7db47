"""E-mail verification in the browser and in JSON."""

from __future__ import annotations

from flask import Response, request

from flask_courier.flows import verification as flow
from flask_courier.flows.verification import VERIFICATION
from flask_courier.signals import verification_completed
from flask_courier.state import current_state
from flask_courier.web import challenge, guard
from flask_courier.web.forms import ConfirmForm
from flask_courier.web.presented import Presented, presented_by_client, transact


def ask() -> Response:
    """``/account/verification``: ask for a mail."""
    return challenge.ask(VERIFICATION)


def code() -> Response:
    """``/account/verification/code``: check your mail, and type the code."""
    return challenge.enter_code(VERIFICATION, _first_form)


def link(token: str) -> Response:
    """``/account/verification/<token>``: to the clean page."""
    return challenge.follow_link(VERIFICATION, token)


def confirm() -> Response:
    """``/account/verification/confirm``: one button, whose POST verifies."""
    presented = presented_by_client(VERIFICATION)
    if presented is None:
        return challenge.dead_link(VERIFICATION)
    if request.method == "POST":
        return _verify(presented)
    return challenge.describe([]) if guard.wants_json() else _first_form(presented)


def _verify(presented: Presented) -> Response:
    form = challenge.final_form(VERIFICATION, ConfirmForm, presented)
    if not form.validate():
        if "form_token" in form.errors:
            return challenge.foreign_form()
        return challenge.show_again(VERIFICATION, "confirm.html", form, **_context(presented))
    state = current_state()
    done = transact(state, lambda session: flow.complete(session, state.flows, presented.token))
    if not done:
        return challenge.dead_link(VERIFICATION)
    challenge.announce(verification_completed, presented)
    return challenge.finished(VERIFICATION, state.config.after_verification_url)


def _first_form(presented: Presented) -> Response:
    form = challenge.final_form(VERIFICATION, ConfirmForm, presented, fresh=True)
    return challenge.page(VERIFICATION, "confirm.html", form=form, **_context(presented))


def _context(presented: Presented) -> dict[str, object]:
    return {"address": presented.token.masked_address}
