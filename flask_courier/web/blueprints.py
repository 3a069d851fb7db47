"""The two blueprints: account pages, open to everybody, and the delivery log, closed by default."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, url_for
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, TooManyRequests

from flask_courier.core.actions import Action
from flask_courier.core.config import CourierConfig
from flask_courier.flows.challenge import Challenge
from flask_courier.flows.challenges import BY_PURPOSE
from flask_courier.flows.email_change import EMAIL_CHANGE
from flask_courier.flows.sign_in import SIGN_IN
from flask_courier.state import current_state
from flask_courier.web import address, confirmation, guard, links, recovery, wording
from flask_courier.web import challenge as shared
from flask_courier.web.log import (
    access,
    actions,
    bulk,
    content,
    export,
    foreign,
    health,
    listing,
    message,
)
from flask_courier.web.mounting import MountedBlueprint


def account_blueprint(config: CourierConfig, host: dict[str, Any]) -> Blueprint:
    """The flows, and the style sheet of both blueprints.

    :param host: as ``mounting.host_options`` answered it.
    """
    blueprint = MountedBlueprint(
        "courier",
        host=host,
        url_prefix=config.account_url_prefix,
        template_folder="templates",
        static_folder="static",
    )
    blueprint.before_request(guard.before_request)
    blueprint.after_request(guard.after_request)
    blueprint.register_error_handler(guard.Refused, guard.refuse)
    blueprint.register_error_handler(RequestEntityTooLarge, guard.refuse_body)
    blueprint.register_error_handler(BadRequest, guard.refuse_body)
    blueprint.register_error_handler(TooManyRequests, guard.refuse_rate)
    for challenge in BY_PURPOSE.values():
        if challenge is not SIGN_IN or config.sign_in:
            _add_flow(blueprint, challenge)
    return blueprint


def _add_flow(blueprint: Blueprint, challenge: Challenge) -> None:
    """The pages of one flow; its name in endpoints is its purpose."""
    name, path, both = challenge.purpose.value, f"/{challenge.path}", ["GET", "POST"]
    complete = recovery.password if challenge.final == "password" else confirmation.confirm
    first_form = recovery.first_form if challenge.final == "password" else confirmation.first_form

    def ask() -> Response:
        return address.ask() if challenge is EMAIL_CHANGE else shared.ask(challenge)

    def code() -> Response:
        return shared.enter_code(challenge, lambda presented: first_form(challenge, presented))

    def link(token: str) -> Response:
        return links.follow(challenge, token)

    def again() -> Response:
        return links.again(challenge)

    def final() -> Response:
        return complete(challenge)

    def add(rule: str, endpoint: str, view: Callable[..., Response], methods: list[str]) -> None:
        blueprint.add_url_rule(path + rule, name + endpoint, view, methods=methods)

    if challenge.has_code:
        add("", "", ask, both)
        add("/code", "_code", code, both)
    if challenge.renewable:
        add("/again", "_again", again, both if challenge.has_code else ["POST"])
    add("/<token>", "_link", link, ["GET"])
    add(f"/{challenge.final}", f"_{challenge.final}", final, both)


def change_password() -> Response:
    """``/.well-known/change-password``: where password managers send people (W3C)."""
    url = current_state().config.change_password_url
    return guard.see_other(url or url_for("courier.recovery"))


def log_blueprint(config: CourierConfig, host: dict[str, Any]) -> Blueprint:
    """The delivery log; ``host`` as for the account pages."""
    blueprint = MountedBlueprint(
        "courier_log",
        host=host,
        url_prefix=config.log_url_prefix,
        template_folder="templates",
    )
    blueprint.before_app_request(access.before_request)
    blueprint.after_request(access.after_request)
    blueprint.register_error_handler(guard.Refused, guard.refuse)
    blueprint.register_error_handler(RequestEntityTooLarge, guard.refuse_body)
    blueprint.register_error_handler(BadRequest, guard.refuse_body)
    blueprint.add_app_template_filter(wording.span, "courier_span")
    blueprint.add_app_template_filter(wording.relative, "courier_time")
    blueprint.add_app_template_filter(wording.exact, "courier_exact")
    blueprint.add_app_template_filter(foreign.shown, "courier_foreign")
    blueprint.add_app_template_filter(foreign.shown_lines, "courier_foreign_lines")
    blueprint.add_app_template_filter(foreign.seen, "courier_seen")
    blueprint.add_url_rule("/", "messages", listing.messages)
    for form in ("csv", "jsonl"):
        blueprint.add_url_rule(f"/export.{form}", "export", export.export, defaults={"form": form})
    blueprint.add_url_rule("/health", "health", health.health)
    blueprint.add_url_rule("/check", "check", health.check, methods=["POST"])
    blueprint.add_url_rule("/test", "test", health.test, methods=["POST"])
    _add_messages(blueprint)
    return blueprint


def _add_messages(blueprint: Blueprint) -> None:
    """One message, and what is done with one or many."""
    blueprint.add_url_rule("/messages/<uuid:message_id>", "message", message.message)

    def preview(message_id: uuid.UUID) -> Response:
        return content.preview(message_id)

    # One for each application: Talisman writes its defaults into what it reads here.
    preview.talisman_view_options = {**content.TALISMAN_OPTIONS}  # type: ignore[attr-defined]
    blueprint.add_url_rule("/messages/<uuid:message_id>/preview", "preview", preview)
    blueprint.add_url_rule("/bulk", "bulk", bulk.choose)
    blueprint.add_url_rule("/bulk", "bulk_act", bulk.act, methods=["POST"])
    for action in Action:
        blueprint.add_url_rule(
            f"/messages/<uuid:message_id>/{action}",
            "act",
            actions.act,
            defaults={"action": action},
            methods=["POST"],
        )
