"""``flask courier worker``."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

import click

from flask_courier.cli import output
from flask_courier.cli.display import Display, DisplayHandler
from flask_courier.cli.group import EXIT_CODES
from flask_courier.cli.logs import JsonFormatter, KeyValueFormatter, unless_configured
from flask_courier.core.status import Status
from flask_courier.delivery import runner
from flask_courier.state import CourierState, current_state
from flask_courier.storage import statistics

_GREETING = "flask_courier worker: delivering; stop with Ctrl-C."


@click.command("worker", epilog=EXIT_CODES)
@click.option("--once", is_flag=True, help="Deliver what is due now, and end.")
@output.json_option("Print the counts at the end as JSON; log lines become JSON too.")
def worker(*, once: bool, as_json: bool) -> None:
    """Deliver mail until SIGTERM or Ctrl-C; mail that is on the wire is finished first.

    Ends with 0 whatever came of the mail: the counts tell. Run as many as you like: two workers
    never take the same message. A database that is away when it starts ends it with 3; later it
    waits for the database.
    """
    state = current_state()
    # Asked before anything is begun: a worker without tables would say so once a second, for ever.
    state.database.transact(statistics.due)
    if once:
        with unless_configured(_handler(as_json=as_json)):
            outcomes = runner.drain(state.worker_parts("once"))
        _tell(outcomes, as_json=as_json)
        return
    click.echo(_GREETING, err=True)
    begun = time.monotonic()
    served = _serve(state, as_json=as_json)
    lasted = output.span(timedelta(seconds=time.monotonic() - begun))
    click.echo(f"flask_courier worker: stopped after {lasted}; {_counts(served)}", err=True)
    if as_json:
        output.echo_json(_document(served))


def _serve(state: CourierState, *, as_json: bool) -> Mapping[Status, int]:
    parts = state.worker_parts("external")
    if not sys.stderr.isatty():
        with unless_configured(_handler(as_json=as_json)):
            return runner.serve(parts)
    with _displayed() as display:
        handler = DisplayHandler(display)
        handler.setFormatter(JsonFormatter() if as_json else KeyValueFormatter())
        with unless_configured(handler):
            return runner.serve(parts, on_tick=display.update)


@contextmanager
def _displayed() -> Iterator[Display]:
    display = Display(sys.stderr)
    display.start()
    try:
        yield display
    finally:
        display.stop()


def _handler(*, as_json: bool) -> logging.Handler:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else KeyValueFormatter())
    return handler


def _tell(outcomes: Mapping[Status, int], *, as_json: bool) -> None:
    if as_json:
        output.echo_json(_document(outcomes))
    else:
        click.echo(_counts(outcomes))


def _counts(outcomes: Mapping[Status, int]) -> str:
    told = (f"{count} {status}" for status, count in sorted(outcomes.items()) if count)
    return ", ".join(told) or "nothing was due"


def _document(outcomes: Mapping[Status, int]) -> dict[str, int]:
    return {status.value: count for status, count in sorted(outcomes.items()) if count}
