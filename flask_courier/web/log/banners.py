"""What whoever opens the delivery log should know first: why mail does not flow, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flask_courier.core.causes import CAUSES
from flask_courier.core.clock import utc_now
from flask_courier.core.search_states import LATE
from flask_courier.state import CourierState
from flask_courier.storage import health
from flask_courier.storage.health import Flow
from flask_courier.storage.transports import TransportRow
from flask_courier.web import peer, wording
from flask_courier.web.log import access

#: A worker that was not seen for this long is gone; mail that has waited for it is late.
WORKER_SILENCE = LATE

_PROXY = (
    "A proxy forwards these requests and Flask was not told of it: the limit on requests "
    "per client is off. Wrap the application in werkzeug's ProxyFix."
)
_NO_WORKER = (
    "Mail is waiting and no worker is at work. Run 'flask courier worker', or set "
    "COURIER_WORKER to 'thread'."
)
_QUICKSTART = (
    "Quickstart: nothing leaves this machine, every address that asks becomes an account, "
    "and links are shown here. Only debug mode does that."
)


@dataclass(frozen=True)
class Banner:
    """One thing to know."""

    words: str
    #: What the SMTP server said, or the system.
    quote: str | None = None
    advice: str | None = None
    #: When a mail tries the SMTP server again; None for the next mail, or where it is not asked.
    next_try: datetime | None = None


def banners(state: CourierState, session: Any) -> list[Banner]:
    """What there is to know, the worst first; one statement."""
    return of_flow(state, health.flow(session, state.transport))


def of_flow(state: CourierState, flow: Flow) -> list[Banner]:
    """The same of what was read already."""
    found: list[Banner] = []
    row = flow.transport
    if row is not None and row.is_open:
        found.append(_open_breaker(row))
    silent = flow.silence is None or flow.silence > WORKER_SILENCE
    if silent and flow.oldest_due > WORKER_SILENCE:
        found.append(Banner(_NO_WORKER))
    if peer.is_forwarded() and peer.requester() is None:
        found.append(Banner(_PROXY))
    if state.quickstart:
        found.append(Banner(_QUICKSTART))
    return access.shown(found)


def _open_breaker(row: TransportRow) -> Banner:
    cause = CAUSES.get(row.cause or "")
    due = row.next_probe_at
    return Banner(
        f"Mail waits, and nothing is lost: {wording.server(row.name)} cannot be used now. "
        f"{row.reason or ''}",
        quote=row.last_error,
        advice=None if cause is None else cause.advice,
        next_try=due if due is not None and due > utc_now() else None,
    )
