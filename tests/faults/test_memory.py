"""A worker's memory does not grow with the mail it has sent."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from flask_courier.testing import FaultServer
from tests.faults.workers import Crew, Hand, queue, settle, unfinished, write_ahead
from tests.site import Site

#: Messages of a batch, and batches before the first measurement: caches are full then, and the
#: allocator has found its size.
BATCH, WARM_UP = 2_500, 4
#: Seconds of sending between the first measurement and the last, and messages at the least.
PERIOD, AT_LEAST = 25.0, 10_000
#: Bytes over so many messages.
ALLOWED, OVER = 5 * 1024**2, 100_000


def memory(hand: Hand) -> int:
    """Bytes of memory that the process has for itself, and no file behind them."""
    status = Path(f"/proc/{hand.pid}/status").read_text("ascii")
    found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


def send(site: Site, sink: FaultServer, count: int) -> None:
    """Queue so many messages, wait until they are sent, and forget them."""
    queue(site, count)
    assert settle(lambda: not unfinished(site))
    sink.forget()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow(
    site: Site, crews: Callable[..., Crew], sink: FaultServer, database_url: str
) -> None:
    """It grows by less than 5 MB for 100,000 messages: so many as 25 seconds have, scaled up."""
    write_ahead(site)
    [hand] = crews(database_url, **sink.config).hire()
    for _ in range(WARM_UP):
        send(site, sink, BATCH)
    before, sent, end = memory(hand), 0, time.monotonic() + PERIOD
    while time.monotonic() < end or sent < AT_LEAST:
        send(site, sink, BATCH)
        sent += BATCH
    grown = memory(hand) - before
    assert grown / sent < ALLOWED / OVER, f"{grown} bytes over {sent} messages"
