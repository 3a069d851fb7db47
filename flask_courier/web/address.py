"""The page on which somebody who is signed in asks for a new address."""

from __future__ import annotations

from flask import Response, request

from flask_courier.core.accounts import ChangesAddresses
from flask_courier.core.errors import SetupError
from flask_courier.flows.email_change import EMAIL_CHANGE, by_owner
from flask_courier.state import current_state
from flask_courier.web import assurance, challenge, guard
from flask_courier.web.forms import RequestForm, bind


def ask() -> Response:
    """GET and POST of ``/account/email``: a mail goes to the new address, whoever has it by now."""
    account = assurance.signed_in_account()
    if isinstance(account, Response):
        return account
    state = current_state()
    accounts = state.accounts
    if not isinstance(accounts, ChangesAddresses):
        raise SetupError(
            "the account store has no change_address(session, account, address); write one to let "
            "accounts change their address"
        )
    reference = accounts.reference(account)
    # Bound to the account: a form of somebody else's cannot be sent with this login session.
    form = bind(RequestForm, guard.binding(EMAIL_CHANGE.purpose.value, "request", reference))
    if request.method != "POST":
        if guard.wants_json():
            return challenge.describe(["email"])
        return challenge.page(EMAIL_CHANGE, "request.html", form=form)
    if not form.validate():
        return challenge.show_again(EMAIL_CHANGE, "request.html", form)
    asked = challenge.asked_for(str(form.email.data))
    challenge.request_mail(EMAIL_CHANGE, by_owner(state.flows, account, asked))
    return challenge.accepted(EMAIL_CHANGE)
