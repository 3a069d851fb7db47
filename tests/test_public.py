"""The public names: adding or losing one is a decision, and shows here."""

from __future__ import annotations

import flask_courier
import flask_courier.testing


def test_public_names() -> None:
    """``flask_courier`` exports these names."""
    assert [
        "AccountState",
        "AccountStore",
        "AddressError",
        "ConfigError",
        "ContextError",
        "Courier",
        "CourierError",
        "RecordedMessage",
        "RenderError",
        "SQLAlchemyAccounts",
        "SetupError",
        "SmtpUriError",
        "Status",
        "StatusError",
        "recovery_completed",
        "verification_completed",
    ] == flask_courier.__all__


def test_public_names_for_tests() -> None:
    """``flask_courier.testing`` exports these names."""
    assert ["form_data"] == flask_courier.testing.__all__


def test_every_public_name_is_there() -> None:
    """Every name that is exported exists and, unless it is a signal, is documented."""
    for name in flask_courier.__all__:
        assert getattr(flask_courier, name).__doc__, name
