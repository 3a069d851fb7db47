"""Account recovery and e-mail verification for Flask, with a queue and a log of every delivery.

A message's journey: a request queues it in the application's own database, in the caller's
transaction. A worker claims it, looks the account up, mints a token, renders the mail and stores it
with a placeholder; then it puts the token in, hands the mail to the SMTP server and records what
came of it. The delivery log shows that record to the people who are asked why a mail never came.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_courier.core.accounts import AccountState as AccountState
    from flask_courier.core.accounts import AccountStore as AccountStore
    from flask_courier.core.accounts import ChangesAddresses as ChangesAddresses
    from flask_courier.core.accounts import DropsCredentials as DropsCredentials
    from flask_courier.core.errors import AddressError as AddressError
    from flask_courier.core.errors import AddressTaken as AddressTaken
    from flask_courier.core.errors import ConfigError as ConfigError
    from flask_courier.core.errors import ContextError as ContextError
    from flask_courier.core.errors import CourierError as CourierError
    from flask_courier.core.errors import RenderError as RenderError
    from flask_courier.core.errors import SetupError as SetupError
    from flask_courier.core.errors import SmtpUriError as SmtpUriError
    from flask_courier.core.errors import StatusError as StatusError
    from flask_courier.core.messages import RecordedMessage as RecordedMessage
    from flask_courier.core.status import Status as Status
    from flask_courier.extension import Courier as Courier
    from flask_courier.signals import account_disowned as account_disowned
    from flask_courier.signals import email_change_undone as email_change_undone
    from flask_courier.signals import email_changed as email_changed
    from flask_courier.signals import invitation_completed as invitation_completed
    from flask_courier.signals import link_refused as link_refused
    from flask_courier.signals import recovery_completed as recovery_completed
    from flask_courier.signals import signed_in as signed_in
    from flask_courier.signals import verification_completed as verification_completed
    from flask_courier.storage.accounts import SQLAlchemyAccounts as SQLAlchemyAccounts
    from flask_courier.web.masking import MaskTokens as MaskTokens

__all__ = [
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
]

_HOMES = {
    "core.accounts": ("AccountState", "AccountStore", "ChangesAddresses", "DropsCredentials"),
    "core.errors": (
        "AddressError",
        "AddressTaken",
        "ConfigError",
        "ContextError",
        "CourierError",
        "RenderError",
        "SetupError",
        "SmtpUriError",
        "StatusError",
    ),
    "core.messages": ("RecordedMessage",),
    "core.status": ("Status",),
    "extension": ("Courier",),
    "signals": (
        "account_disowned",
        "email_change_undone",
        "email_changed",
        "invitation_completed",
        "link_refused",
        "recovery_completed",
        "signed_in",
        "verification_completed",
    ),
    "storage.accounts": ("SQLAlchemyAccounts",),
    "web.masking": ("MaskTokens",),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for.

    pytest imports this package at every start, for the plugin in ``flask_courier.testing``, and
    must not pay for Flask and SQLAlchemy where nobody uses it.
    """
    for module, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
