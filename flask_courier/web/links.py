"""The link in the mail: to the clean page while it lives, and to help once it is dead."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from flask import Response, jsonify, request, url_for

from flask_courier.core.tokens import Secret
from flask_courier.flows import redemption
from flask_courier.flows import renewal as flow
from flask_courier.flows.challenge import Challenge
from flask_courier.flows.challenges import BY_PURPOSE
from flask_courier.flows.redemption import DeadToken, Death
from flask_courier.signals import link_refused
from flask_courier.state import current_state
from flask_courier.web import challenge as shared
from flask_courier.web import guard
from flask_courier.web.forms import ConfirmForm, LinkForm, bind
from flask_courier.web.guard import Refused
from flask_courier.web.language import gettext as _
from flask_courier.web.presented import (
    NO_TOKEN,
    Presented,
    present,
    presented_by_client,
    remember,
    transact,
)


def follow(challenge: Challenge, text: str) -> Response:
    """GET of the link in the mail: never changes an account, whoever fetches it."""
    secret = Secret(text.rstrip(shared.LINK_TAIL))
    presented = present(challenge, secret, in_form=False)
    if not isinstance(presented, Presented):
        return dead(challenge, presented, secret)
    state, token = current_state(), presented.token
    transact(state, lambda session: redemption.mark_opened(session, token))
    if guard.wants_json():
        return jsonify(status="open", address=token.masked_address)
    answer = guard.see_other(shared.pages(challenge).final)
    remember(answer, challenge, presented.secret)
    answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def again(challenge: Challenge) -> Response:
    """POST of a dead link's page: a new mail to the same account, whose address nobody is shown.

    GET, as from an address bar, leads to where a mail is asked for.
    """
    if request.method != "POST":
        return guard.see_other(url_for(f"courier.{challenge.purpose.value}"))
    form = bind(ConfirmForm, _binding(challenge))
    if not form.validate():
        return shared.foreign_form()
    secret = Secret(form.token.data or "")
    state = current_state()
    found = transact(state, lambda session: flow.find(session, challenge, state.flows, secret))
    if found is None:
        return dead(challenge, DeadToken(Death.FORGED), secret)
    shared.request_mail(challenge, found.asked(shared.asked_for(found.recipient)))
    if challenge.has_code or guard.wants_json():
        return shared.accepted(challenge)
    return shared.page(challenge, "sent.html")


def dead(challenge: Challenge, token: DeadToken, secret: Secret | None = None) -> Response:
    """Why the link does not work and what to do; whoever has a forged one learns nothing.

    :param secret: the token, where its page offers a new mail for it.
    """
    if token.fulfilled:
        return _already_verified(challenge)
    shared.announce_refusal(link_refused, challenge, token)
    refused = _refusals(token)
    if guard.wants_json():
        return guard.refuse(refused)
    renewable = challenge.renewable and secret is not None and token.account_ref is not None
    form = None
    if renewable and secret is not None:
        context = _binding(challenge)
        form = ConfirmForm(None, meta={"csrf_context": context}, data={"token": secret.value})
    answer = shared.page(
        challenge,
        "dead_link.html",
        title=refused.title,
        detail=refused.detail,
        form=form,
        right_url=_right_url(token, secret),
        recovery_url=url_for("courier.recovery"),
    )
    answer.status_code = int(refused.status)
    if secret is not None:
        # Its address or its form holds the token; with this policy a browser names no origin with
        # the form either: see the guard.
        answer.headers["Referrer-Policy"] = "no-referrer"
    return answer


def dead_in_hand(challenge: Challenge, token: DeadToken) -> Response:
    """The same for a token that came with a form or in a cookie."""
    secret: str | None = None
    if request.method == "POST" and not request.is_json:
        secret = request.form.get("token")
    return dead(challenge, token, Secret(secret) if secret else None)


def in_hand(
    challenge: Challenge, first_form: Callable[[Challenge, Presented], Response]
) -> Presented | Response:
    """The open token that the client came with, or the answer to one that is dead, or to none.

    :param first_form: answers a browser that came with a pasted link.
    """
    presented = presented_by_client(challenge)
    if isinstance(presented, Presented):
        return presented
    if presented is NO_TOKEN and not guard.wants_json():
        return _paste(challenge, first_form)
    return dead_in_hand(challenge, presented)


def _paste(
    challenge: Challenge, first_form: Callable[[Challenge, Presented], Response]
) -> Response:
    """For a browser whose cookie has run out, or that keeps none: a field for the link."""
    posted = request.method == "POST" and "link" in request.form
    form = bind(LinkForm, guard.binding(challenge.purpose.value, "link"))
    if not posted or not form.validate():
        if not posted:
            form.link.data = None
        answer = shared.page(challenge, "paste.html", form=form)
        answer.status_code = int(HTTPStatus.UNPROCESSABLE_ENTITY if posted else HTTPStatus.GONE)
        return answer
    secret = shared.token_in(str(form.link.data))
    presented = present(challenge, secret, in_form=True)
    if isinstance(presented, DeadToken):
        return dead(challenge, presented, secret)
    return first_form(challenge, presented)


def present_again(challenge: Challenge, presented: Presented) -> DeadToken:
    """Why the token is dead that was open a moment ago."""
    found = present(challenge, presented.secret, in_form=presented.in_form)
    if isinstance(found, DeadToken):
        return found
    return DeadToken(Death.CHANGED, presented.token.account_ref)


def _right_url(token: DeadToken, secret: Secret | None) -> str | None:
    """Where the link of an authentic token leads that came to the wrong page."""
    if token.purpose is None or secret is None:
        return None
    right = BY_PURPOSE[token.purpose]
    if not shared.is_served(right):
        return None
    return url_for(f"courier.{right.purpose.value}_link", token=secret.value)


def _already_verified(challenge: Challenge) -> Response:
    if guard.wants_json():
        return jsonify(status="already_verified")
    return shared.page(
        challenge, "done.html", next_url=current_state().config.after_verification_url
    )


def _binding(challenge: Challenge) -> str:
    return guard.binding(challenge.purpose.value, "again")


def _refusals(token: DeadToken) -> Refused:
    """The words for each way a link can be dead."""
    titles = {
        Death.FORGED: _("This link no longer works"),
        Death.WRONG_PURPOSE: _("This link is for another page"),
        Death.EXPIRED: _("This link has run out"),
        Death.USED: _("This link has been used"),
        Death.REPLACED: _("A newer link took this one's place"),
        Death.DISOWNED: _("This link was taken back"),
        Death.CHANGED: _("The account has changed since this mail"),
    }
    details = {
        Death.FORGED: _(
            "It may have been used, replaced by a newer one, or run out. Ask for a new mail."
        ),
        Death.WRONG_PURPOSE: _("It was made for something else. Open it where it belongs."),
        Death.EXPIRED: _("Links work for a limited time only."),
        Death.USED: _("Each link works once."),
        Death.REPLACED: _(
            "What it was for was done with another link, or a newer mail was sent. Look for the "
            "newest mail."
        ),
        Death.DISOWNED: _("Somebody who reads mail at this address said: this was not me."),
        Death.CHANGED: _("Its address or its password is another one now."),
    }
    reasons = {Death.FORGED: "link_invalid"}
    death = token.death
    reason = reasons.get(death, f"link_{death.value}")
    return Refused(HTTPStatus.GONE, reason, titles[death], details[death])
