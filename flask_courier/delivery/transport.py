"""What carries a parcel out, and the one transport that carries it nowhere."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

from flask_courier.core.clock import utc_now
from flask_courier.core.messages import Parcel, SendResult
from flask_courier.core.replies import Outcome, Phase


async def at_once() -> None:
    """Nothing has to be waited for."""


def none_follows() -> None:
    """Nothing is known of the next parcel."""


class Transport(Protocol):
    """Reports what happened; writes no row, never sleeps, never retries a message."""

    #: Whether the mail stays on this machine, where its live link may be shown.
    keeps_mail: bool

    #: What its rows are called; tells two URIs of one host apart and shows no credentials.
    name: str

    async def send(
        self,
        parcel: Parcel,
        *,
        is_held: Callable[[], bool],
        ready: Callable[[], Awaitable[None]] = at_once,
        follow: Callable[[], Parcel | None] = none_follows,
    ) -> SendResult:
        """One delivery attempt.

        :param follow: asked at the last moment for the parcel that is sent next, so that it may be
            announced; it is then either sent or taken back with :meth:`withdraw`.
        :param ready: awaited before that, when nothing but the final dot is missing.
        :param is_held: whether the lease on the message still lasts; asked before the final dot,
            after which nothing can be taken back (RFC 5321 section 4.1.1.4).
        """
        ...

    def withdraw(self, parcel: Parcel) -> None:
        """What ``follow`` answered is not sent after all, or not here."""
        ...

    async def close(self) -> None:
        """Let go of every connection, politely."""
        ...


class LogTransport:
    """``log:`` — the delivery log is the destination. Only debug and testing may use it."""

    keeps_mail = True
    name = "log:"

    async def send(
        self,
        parcel: Parcel,  # noqa: ARG002 - the log has it already
        *,
        is_held: Callable[[], bool],  # noqa: ARG002 - nothing leaves
        ready: Callable[[], Awaitable[None]] = at_once,
        follow: Callable[[], Parcel | None] = none_follows,  # noqa: ARG002 - the same
    ) -> SendResult:
        """Accept the mail; nothing leaves."""
        begun = time.monotonic()
        await ready()
        return SendResult(
            outcome=Outcome.ACCEPTED,
            phase=Phase.DOT,
            transport=self.name,
            started_at=utc_now(),
            duration=timedelta(seconds=time.monotonic() - begun),
            text="kept in the delivery log; nothing left this machine",
            cause="accepted",
        )

    def withdraw(self, parcel: Parcel) -> None:
        """Nothing is announced."""

    async def close(self) -> None:
        """Nothing is open."""
