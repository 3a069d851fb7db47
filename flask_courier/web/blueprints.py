"""The two blueprints: account pages, open to everybody, and the delivery log, closed by default."""

from __future__ import annotations

from flask import Blueprint
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge

from flask_courier.core.config import CourierConfig
from flask_courier.web import guard, log, recovery, verification, wording


def account_blueprint(config: CourierConfig) -> Blueprint:
    """Recovery and verification, and the style sheet of both blueprints."""
    blueprint = Blueprint(
        "courier",
        "flask_courier",
        url_prefix=config.account_url_prefix,
        template_folder="templates",
        static_folder="static",
    )
    blueprint.before_request(guard.before_request)
    blueprint.after_request(guard.after_request)
    blueprint.register_error_handler(guard.Refused, guard.refuse)
    blueprint.register_error_handler(RequestEntityTooLarge, guard.refuse_body)
    blueprint.register_error_handler(BadRequest, guard.refuse_body)
    both = ["GET", "POST"]
    for name, flow in (("recovery", recovery), ("verification", verification)):
        blueprint.add_url_rule(f"/{name}", name, flow.ask, methods=both)
        blueprint.add_url_rule(f"/{name}/code", f"{name}_code", flow.code, methods=both)
        blueprint.add_url_rule(f"/{name}/<token>", f"{name}_link", flow.link)
    blueprint.add_url_rule(
        "/recovery/password", "recovery_password", recovery.password, methods=both
    )
    blueprint.add_url_rule(
        "/verification/confirm", "verification_confirm", verification.confirm, methods=both
    )
    return blueprint


def log_blueprint(config: CourierConfig) -> Blueprint:
    """The delivery log."""
    blueprint = Blueprint(
        "courier_log",
        "flask_courier",
        url_prefix=config.log_url_prefix,
        template_folder="templates",
    )
    blueprint.before_app_request(log.before_request)
    blueprint.after_request(log.after_request)
    blueprint.register_error_handler(guard.Refused, guard.refuse)
    blueprint.add_app_template_filter(wording.relative, "courier_time")
    blueprint.add_app_template_filter(wording.exact, "courier_exact")
    blueprint.add_url_rule("/", "messages", log.messages)
    blueprint.add_url_rule("/messages/<uuid:message_id>", "message", log.message)
    blueprint.add_url_rule("/messages/<uuid:message_id>/preview", "preview", log.preview)
    return blueprint
