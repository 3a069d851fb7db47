"""The clock that leases are counted by."""

from __future__ import annotations

import time


def lease_clock() -> float:
    """Seconds since some moment, which go on while this machine sleeps, as a lease does.

    ``time.monotonic()`` stands still meanwhile on Linux: a laptop that wakes up would take a lease
    for its own that another worker has had for hours (clock_gettime(2), CLOCK_BOOTTIME).
    """
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()
