"""How long a password of the club has to be: as long as flask_courier wants it."""

from __future__ import annotations

from flask import current_app


def least_length() -> int:
    """COURIER_PASSWORD_MIN_LENGTH of the current application."""
    return int(current_app.config["COURIER_PASSWORD_MIN_LENGTH"])


def is_too_short(password: str) -> bool:
    """Whether flask_courier would refuse it for its length."""
    return len(password) < least_length()
