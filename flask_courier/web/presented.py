"""The token a client comes with: in the cookie of an opened link, or in the form itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

from flask import Response, request

from flask_courier.core import links
from flask_courier.core.tokens import Secret
from flask_courier.flows import challenge as flow
from flask_courier.flows.challenge import Challenge, OpenToken
from flask_courier.state import CourierState, current_state
from flask_courier.storage.uow import Conflict, Session
from flask_courier.web import guard
from flask_courier.web.forms import json_object
from flask_courier.web.guard import Refused

T = TypeVar("T")

#: Seconds that the cookie of an opened link lasts.
COOKIE_LIFETIME = 600


@dataclass(frozen=True)
class Presented:
    """A token that a client came with, and what it opens."""

    secret: Secret
    token: OpenToken
    #: Whether it came in the form itself, as it does without cookies.
    in_form: bool


def presented_by_client(challenge: Challenge) -> Presented | None:
    """The token in the form or the JSON body, else the one in the cookie; None if it is dead.

    :raises Refused: if JSON was announced and no object came.
    """
    in_form: object = None
    if request.method == "POST":
        in_form = (json_object() if request.is_json else request.form).get("token")
    if isinstance(in_form, str) and in_form:
        return present(challenge, Secret(in_form), in_form=True)
    cookie = request.cookies.get(_cookie_name(challenge))
    return None if not cookie else present(challenge, Secret(cookie), in_form=False)


def present(challenge: Challenge, secret: Secret, *, in_form: bool) -> Presented | None:
    """What ``secret`` opens, or None."""
    state = current_state()
    token = transact(state, lambda session: flow.inspect(session, challenge, state.flows, secret))
    return None if token is None else Presented(secret, token, in_form)


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


def transact(state: CourierState, work: Callable[[Session], T]) -> T:
    """Run ``work`` in one transaction.

    :raises Refused: if it met another one twice; nothing was written, and trying again will do.
    """
    try:
        return state.database.transact(work)
    except Conflict:
        raise Refused(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "busy",
            "This took too long",
            "Nothing was changed. Try again in a moment.",
            retry_after=1,
        ) from None


def _cookie_name(challenge: Challenge) -> str:
    """One cookie a purpose."""
    return f"courier_{challenge.purpose.value}"


def _cookie_path(challenge: Challenge) -> str:
    prefix = links.path_of(guard.public_url()) + current_state().config.account_url_prefix
    return f"{prefix}/{challenge.purpose.value}"
