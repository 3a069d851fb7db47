"""The pages that recovery and verification share: ask, type the code, follow the link."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from blinker import NamedSignal
from flask import Response, current_app, jsonify, request, url_for

from flask_courier.core.tokens import Secret
from flask_courier.flows import challenge as flow
from flask_courier.flows import codes
from flask_courier.flows.challenge import Asked, Challenge
from flask_courier.state import CourierState, current_state
from flask_courier.storage.uow import Session
from flask_courier.web import guard
from flask_courier.web.forms import CodeForm, ConfirmForm, CourierForm, RequestForm, bind, invalid
from flask_courier.web.guard import Refused
from flask_courier.web.presented import Presented, forget, present, remember, transact

logger = logging.getLogger("flask_courier.web")

_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{1,8}){0,3}")
_LINK_TAIL = " ./>?#"
_WRONG_CODE = (
    "This code is not right, or no longer. Check it, or open the link in the mail instead, which "
    "works longer than the code."
)


@dataclass(frozen=True)
class Pages:
    """Where the pages of a flow are."""

    request: str
    code: str
    #: The page that completes the flow.
    final: str

    @property
    def password(self) -> str:
        """The final page of recovery."""
        return self.final

    @property
    def confirm(self) -> str:
        """The final page of verification."""
        return self.final


def pages(challenge: Challenge) -> Pages:
    """The URLs of this flow's pages."""
    name = challenge.purpose.value
    final = "password" if name == "recovery" else "confirm"
    return Pages(
        url_for(f"courier.{name}"),
        url_for(f"courier.{name}_code"),
        url_for(f"courier.{name}_{final}"),
    )


def page(challenge: Challenge, template: str, **context: Any) -> Response:
    """One of this flow's pages."""
    return guard.page(template, flow=challenge.purpose.value, urls=pages(challenge), **context)


def ask(challenge: Challenge) -> Response:
    """GET and POST of the first page: queue a mail, whoever asks for whomever."""
    form = bind(RequestForm, _binding(challenge, "request"))
    if request.method != "POST":
        if guard.wants_json():
            return describe(["email"])
        return page(challenge, "request.html", form=form)
    if not form.validate():
        return show_again(challenge, "request.html", form)
    asked = _asked(str(form.email.data))
    state = current_state()
    requester = guard.requester()

    def work(session: Session) -> bool:
        if requester is not None and not flow.count_request(session, state.flows, requester):
            return False
        flow.request(session, challenge, asked)
        return True

    if not transact(state, work):
        raise _too_many(state)
    if guard.wants_json():
        answer = jsonify(
            status="accepted", detail="If there is such an account, a mail is on its way."
        )
        answer.status_code = int(HTTPStatus.ACCEPTED)
        return answer
    return guard.see_other(pages(challenge).code)


def enter_code(challenge: Challenge, final: Callable[[Presented], Response]) -> Response:
    """GET and POST of the code page; a right code, or a pasted link, is answered by ``final``."""
    form = bind(CodeForm, _binding(challenge, "code"))
    if request.method != "POST":
        if guard.wants_json():
            return describe(["email", "code"])
        return page(challenge, "code.html", form=form, message=None)
    if not form.validate():
        return show_again(challenge, "code.html", form, message=None)
    state, requester = current_state(), guard.requester()
    if requester is not None and not transact(
        state, lambda session: flow.count_request(session, state.flows, requester)
    ):
        raise _too_many(state)
    secret = _redeem_text(state, challenge, str(form.email.data), str(form.code.data))
    presented = None if secret is None else present(challenge, secret, in_form=True)
    if presented is None:
        if guard.wants_json():
            raise Refused(
                HTTPStatus.UNPROCESSABLE_ENTITY, "code_wrong", "That did not work", _WRONG_CODE
            )
        answer = page(challenge, "code.html", form=form, message=_WRONG_CODE)
        answer.status_code = int(HTTPStatus.UNPROCESSABLE_ENTITY)
        return answer
    if guard.wants_json():
        return jsonify(token=presented.secret.value, address=presented.token.masked_address)
    return final(presented)


