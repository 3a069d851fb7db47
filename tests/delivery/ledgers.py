"""The database side of a worker, without its loop."""

from __future__ import annotations

from typing import Any

from flask_courier.core.messages import Claim, SendResult
from flask_courier.core.replies import Outcome, Phase
from flask_courier.delivery.breaker import Delivery
from flask_courier.delivery.ledger import Ledger
from flask_courier.state import state_of
from flask_courier.storage import transports
from tests.queue_rows import result
from tests.site import Site

TRANSPORT = "smtp://mail.example:587"


def make_ledger(site: Site) -> Ledger:
    """A worker's side of the site's tables; its mail leaves this machine."""
    parts = state_of(site.app).worker_parts("test")
    return Ledger(
        worker="w1",
        worker_kind="test",
        database=parts.database,
        preparer=parts.preparer,
        transport=TRANSPORT,
        keeps_mail=False,
    )


def delivery(claim: Claim, ended: SendResult | None = None, **options: Any) -> Delivery:
    """An attempt that has ended, accepted if nothing else is said."""
    return Delivery(claim, ended or result(), **({"carries_token": False} | options))


def dropped() -> SendResult:
    """A connection that ended while the body was on its way."""
    return result(
        Outcome.DEFERRED,
        phase=Phase.DATA,
        code=None,
        text="the connection was closed",
        cause="dropped",
        suspect=Outcome.TRANSPORT_FAULT,
    )


def is_open(ledger: Ledger) -> bool:
    """Whether the transport's breaker is open."""
    found = ledger.database.transact(lambda session: transports.read(session, TRANSPORT))
    return found is not None and found.is_open
