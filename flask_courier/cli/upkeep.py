"""``flask courier purge`` and ``flask courier stats``."""

from __future__ import annotations

from datetime import timedelta

import click

from flask_courier.cli import output
from flask_courier.cli.group import EXIT_CODES
from flask_courier.core.clock import utc_now
from flask_courier.state import current_state
from flask_courier.storage import retention, statistics
from flask_courier.storage.statistics import Statistics

_DAY = timedelta(days=1)


@click.command("purge", epilog=EXIT_CODES)
@click.option(
    "--older-than",
    "days",
    type=click.IntRange(min=1, max=36_500),
    metavar="DAYS",
    help="Instead of COURIER_RETENTION; contents go then too, if not before.",
)
@output.json_option("Print the counts as JSON.")
def purge(*, days: int | None, as_json: bool) -> None:
    """Delete finished messages, and the contents of others, that are older than they are kept.

    A worker does the same by itself, a batch at a time. What waits is never deleted, nor a message
    whose link still works.
    """
    state, now = current_state(), utc_now()
    kept = state.config.retention if days is None else days * _DAY
    counts = {"contents": 0, "messages": 0}
    while True:
        batch = retention.purge(
            state.database,
            now=now,
            contents=min(state.config.content_retention, kept),
            messages=kept,
            counters=state.config.longest_window,
        )
        if not (batch.contents or batch.messages):
            break
        counts["contents"] += batch.contents
        counts["messages"] += batch.messages
    if as_json:
        output.echo_json(counts)
    else:
        click.echo(f"{counts['messages']} messages and {counts['contents']} contents deleted")


@click.command("stats", epilog=EXIT_CODES)
@output.json_option("Print a JSON object; spans are in seconds.")
def stats(*, as_json: bool) -> None:
    """Count messages by status, and tell what waits, who works and how attempts end."""
    figures: Statistics = current_state().database.transact(statistics.read)
    if as_json:
        output.echo_json(figures)
    else:
        click.echo("\n".join(_lines(figures)))


def _lines(figures: Statistics) -> list[str]:
    lanes = ", ".join(f"{count} {lane.name.lower()}" for lane, count in figures.waiting.items())
    lines = [
        output.table(
            ("status", "messages"),
            [(status.value, str(count)) for status, count in figures.messages.items()],
        ),
        "",
        f"waiting: {lanes}; the oldest due one for {output.span(figures.oldest_due)}",
        "",
        output.table(
            ("attempts", "last hour", "last day"),
            [
                (outcome.value, str(count), str(figures.last_day[outcome]))
                for outcome, count in figures.last_hour.items()
            ],
        ),
    ]
    for row in figures.transports:
        state = f"{row.breaker}: {row.reason}" if row.reason else row.breaker
        lines += ["", output.safe(f"transport {row.name}: {state}")]
        if row.is_open and row.next_probe_at is not None:
            lines.append(f"  next probe at {output.moment(row.next_probe_at)} UTC")
        if row.last_ok_at is not None:
            lines.append(f"  last mail accepted at {output.moment(row.last_ok_at)} UTC")
    lines.append("")
    lines += [
        output.safe(f"worker {worker.name} ({worker.kind}), seen {output.span(worker.silent)} ago")
        for worker in figures.workers
    ] or ["no worker was seen in the last hour"]
    return lines
