"""``flask courier …``: the command line."""

from __future__ import annotations

import json

import click
from flask.cli import AppGroup

from flask_courier.delivery import runner
from flask_courier.state import current_state

courier_commands = AppGroup("courier", help="Deliver mail that waits in the outbox.")


@courier_commands.command("worker")
@click.option("--once", is_flag=True, help="Deliver what is due now, and end.")
@click.option("--json", "as_json", is_flag=True, help="With --once: print the counts as JSON.")
def worker(*, once: bool, as_json: bool) -> None:
    """Deliver mail until SIGTERM or Ctrl-C; mail that is on the wire is finished first.

    Ends with 0. Run as many as you like: two workers never take the same message.
    """
    state = current_state()
    if not once:
        click.echo("flask_courier worker: delivering; stop with Ctrl-C.", err=True)
        runner.serve(state.worker_parts("external"))
        return
    outcomes = runner.drain(state.worker_parts("once"))
    counts = {str(status): count for status, count in outcomes.items()}
    if as_json:
        click.echo(json.dumps(counts, sort_keys=True))
    else:
        told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        click.echo(told or "nothing was due")
