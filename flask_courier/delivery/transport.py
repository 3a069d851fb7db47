"""What carries a parcel out, and the one transport that carries it nowhere."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Protocol

from flask_courier.core.clock import utc_now
from flask_courier.core.messages import Parcel, SendResult
from flask_courier.core.replies import Outcome, Phase


class Transport(Protocol):
    """Reports what happened; writes no row, never sleeps, never retries a message."""

    #: Whether the mail stays on this machine, where its live link may be shown.
    keeps_mail: bool

    async def send(self, parcel: Parcel) -> SendResult:
        """One delivery attempt."""
        ...

    async def close(self) -> None:
        """Let go of every connection, politely."""
        ...


class LogTransport:
    """``log:`` — the delivery log is the destination. Only debug and testing may use it."""

    keeps_mail = True
    name = "log:"

    async def send(self, parcel: Parcel) -> SendResult:  # noqa: ARG002 - the log has it already
        """Accept the mail; nothing leaves."""
        begun = time.monotonic()
        return SendResult(
            outcome=Outcome.ACCEPTED,
            phase=Phase.DOT,
            transport=self.name,
            started_at=utc_now(),
            duration=timedelta(seconds=time.monotonic() - begun),
            text="kept in the delivery log; nothing left this machine",
        )

    async def close(self) -> None:
        """Nothing is open."""
