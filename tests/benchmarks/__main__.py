"""``python -m tests.benchmarks``: measure, print, end with 0 unless something breaks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import click

from tests.benchmarks import (
    claims,
    composing,
    latency,
    listing,
    memory,
    request,
    roundtrip,
    throughput,
)
from tests.benchmarks.figures import Figure, Settings, show_table
from tests.benchmarks.processes import BrokenError
from tests.benchmarks.stage import MYSQL, POSTGRESQL, SQLITE, answering

Benchmark = Callable[[Settings], list[Figure]]

BENCHMARKS: dict[str, Benchmark] = {
    "throughput": throughput.run,
    "roundtrip": roundtrip.run,
    "latency": latency.run,
    "composing": composing.run,
    "request": request.run,
    "claims": claims.run,
    "listing": listing.run,
    "memory": memory.run,
    "profile": throughput.profile,
}
#: Left out unless it is asked for: it compares nothing.
_PROFILE = "profile"
#: What is measured on MariaDB, too.
_REQUEST = "request"
#: Messages a round of the throughput.
_MESSAGES = 2000
_QUICK_MESSAGES = 300


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*BENCHMARKS]))
@click.option("--quick", is_flag=True, help="Short rounds: minutes less, and less steady figures.")
@click.option("--rounds", default=5, show_default=True, help="Rounds of each comparison.")
@click.option("--messages", type=int, help=f"Messages a round; {_MESSAGES} unless told.")
@click.option("--profile", is_flag=True, help="Print where the time of a drain goes, too.")
@click.option(
    "--database",
    "databases",
    multiple=True,
    type=click.Choice([SQLITE, POSTGRESQL, MYSQL]),
    help=f"Only on this one; may be given again. On {MYSQL}, {_REQUEST} alone is measured.",
)
def main(
    names: tuple[str, ...],
    *,
    quick: bool,
    rounds: int,
    messages: int | None,
    profile: bool,
    databases: tuple[str, ...],
) -> None:
    """Measure NAMES, or everything: ours and peers side by side, as ratios of medians."""
    count = messages or (_QUICK_MESSAGES if quick else _MESSAGES)
    settings = Settings(
        rounds=rounds,
        messages=count,
        quick=quick,
        databases=answering(databases or (SQLITE, POSTGRESQL, MYSQL)),
    )
    chosen = list(names) or [name for name in BENCHMARKS if name != _PROFILE]
    if profile and _PROFILE not in chosen:
        chosen.append(_PROFILE)
    usual = tuple(kind for kind in settings.databases if kind != MYSQL)
    figures: list[Figure] = []
    began = time.monotonic()
    for name in chosen:
        click.echo(f"{name}")
        try:
            here = settings if name == _REQUEST else replace(settings, databases=usual)
            figures += BENCHMARKS[name](here)
        except BrokenError as error:
            raise click.ClickException(f"{name} broke: {error}") from error
    show_table(figures)
    click.echo(f"\n{time.monotonic() - began:.0f} s in all")


if __name__ == "__main__":
    main()
