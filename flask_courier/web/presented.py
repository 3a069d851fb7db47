"""The token a client comes with: in the cookie of an opened link, or in the form itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from flask import Response, request

from flask_courier.core import links
from flask_courier.core.tokens import Secret
from flask_courier.flows import redemption
from flask_courier.flows.challenge import Challenge
from flask_courier.flows.redemption import DeadToken, Death, OpenToken
from flask_courier.state import CourierState, current_state
from flask_courier.storage.uow import Conflict, Session
from flask_courier.web import guard
from flask_courier.web.forms import json_object
from flask_courier.web.guard import Refused
from flask_courier.web.language import gettext as _

T = TypeVar("T")

#: Seconds that the cookie of an opened link lasts.
COOKIE_LIFETIME = 600

#: What a client without a token is told.
NO_TOKEN = DeadToken(Death.FORGED)


@dataclass(frozen=True)
class Presented:
    """A token that a client came with, and what it opens."""

    secret: Secret
    token: OpenToken
    #: Whether it came in the form itself, as it does without cookies.
    in_form: bool


def presented_by_client(challenge: Challenge) -> Presented | DeadToken:
    """What the token in the form or the JSON body opens, else the one in the cookie.

    :raises Refused: if JSON was announced and no object came.
    """
    in_form: object = None
    if request.method == "POST":
        in_form = (json_object() if request.is_json else request.form).get("token")
    if isinstance(in_form, str) and in_form:
        return present(challenge, Secret(in_form), in_form=True)
    cookie = request.cookies.get(_cookie_name(challenge))
    return present(challenge, Secret(cookie), in_form=False) if cookie else NO_TOKEN


def present(challenge: Challenge, secret: Secret, *, in_form: bool) -> Presented | DeadToken:
    """What ``secret`` opens, or why it opens nothing."""
    state = current_state()
    token = transact(
        state, lambda session: redemption.inspect(session, challenge, state.flows, secret)
    )
    return token if isinstance(token, DeadToken) else Presented(secret, token, in_form)


def remember(answer: Response, challenge: Challenge, secret: Secret) -> None:
    """Keep an opened link's token in a cookie, so that it leaves the address bar."""
    answer.set_cookie(
        _cookie_name(challenge),
        secret.value,
        max_age=COOKIE_LIFETIME,
        path=_cookie_path(challenge),
        secure=links.is_secure(guard.public_url()),
        httponly=True,
        samesite="Lax",
    )


def forget(answer: Response, challenge: Challenge) -> None:
    """Take the cookie back."""
    answer.delete_cookie(_cookie_name(challenge), path=_cookie_path(challenge), samesite="Lax")


def transact(state: CourierState, work: Callable[[Session], T], *, reads: bool = True) -> T:
    """Run ``work`` in one transaction.

    :param reads: as for ``Database.unit_of_work``.
    :raises Refused: if it met another one twice; nothing was written, and trying again will do.
    """
    try:
        return state.database.transact(work, reads=reads)
    except Conflict:
        raise Refused(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "busy",
            _("This took too long"),
            _("Nothing was changed. Try again in a moment."),
            retry_after=1,
        ) from None


def _cookie_name(challenge: Challenge) -> str:
    """One cookie a purpose."""
    return f"courier_{challenge.purpose.value}"


def _cookie_path(challenge: Challenge) -> str:
    prefix = links.path_of(guard.public_url()) + current_state().config.account_url_prefix
    return f"{prefix}/{challenge.path}"
