"""``flask courier retry``, ``resend`` and ``cancel``."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import replace

import click

from flask_courier.cli import output
from flask_courier.cli.group import EXIT_CODES, NOT_POSSIBLE
from flask_courier.core.actions import WHY_NOT, Action
from flask_courier.flows import desk
from flask_courier.flows.desk import Answer
from flask_courier.state import current_state
from flask_courier.storage.uow import Database, Session

_IDS = click.argument("message_ids", type=click.UUID, metavar="ID...", nargs=-1, required=True)
_JSON = "Print a JSON array: for each ID whether it was done, why not, and the new message's id."


@click.command("retry", epilog=EXIT_CODES)
@_IDS
@output.json_option(_JSON)
def retry(*, message_ids: Sequence[uuid.UUID], as_json: bool) -> None:
    """Try messages again.

    What waits for its next attempt is due at once; what was abandoned or is held gets a new life. A
    rejected message is never tried again; send it anew with 'resend'.
    """
    _each(Action.RETRY, message_ids, as_json=as_json)


@click.command("resend", epilog=EXIT_CODES)
@_IDS
@click.option("--key", help="With one ID: done once, however often it is run with this key.")
@output.json_option(_JSON)
def resend(*, message_ids: Sequence[uuid.UUID], key: str | None, as_json: bool) -> None:
    """Send messages anew that are done in any way: each becomes a new message.

    It is prepared for the account as it is now, with a link and a code of its own.
    """
    if key is not None and len(message_ids) > 1:
        raise click.UsageError("--key goes with one ID: it names what is done once")
    _each(Action.RESEND, message_ids, key=key, as_json=as_json)


@click.command("cancel", epilog=EXIT_CODES)
@_IDS
@output.json_option(_JSON)
def cancel(*, message_ids: Sequence[uuid.UUID], as_json: bool) -> None:
    """Take messages back that still wait; their links are dead from then on."""
    _each(Action.CANCEL, message_ids, as_json=as_json)


def quiet_database() -> Database:
    """The database without its wake-up call: that would start a worker thread in this process."""
    return replace(current_state().database, wake=_nobody)


def _nobody() -> None:
    """A worker looks at the queue by itself, about once a second."""


def _each(
    action: Action, message_ids: Sequence[uuid.UUID], *, key: str | None = None, as_json: bool
) -> None:
    """Each ID in a transaction of its own; what is not possible for one stops no other."""
    database, actor = quiet_database(), output.operator()
    answers: list[Answer] = []
    for message_id in dict.fromkeys(message_ids):
        answer, was_done = _act(database, action, message_id, actor=actor, key=key)
        answers.append(answer)
        if not as_json:
            _tell(action, answer, was_done=was_done)
    if as_json:
        output.echo_json(answers)
    if not all(answer.done for answer in answers):
        click.get_current_context().exit(NOT_POSSIBLE)


def _act(
    database: Database, action: Action, message_id: uuid.UUID, *, actor: str, key: str | None
) -> tuple[Answer, bool]:
    """What became of it, and whether ``key`` had it done before."""

    def work(session: Session) -> Answer:
        return desk.act(session, action, message_id, actor=actor, key=key)

    def count(session: Session) -> int:
        return desk.times_resent(session, [message_id])[message_id]

    if key is None:
        return database.transact(work), False
    before = database.transact(count)
    return database.transact(lambda session: (work(session), count(session) == before))


def _tell(action: Action, answer: Answer, *, was_done: bool) -> None:
    if answer.why_not is not None:
        click.echo(f"{answer.id}  not possible: {WHY_NOT[action][answer.why_not]}", err=True)
    elif answer.new_id is not None:
        words = "was already resent as" if was_done else "queued anew as"
        click.echo(f"{answer.id}  {words} {answer.new_id}")
    else:
        click.echo(f"{answer.id}  {'cancelled' if action is Action.CANCEL else 'queued again'}")
