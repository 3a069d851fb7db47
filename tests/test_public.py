"""The public names: adding or losing one is a decision, and shows here."""

from __future__ import annotations

from types import ModuleType

import pytest

import flask_courier
import flask_courier.testing


def test_public_names() -> None:
    """``flask_courier`` exports these names."""
    assert [
        "AccountState",
        "AccountStore",
        "AddressError",
        "AddressTaken",
        "ChangesAddresses",
        "ConfigError",
        "ContextError",
        "Courier",
        "CourierError",
        "DropsCredentials",
        "MaskTokens",
        "RecordedMessage",
        "RenderError",
        "SQLAlchemyAccounts",
        "SetupError",
        "SmtpUriError",
        "Status",
        "StatusError",
        "account_disowned",
        "email_change_undone",
        "email_changed",
        "invitation_completed",
        "link_refused",
        "recovery_completed",
        "signed_in",
        "verification_completed",
    ] == flask_courier.__all__


def test_public_names_for_tests() -> None:
    """``flask_courier.testing`` exports these names."""
    assert [
        "DROP",
        "GARBAGE",
        "HOLD",
        "RESET",
        "VERBS",
        "Connection",
        "Event",
        "Fault",
        "FaultServer",
        "Login",
        "Outbox",
        "ReceivedMessage",
        "Rule",
        "form_data",
    ] == flask_courier.testing.__all__


@pytest.mark.parametrize("module", [flask_courier, flask_courier.testing])
def test_every_public_name_is_there(module: ModuleType) -> None:
    """Every name that is exported exists and, unless it is a signal, is documented."""
    for name in module.__all__:
        assert getattr(module, name).__doc__, name


@pytest.mark.parametrize("module", [flask_courier, flask_courier.testing])
def test_unknown_name(module: ModuleType) -> None:
    """A name that is not public is an AttributeError, as in any module."""
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        module.nothing  # noqa: B018 - asking is the point
