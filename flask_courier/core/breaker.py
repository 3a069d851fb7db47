"""How long a transport that failed is left alone.

While its breaker is open nobody sends through a transport, except one probe at a time; what the
breaker waits for decides how often. A network comes back by itself within minutes; a wrong password
is wrong until somebody changes it, and every further login that fails brings a ban closer.
"""

from __future__ import annotations

from datetime import timedelta

from flask_courier.core.replies import Outcome

#: The first wait, which doubles with every fault in a row, and the longest.
_WAITS = {
    Outcome.TRANSPORT_FAULT: (timedelta(seconds=5), timedelta(minutes=5)),
    # A server that wants less mail than one message is as good as down.
    Outcome.THROTTLED: (timedelta(seconds=5), timedelta(minutes=5)),
    Outcome.OPERATOR_FAULT: (timedelta(minutes=1), timedelta(minutes=60)),
}
#: A server's own word counts for no longer than this: a mistaken "in 30 days" must not stop mail.
_HINT_CAP = timedelta(hours=1)
#: Doubling stops here, or a long outage would overflow.
_MAX_DOUBLINGS = 16


def wait_after(
    outcome: Outcome, faults: int, *, jitter: float, hint: timedelta | None = None
) -> timedelta:
    """How long an open breaker stays shut to everybody before the next probe.

    :param outcome: what the last message through the transport came to.
    :param faults: faults in a row, this one included.
    :param jitter: a number in [0, 1); 0.75 to 1.25 of the plain wait is used, so that the workers
        of many sites do not all knock at a server in the second that it is back.
    :param hint: the soonest that the server itself said trying again makes sense; up to an hour.
    :raises ValueError: if ``outcome`` says nothing of a transport.
    """
    if outcome not in _WAITS:
        raise ValueError(
            f"{outcome} says nothing of the transport, so no breaker opens for it; record it with"
            f" its message, and call this only for one of: {', '.join(_WAITS)}"
        )
    base, cap = _WAITS[outcome]
    plain = min(cap, base * (1 << min(max(faults - 1, 0), _MAX_DOUBLINGS)))
    wait = plain * (0.75 + jitter / 2)
    return wait if hint is None else max(wait, min(hint, _HINT_CAP))
