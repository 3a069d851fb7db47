"""What a mail alone does not prove: a second factor, and that somebody signed in lately."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from flask import Response, abort

from flask_courier.flows.challenge import Challenge
from flask_courier.state import current_state
from flask_courier.web import guard
from flask_courier.web.guard import Refused
from flask_courier.web.language import gettext as _
from flask_courier.web.presented import Presented, remember


def second_factor(challenge: Challenge, presented: Presented) -> Response | None:
    """What is answered instead of the next page, until the second factor was passed; None then.

    A browser is sent to the application's page for it with the link's token in its cookie, so that
    it can come back.

    :raises Refused: if the application does not let this account go on.
    """
    ask = current_state().hooks().second_factor
    if ask is None:
        return None
    verdict = ask(account_of(presented.token.account_ref))
    if verdict is True:
        return None
    if not isinstance(verdict, str) or guard.wants_json():
        raise Refused(
            HTTPStatus.FORBIDDEN,
            "second_factor_required",
            _("One more step is needed"),
            _("This account asks for a second factor before it goes on."),
            location=verdict if isinstance(verdict, str) else None,
        )
    answer = guard.see_other(verdict)
    remember(answer, challenge, presented.secret)
    return answer


def signed_in_account() -> Any:
    """The account of whoever is signed in, who did so lately; or where to do that.

    The page that needs it does not exist where the application has not said how to tell.

    :raises Refused: if nobody is signed in, or not lately enough.
    """
    hooks = current_state().hooks()
    if hooks.current_account is None or hooks.recent_authentication is None:
        abort(HTTPStatus.NOT_FOUND)
    account = hooks.current_account()
    if account is None:
        raise Refused(
            HTTPStatus.UNAUTHORIZED,
            "not_signed_in",
            _("Sign in first"),
            _("This page is for the account you are signed in to."),
        )
    verdict = hooks.recent_authentication(account)
    if verdict is True:
        return account
    if isinstance(verdict, str) and not guard.wants_json():
        return guard.see_other(verdict)
    raise Refused(
        HTTPStatus.FORBIDDEN,
        "reauthentication_required",
        _("Sign in once more"),
        _("A new address needs a fresh login."),
        location=verdict if isinstance(verdict, str) else None,
    )


def account_of(reference: str) -> Any:
    """The account as the application's own session has it, for its hooks.

    :raises Refused: if it is gone.
    """
    state = current_state()
    account = state.accounts.get(state.caller_session(), reference)
    if account is None:
        raise Refused(
            HTTPStatus.GONE,
            "link_invalid",
            _("This link no longer works"),
            _("It may have been used, replaced by a newer one, or run out. Ask for a new mail."),
        )
    return account
