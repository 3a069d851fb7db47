"""What a worker's memory grows by over many messages."""

from __future__ import annotations

import click

from tests.benchmarks.figures import Figure, Settings
from tests.benchmarks.processes import resident_bytes
from tests.benchmarks.stage import stage
from tests.benchmarks.throughput import worked

_MEGABYTE = 1_000_000
#: What was asked for is asked over so many messages.
_SCALE = 100_000
#: Batches before memory is looked at: caches fill, and the allocator has found its size.
_WARM_UP = 3


def run(settings: Settings) -> list[Figure]:
    """Warm a worker up, send on, and answer the growth; for 100,000 messages if not quick."""
    batches = 6 if settings.quick else 25
    with stage() as scene:
        config = scene.config("sqlite", COURIER_WORKER="external")
        ours = scene.ours(config, accounts=settings.messages, wal=True)
        worker = scene.worker(config)
        found: list[int | None] = []
        for _ in range(_WARM_UP + batches):
            worked(scene, ours, settings.messages)
            found.append(resident_bytes(worker.pid))
    before, after = found[_WARM_UP - 1], found[-1]
    if before is None or after is None:
        click.echo("  this system has no /proc, which is where memory is read")
        return []
    count = batches * settings.messages
    grown = (after - before) / _MEGABYTE
    click.echo(f"  {before / _MEGABYTE:.1f} MB, then {grown:+.2f} MB over {count:,} messages")
    if settings.quick:
        # A page more or less, times a hundred, is no figure.
        return [Figure("memory", f"worker, {count:,} messages", grown, "", "MB")]
    return [Figure("memory", "worker, 100,000 messages", grown / count * _SCALE, "<= 5", "MB")]
