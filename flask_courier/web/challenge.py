"""The pages that recovery and verification share: ask, type the code, follow the link."""

from __future__ import annotations

import logging
import unicodedata
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
from flask_courier.flows.redemption import DeadToken
from flask_courier.state import CourierState, current_state
from flask_courier.web import guard, language, peer
from flask_courier.web.forms import (
    CodeForm,
    ConfirmForm,
    CourierForm,
    RequestForm,
    bind,
    invalid,
    sent_address,
)
from flask_courier.web.guard import Refused
from flask_courier.web.language import gettext as _
from flask_courier.web.presented import Presented, forget, present, transact

logger = logging.getLogger("flask_courier.web")

#: What mail programs take for a part of a link: the end of a sentence, or of <a link>.
LINK_TAIL = " ./>?#"


@dataclass(frozen=True)
class Pages:
    """Where the pages of a flow are."""

    #: The page that completes the flow.
    final: str
    #: The page to ask for a mail on, and the one for its code, where the flow has them.
    request: str | None = None
    code: str | None = None
    #: Where a dead link is exchanged for a new mail, where it can be.
    again: str | None = None


def pages(challenge: Challenge) -> Pages:
    """The URLs of this flow's pages."""
    name = f"courier.{challenge.purpose.value}"
    return Pages(
        final=url_for(f"{name}_{challenge.final}"),
        request=url_for(name) if challenge.has_code else None,
        code=url_for(f"{name}_code") if challenge.has_code else None,
        again=url_for(f"{name}_again") if challenge.renewable else None,
    )


def page(challenge: Challenge, template: str, **context: Any) -> Response:
    """One of this flow's pages."""
    return guard.page(template, flow=challenge.purpose.value, urls=pages(challenge), **context)


def ask(challenge: Challenge) -> Response:
    """GET and POST of the first page: queue a mail, whoever asks for whomever."""
    binding = _binding(challenge, "request")
    address = sent_address(binding) if request.method == "POST" else None
    if address is not None:
        request_mail(challenge, asked_for(address))
        return accepted(challenge)
    form = bind(RequestForm, binding)
    if request.method == "POST":
        form.validate()
        return show_again(challenge, "request.html", form)
    if guard.wants_json():
        return describe(["email"])
    return page(challenge, "request.html", form=form)


def request_mail(challenge: Challenge, asked: Asked) -> None:
    """Queue a mail, if the client has not had its share of them.

    :raises Refused: if it has.
    """
    state = current_state()
    if not transact(
        state,
        lambda session: flow.request_limited(session, challenge, state.flows, asked),
        reads=False,
    ):
        raise _too_many(state)


def accepted(challenge: Challenge) -> Response:
    """The answer to a request for a mail, whether there will be one or not."""
    if guard.wants_json():
        answer = jsonify(
            status="accepted", detail=_("If there is such an account, a mail is on its way.")
        )
        answer.status_code = int(HTTPStatus.ACCEPTED)
        return answer
    onward = "code" if challenge.has_code else challenge.final
    return guard.see_other(url_for(f"courier.{challenge.purpose.value}_{onward}"))


def enter_code(challenge: Challenge, final: Callable[[Presented], Response]) -> Response:
    """GET and POST of the code page; a right code, or a pasted link, is answered by ``final``."""
    form = bind(CodeForm, _binding(challenge, "code"))
    if request.method != "POST":
        if guard.wants_json():
            return describe(["email", "code"])
        return page(challenge, "code.html", form=form, message=None)
    if not form.validate():
        return show_again(challenge, "code.html", form, message=None)
    state = current_state()
    requester = flow.requester_key(state.flows, peer.requester())
    if requester is not None and not transact(
        state, lambda session: flow.count_request(session, state.flows, requester)
    ):
        raise _too_many(state)
    secret = _redeem_text(state, challenge, str(form.email.data), str(form.code.data))
    presented = None if secret is None else present(challenge, secret, in_form=True)
    if not isinstance(presented, Presented):
        return _wrong_code(challenge, form)
    if guard.wants_json():
        return jsonify(token=presented.secret.value, address=presented.token.masked_address)
    return final(presented)


def _wrong_code(challenge: Challenge, form: CodeForm) -> Response:
    words = _(
        "This code is not right, or no longer. Check it, or open the link in the mail instead, "
        "which works longer than the code."
    )
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    if guard.wants_json():
        raise Refused(status, "code_wrong", _("That did not work"), words)
    answer = page(challenge, "code.html", form=form, message=words)
    answer.status_code = int(status)
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
            _("Open the link again"),
            _(
                "This page stood open too long, or another link was opened meanwhile. Nothing was "
                "changed. Open the link in the mail again."
            ),
        )
    )


def finished(challenge: Challenge, after: str | None) -> Response:
    """The answer to a completed flow."""
    if guard.wants_json():
        return jsonify(status="completed")
    answer = (
        guard.see_other(after)
        if after
        else page(challenge, "done.html", next_url=None, recovery_url=url_for("courier.recovery"))
    )
    forget(answer, challenge)
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


def is_served(challenge: Challenge) -> bool:
    """Whether the application has this flow's pages."""
    return f"courier.{challenge.purpose.value}_link" in current_app.view_functions


def announce(signal: NamedSignal, presented: Presented) -> None:
    """Tell receivers of a completed flow."""
    _send(signal, account_ref=presented.token.account_ref)


def announce_refusal(signal: NamedSignal, challenge: Challenge, token: DeadToken) -> None:
    """Tell receivers of a link that did not work."""
    _send(
        signal,
        account_ref=token.account_ref,
        purpose=challenge.purpose.value,
        outcome=token.death.value,
    )


def _send(signal: NamedSignal, **values: str | None) -> None:
    """What a receiver raises is logged and changes nothing."""
    app = current_app._get_current_object()  # type: ignore[attr-defined]  # noqa: SLF001
    for receiver in signal.receivers_for(app):
        try:
            receiver(app, **values)
        except Exception:
            logger.exception(
                "a receiver of %s failed", signal.name, extra={"action": "signal_failed"}
            )


def _binding(challenge: Challenge, form: str) -> str:
    return guard.binding(challenge.purpose.value, form)


def asked_for(address: str) -> Asked:
    """What a request of this client for a mail to ``address`` is."""
    return Asked(
        address=address,
        locale=language.of_request(),
        requester_key=flow.requester_key(current_state().flows, peer.requester()),
        public_url=guard.stored_public_url(),
        delay=guard.unseen_delay(),
    )


def _too_many(state: CourierState) -> Refused:
    longest = max(limit.seconds for limit in state.config.requester_limit)
    return guard.too_many_requests(longest)


def token_in(link: str) -> Secret:
    """The token at the end of a pasted link."""
    return Secret(unquote(link).rstrip(LINK_TAIL).rpartition("/")[2])


def _redeem_text(
    state: CourierState, challenge: Challenge, address: str, text: str
) -> Secret | None:
    """The token behind what was typed: the end of a pasted link, or what a right code stands for.

    A slot is taken whatever was typed, and committed before anything is compared.
    """
    room = transact(
        state, lambda session: codes.take_code_slot(session, challenge, state.flows, address)
    )
    if "/" in unquote(text):
        return token_in(text)
    # A keyboard's digits may be Arabic or of full width; what stands between them is no part of it.
    code = Secret("".join(str(unicodedata.decimal(one, "")) for one in text))
    row = transact(
        state,
        lambda session: codes.find(session, challenge, state.flows, address=address, code=code),
    )
    if row is None or not room:
        return None
    return transact(
        state, lambda session: codes.issue(session, challenge, state.flows, row, address)
    )
