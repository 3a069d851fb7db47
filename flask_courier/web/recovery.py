"""A new password in the browser and in JSON: recovery, and the first one by invitation."""

from __future__ import annotations

from flask import Response, request, url_for

from flask_courier.core.tokens import Secret
from flask_courier.flows import recovery as flow
from flask_courier.flows.challenge import Challenge
from flask_courier.flows.recovery import INVITATION
from flask_courier.signals import invitation_completed, recovery_completed
from flask_courier.state import current_state
from flask_courier.web import assurance, challenge, guard, language, links
from flask_courier.web.forms import PasswordForm
from flask_courier.web.presented import Presented, transact


def password(flow_of: Challenge) -> Response:
    """``/account/recovery/password``: the new password, which the POST sets."""
    presented = links.in_hand(flow_of, first_form)
    if isinstance(presented, Response):
        return presented
    held = assurance.second_factor(flow_of, presented)
    if held is not None:
        return held
    if request.method == "POST":
        return _change(flow_of, presented)
    if guard.wants_json():
        return challenge.describe(["password"])
    return _form(flow_of, presented)


def first_form(flow_of: Challenge, presented: Presented, *, verified: bool = False) -> Response:
    """The form after a right code; or after a verification that leaves the account no password.

    :param verified: says so on the page.
    """
    held = assurance.second_factor(flow_of, presented)
    return _form(flow_of, presented, verified=verified) if held is None else held


def _change(flow_of: Challenge, presented: Presented) -> Response:
    form: PasswordForm = challenge.final_form(flow_of, PasswordForm, presented)
    form.personal = (presented.token.address, current_state().config.default_sender.name or "")
    if not form.validate():
        if "form_token" in form.errors:
            return challenge.foreign_form()
        again = challenge.show_again(flow_of, "password.html", form, **_context(presented))
        return guard.allow_script(again)
    state = current_state()
    new = Secret(form.password.data or "")
    public_url, locale = guard.stored_public_url(), language.of_request()
    done = transact(
        state,
        lambda session: flow.complete(
            session,
            flow_of,
            state.flows,
            presented.token,
            new,
            public_url=public_url,
            locale=locale,
        ),
    )
    if not done:
        return links.dead_in_hand(flow_of, links.present_again(flow_of, presented))
    signal = invitation_completed if flow_of is INVITATION else recovery_completed
    challenge.announce(signal, presented)
    return challenge.finished(flow_of, state.config.after_recovery_url)


def _form(flow_of: Challenge, presented: Presented, *, verified: bool = False) -> Response:
    form = challenge.final_form(flow_of, PasswordForm, presented, fresh=True)
    context = _context(presented)
    page = challenge.page(flow_of, "password.html", form=form, verified=verified, **context)
    return guard.allow_script(page)


def _context(presented: Presented) -> dict[str, object]:
    return {
        "address": presented.token.masked_address,
        "username": presented.token.address,
        "script": url_for("courier.static", filename="courier/password.js"),
        "min_length": current_state().config.password_min_length,
    }