def follow_link(challenge: Challenge, text: str) -> Response:
    """GET of the link in the mail: never changes an account, whoever fetches it."""
    # Mail programs take the end of a sentence, or of <a link>, for a part of the link.
    presented = present(challenge, Secret(text.rstrip(_LINK_TAIL)), in_form=False)
    if presented is None:
        return dead_link(challenge)
    state = current_state()
    token = presented.token
    transact(state, lambda session: flow.mark_opened(session, token))
    if guard.wants_json():
        return jsonify(status="open", address=token.masked_address)
    answer = guard.see_other(pages(challenge).final)
    remember(answer, challenge, presented.secret)
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def final_form(
    challenge: Challenge, form: type[ConfirmForm], presented: Presented, *, fresh: bool = False
) -> Any:
    """The form that completes a flow, bound to the token it was opened with.

    :param fresh: True for the first showing, where what was posted belongs to another form.
    """
    context = _binding(challenge, presented.token.digest)
    token = presented.secret.value if presented.in_form else ""
    if fresh:
        return form(None, meta={"csrf_context": context}, data={"token": token})
    return bind(form, context, token=token)


def foreign_form() -> Response:
    """The answer to a form that was opened with another link than the one the browser holds now.

    Not the form again: it would then be bound to an account that its reader did not see.
    """
    return guard.refuse(
        Refused(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "form_expired",
            "Open the link again",
            "This page stood open too long, or another link was opened meanwhile. Nothing was "
            "changed. Open the link in the mail again.",
        )
    )


def finished(challenge: Challenge, after: str | None) -> Response:
    """The answer to a completed flow."""
    if guard.wants_json():
        return jsonify(status="completed")
    answer = guard.see_other(after) if after else page(challenge, "done.html", next_url=None)
    forget(answer, challenge)
    return answer


def dead_link(challenge: Challenge) -> Response:
    """One text for every link that does not work: forged, used, replaced, or run out."""
    refused = Refused(
        HTTPStatus.GONE,
        "link_invalid",
        "This link no longer works",
        "It may have been used, replaced by a newer one, or run out. Ask for a new mail.",
    )
    if guard.wants_json():
        return guard.refuse(refused)
    answer = page(challenge, "dead_link.html")
    answer.status_code = int(refused.status)
    return answer


def show_again(challenge: Challenge, template: str, form: CourierForm, **context: Any) -> Response:
    """A form that does not hold, with what is wrong; for JSON raised as a problem."""
    if guard.wants_json():
        raise invalid(form)
    answer = page(challenge, template, form=form, **context)
    answer.status_code = int(HTTPStatus.UNPROCESSABLE_ENTITY)
    return answer


def describe(fields: list[str]) -> Response:
    """What a JSON client that reads a form's page is told: the fields to send."""
    return jsonify(fields=fields)


def announce(signal: NamedSignal, presented: Presented) -> None:
    """Tell receivers of a completed flow; what one of them raises is logged and changes nothing."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, account_ref=presented.token.account_ref)
        except Exception:
            logger.exception(
                "a receiver of %s failed", signal.name, extra={"action": "signal_failed"}
            )


def _binding(challenge: Challenge, form: str) -> str:
    return guard.binding(challenge.purpose.value, form)


def _asked(address: str) -> Asked:
    state = current_state()
    requester = guard.requester()
    key = state.keys.current
    return Asked(
        address=address,
        locale=_language(),
        requester_key=None if requester is None else key.limit_key("requester", requester),
        public_url=guard.stored_public_url(),
        delay=guard.unseen_delay(),
    )


def _language() -> str | None:
    """The language the browser asks for, if it reads like a language tag (RFC 5646)."""
    best = request.accept_languages.best
    return best if best and _LANGUAGE_TAG.fullmatch(best) else None


def _too_many(state: CourierState) -> Refused:
    longest = max(limit.seconds for limit in state.config.requester_limit)
    return Refused(
        HTTPStatus.TOO_MANY_REQUESTS,
        "too_many_requests",
        "Too many requests",
        "Wait a while before you ask again.",
        retry_after=longest,
    )


def _redeem_text(
    state: CourierState, challenge: Challenge, address: str, text: str
) -> Secret | None:
    """The token behind what was typed: the end of a pasted link, or what a right code stands for.

    A slot is taken whatever was typed, and committed before anything is compared.
    """
    room = transact(
        state, lambda session: codes.take_code_slot(session, challenge, state.flows, address)
    )
    pasted = unquote(text)
    if "/" in pasted:
        return Secret(pasted.rstrip(_LINK_TAIL).rpartition("/")[2])
    code = Secret("".join(text.replace("-", " ").split()))
    row = transact(
        state,
        lambda session: codes.find(session, challenge, state.flows, address=address, code=code),
    )
    if row is None or not room:
        return None
    return transact(
        state, lambda session: codes.issue(session, challenge, state.flows, row, address)
    )
