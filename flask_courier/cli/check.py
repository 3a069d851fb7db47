"""``flask courier check``."""

from __future__ import annotations

import shutil
import textwrap
from collections import Counter

import click

from flask_courier.cli import output
from flask_courier.cli.group import DONE, NOT_POSSIBLE, UNREACHABLE
from flask_courier.core.steps import State, Step
from flask_courier.flows.samples import samples
from flask_courier.state import current_state

_COLOURS = {State.OK: "green", State.WARNING: "yellow", State.FAILED: "red"}
#: Columns that the state and the name take.
_STATE, _NAME = 9, 15
_WIDEST = 80
_NARROWEST = 48


@click.command("check")
@output.json_option("Print a JSON object.")
@click.pass_context
def check(ctx: click.Context, *, as_json: bool) -> None:
    """Say whether mail would go out, what is wrong, and what to do. Sends nothing.

    Ends with 0 if nothing failed, 1 if something did, 3 if the database is out of reach, and 4
    if the configuration cannot work.
    """
    # 100 ms for the DNS library, and every start of the application imports the commands.
    from flask_courier.delivery import check as checks  # noqa: PLC0415

    state = current_state()
    preparer, mails = state.worker_parts("check").preparer, samples(state.flows)
    subject = checks.Subject(state.config, state.database, state.transport, preparer, mails)
    steps = checks.steps(subject, _say_nothing if as_json else _say)
    failed = {step.name for step in steps if step.state is State.FAILED}
    if as_json:
        output.echo_json({"ok": not failed, "steps": steps})
    else:
        click.echo(_summary(steps))
    ctx.exit(UNREACHABLE if "database" in failed else NOT_POSSIBLE if failed else DONE)


def _say(step: Step) -> None:
    width = max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((_WIDEST, 0)).columns))
    margin = " " * (_STATE + _NAME)
    room = width - len(margin)
    first, *others = _wrapped(step.words, room)
    state = str(step.state)
    if step.state is State.FAILED:
        state = state.upper()
    shown = click.style(state.ljust(_STATE), fg=_COLOURS.get(step.state))
    click.echo(f"{shown}{step.name.ljust(_NAME)}{first}")
    for line in others:
        click.echo(f"{margin}{line}")
    for number, line in enumerate(_wrapped(step.advice, room - 3)):
        click.echo(f"{margin}{'   ' if number else '-> '}{line}")


def _say_nothing(_step: Step) -> None:
    """The steps are printed together."""


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(output.safe(text), width, break_long_words=False, break_on_hyphens=False)


def _summary(steps: list[Step]) -> str:
    counts = Counter(str(step.state) for step in steps)
    if counts["warning"] > 1:
        counts["warnings"] = counts.pop("warning")
    order = ("ok", "warning", "warnings", "failed", "skipped")
    return "\n" + ", ".join(f"{counts[word]} {word}" for word in order if counts[word])
