"""Pages with one button, whose POST completes a flow: all but those that set a password."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from blinker import NamedSignal
from flask import Response, jsonify, request

from flask_courier.core.errors import AddressTaken, SetupError
from flask_courier.core.tokens import Purpose
from flask_courier.flows import email_change, not_me, sign_in, verification
from flask_courier.flows.challenge import Challenge
from flask_courier.flows.recovery import RECOVERY
from flask_courier.flows.redemption import DeadToken, Death
from flask_courier.flows.sign_in import SIGN_IN
from flask_courier.signals import (
    account_disowned,
    email_change_undone,
    email_changed,
    signed_in,
    verification_completed,
)
from flask_courier.state import CourierState, current_state
from flask_courier.storage.uow import Session
from flask_courier.web import assurance, browser, challenge, guard, language, links, recovery
from flask_courier.web.forms import ConfirmForm
from flask_courier.web.presented import Presented, forget, present, transact

#: What completes a flow; answers whether it did, or what goes on from there.
Complete = Callable[[CourierState, Session, Presented], object]


def confirm(flow_of: Challenge) -> Response:
    """``/account/<flow>/confirm``: what the button does, and its POST."""
    presented = links.in_hand(flow_of, first_form)
    if isinstance(presented, Response):
        return presented
    if request.method == "POST":
        return _complete(flow_of, presented)
    return challenge.describe([]) if guard.wants_json() else first_form(flow_of, presented)


def first_form(flow_of: Challenge, presented: Presented) -> Response:
    """The page as it is first shown."""
    held = _held(flow_of, presented)
    if held is not None:
        return held
    form = challenge.final_form(flow_of, ConfirmForm, presented, fresh=True)
    return challenge.page(flow_of, "confirm.html", form=form, **_context(presented))


def _complete(flow_of: Challenge, presented: Presented) -> Response:
    form = challenge.final_form(flow_of, ConfirmForm, presented)
    if not form.validate():
        if "form_token" in form.errors:
            return challenge.foreign_form()
        return challenge.show_again(flow_of, "confirm.html", form, **_context(presented))
    held = _held(flow_of, presented)
    if held is not None:
        return held
    way, state = _WAYS[flow_of.purpose], current_state()
    try:
        done = transact(state, lambda session: way.complete(state, session, presented))
    except AddressTaken:
        # To whoever reads mail there; that another account has the address is nobody's to know.
        dead = DeadToken(Death.CHANGED, presented.token.account_ref)
        return links.dead(flow_of, dead)
    if not done:
        return links.dead_in_hand(flow_of, links.present_again(flow_of, presented))
    challenge.announce(way.signal, presented)
    return way.answer(flow_of, presented, done)


def _held(flow_of: Challenge, presented: Presented) -> Response | None:
    """What stands before signing in by mail, or None; asked while the token is still good."""
    if flow_of is not SIGN_IN:
        return None
    if current_state().hooks().sign_in is None:
        raise SetupError(
            "COURIER_SIGN_IN is set, but nothing begins a login session; decorate the function "
            "that does with @courier.sign_in"
        )
    return assurance.second_factor(flow_of, presented)


def _context(presented: Presented) -> dict[str, object]:
    return {"address": presented.token.masked_address}


def _finished(flow_of: Challenge, presented: Presented, done: object) -> Response:  # noqa: ARG001
    return challenge.finished(flow_of, None)


def _verify(state: CourierState, session: Session, presented: Presented) -> object:
    name = browser.known_name()
    return verification.complete(
        session, state.flows, presented.token, recovery=RECOVERY, browser=name
    )


def _verified(flow_of: Challenge, presented: Presented, done: object) -> Response:  # noqa: ARG001
    secret = done.recovery if isinstance(done, verification.Verified) else None
    if secret is None:
        return challenge.finished(flow_of, current_state().config.after_verification_url)
    if guard.wants_json():
        return jsonify(status="completed", password_required=True, token=secret.value)
    opened = present(RECOVERY, secret, in_form=True)
    if not isinstance(opened, Presented):
        return challenge.finished(flow_of, None)
    answer = recovery.first_form(RECOVERY, opened, verified=True)
    forget(answer, flow_of)
    return answer


def _change_address(state: CourierState, session: Session, presented: Presented) -> object:
    public_url, locale = guard.stored_public_url(), language.of_request()
    return email_change.complete(
        session, state.flows, presented.token, public_url=public_url, locale=locale
    )


def _sign_in(flow_of: Challenge, presented: Presented, done: object) -> Response:  # noqa: ARG001
    begin = current_state().hooks().sign_in
    if begin is not None:
        begin(assurance.account_of(presented.token.account_ref))
    return challenge.finished(flow_of, current_state().config.after_sign_in_url)


@dataclass(frozen=True)
class _Way:
    """How one flow completes."""

    complete: Complete
    signal: NamedSignal
    answer: Callable[[Challenge, Presented, object], Response] = _finished


_WAYS = {
    Purpose.VERIFICATION: _Way(_verify, verification_completed, _verified),
    Purpose.EMAIL_CHANGE: _Way(_change_address, email_changed),
    Purpose.EMAIL_UNDO: _Way(
        lambda state, session, presented: email_change.undo(session, state.flows, presented.token),
        email_change_undone,
    ),
    Purpose.NOT_ME: _Way(
        lambda state, session, presented: not_me.complete(session, state.flows, presented.token),
        account_disowned,
    ),
    Purpose.SIGN_IN: _Way(
        lambda state, session, presented: sign_in.complete(session, state.flows, presented.token),
        signed_in,
        _sign_in,
    ),
}
