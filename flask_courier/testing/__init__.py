"""For the tests of applications: an outbox, an SMTP server that fails on demand, and forms.

- ``courier_outbox``, a pytest fixture: an ``Outbox`` with the mails of your ``app`` fixture, links
  and codes in the clear. Looking at it delivers what is due.
- ``FaultServer``, and the pytest fixture ``smtp_server``: a real SMTP server on a loopback port,
  with TLS and AUTH, that follows a script of ``Fault`` after ``Fault``.
- ``form_data``: what a browser would send back from one of our pages.

The fixtures are there wherever flask_courier is installed; the rest is imported from here.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask_courier.testing.faults import DROP as DROP
    from flask_courier.testing.faults import GARBAGE as GARBAGE
    from flask_courier.testing.faults import HOLD as HOLD
    from flask_courier.testing.faults import RESET as RESET
    from flask_courier.testing.faults import VERBS as VERBS
    from flask_courier.testing.faults import Event as Event
    from flask_courier.testing.faults import Fault as Fault
    from flask_courier.testing.faults import Rule as Rule
    from flask_courier.testing.forms import form_data as form_data
    from flask_courier.testing.outbox import Outbox as Outbox
    from flask_courier.testing.records import Connection as Connection
    from flask_courier.testing.records import Login as Login
    from flask_courier.testing.records import ReceivedMessage as ReceivedMessage
    from flask_courier.testing.server import FaultServer as FaultServer

__all__ = [
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
]

_HOMES = {
    "faults": ("DROP", "GARBAGE", "HOLD", "RESET", "VERBS", "Event", "Fault", "Rule"),
    "forms": ("form_data",),
    "outbox": ("Outbox",),
    "records": ("Connection", "Login", "ReceivedMessage"),
    "server": ("FaultServer",),
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for.

    pytest imports this package at every start, for its plugin, also where nobody uses it.
    """
    for module, names in _HOMES.items():
        if name in names:
            value: object = getattr(import_module(f"{__name__}.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
