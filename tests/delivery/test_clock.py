"""The clock of leases."""

from __future__ import annotations

import time

import pytest

from flask_courier.delivery.clock import lease_clock


@pytest.mark.skipif(
    not hasattr(time, "CLOCK_BOOTTIME"), reason="not for systems without CLOCK_BOOTTIME"
)
def test_leases_go_on_while_the_machine_sleeps() -> None:
    """Leases are counted by the clock that includes the time in which the machine slept."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    found = lease_clock()
    assert before <= found <= time.clock_gettime(time.CLOCK_BOOTTIME)
