"""The pytest plugin: ``courier_outbox`` and ``smtp_server``.

pytest loads it wherever the package is installed, so it imports nothing before a test asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

import pytest

if TYPE_CHECKING:
    from flask_courier.testing.outbox import Outbox
    from flask_courier.testing.server import FaultServer

_NO_APP = (
    "courier_outbox needs a fixture named 'app' that answers your Flask application; write one in "
    "your conftest.py"
)


@pytest.fixture
def courier_outbox(request: pytest.FixtureRequest) -> Iterator[Outbox]:
    """The mails of the ``app`` fixture's application; looking at it delivers what is due."""
    from flask_courier.extension import Courier  # noqa: PLC0415 - only for those who ask
    from flask_courier.testing.outbox import Outbox  # noqa: PLC0415

    try:
        app = request.getfixturevalue("app")
    except pytest.FixtureLookupError as error:
        if error.argname != "app":
            raise
        pytest.fail(_NO_APP, pytrace=False)
    # It holds no application: everything it does here is told which one.
    courier = Courier()
    with courier.record_messages(app) as recorded:
        yield Outbox(lambda: courier.deliver_pending(app), recorded)


@pytest.fixture
def smtp_server() -> Iterator[FaultServer]:
    """A ``FaultServer`` that wants a login, and STARTTLS if trustme is installed.

    Its ``config`` is what an application needs to deliver there::

        @pytest.fixture
        def app(smtp_server):
            return create_app(TESTING=True, **smtp_server.config)
    """
    from flask_courier.testing.server import FaultServer  # noqa: PLC0415 - only for those who ask

    security: Literal["starttls", "none"] = "starttls" if find_spec("trustme") else "none"
    with FaultServer(security=security, login=("mailer@acme.example", "s3cret")) as server:
        yield server
