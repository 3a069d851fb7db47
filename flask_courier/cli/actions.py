"""``flask courier retry``, ``resend`` and ``cancel``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import click

from flask_courier.cli import output
from flask_courier.cli.group import EXIT_CODES, NOT_POSSIBLE
from flask_courier.core.status import Obstacle
from flask_courier.state import current_state
from flask_courier.storage.outbox import operator
from flask_courier.storage.uow import Database, Session

_IDS = click.argument("message_ids", type=click.UUID, metavar="ID...", nargs=-1, required=True)
_JSON = "Print a JSON array: for each ID whether it was done, why not, and the new message's id."

_NOT_FOUND = "there is no such message"
_WHY_NOT = {
    "retry": {
        Obstacle.NOT_FOUND: _NOT_FOUND,
        Obstacle.WRONG_STATUS: "it is neither abandoned nor held",
        Obstacle.REJECTED: "the server rejected it for good; correct the address, then 'resend'",
    },
    "resend": {
        Obstacle.NOT_FOUND: _NOT_FOUND,
        Obstacle.WRONG_STATUS: "it still waits or is being sent",
        Obstacle.KEY_TAKEN: "the key belongs to another message",
    },
    "cancel": {
        Obstacle.NOT_FOUND: _NOT_FOUND,
        Obstacle.WRONG_STATUS: "it does not wait: a worker has it, or it is done",
    },
}


@dataclass(frozen=True)
class Answer:
    """What became of one ID."""

    id: uuid.UUID
    done: bool
    #: A word of ``core.status.Obstacle``.
    why_not: Obstacle | None = None
    new_id: uuid.UUID | None = None


@click.command("retry", epilog=EXIT_CODES)
@_IDS
@output.json_option(_JSON)
def retry(*, message_ids: Sequence[uuid.UUID], as_json: bool) -> None:
    """Try messages again that were abandoned or are held, each with a new life.

    A rejected message is never tried again; send it anew with 'resend'.
    """
    actor = output.operator()
    _each(
        "retry",
        message_ids,
        lambda session, message_id: operator.retry(session, message_id, actor=actor),
        as_json=as_json,
    )


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
    actor = output.operator()
    _each(
        "resend",
        message_ids,
        lambda session, message_id: operator.resend(
            session, message_id, actor=actor, idempotency_key=key
        ),
        as_json=as_json,
    )


@click.command("cancel", epilog=EXIT_CODES)
@_IDS
@output.json_option(_JSON)
def cancel(*, message_ids: Sequence[uuid.UUID], as_json: bool) -> None:
    """Take messages back that still wait; their links are dead from then on."""
    actor = output.operator()
    _each(
        "cancel",
        message_ids,
        lambda session, message_id: operator.cancel(session, message_id, actor=actor),
        as_json=as_json,
    )


def quiet_database() -> Database:
    """The database without its wake-up call: that would start a worker thread in this process."""
    return replace(current_state().database, wake=_nobody)


def _nobody() -> None:
    """A worker looks at the queue by itself, about once a second."""


def _each(
    verb: str,
    message_ids: Sequence[uuid.UUID],
    act: Callable[[Session, uuid.UUID], uuid.UUID | Obstacle | None],
    *,
    as_json: bool,
) -> None:
    """Each ID in a transaction of its own; what is not possible for one stops no other."""
    database = quiet_database()
    answers: list[Answer] = []
    for message_id in dict.fromkeys(message_ids):
        # Bound now: a closure would see the next ID.
        came = database.transact(lambda session, this=message_id: act(session, this))  # type: ignore[misc]
        if isinstance(came, Obstacle):
            answers.append(Answer(message_id, done=False, why_not=came))
        else:
            answers.append(Answer(message_id, done=True, new_id=came))
        if not as_json:
            _tell(verb, answers[-1])
    if as_json:
        output.echo_json(answers)
    if not all(answer.done for answer in answers):
        click.get_current_context().exit(NOT_POSSIBLE)


def _tell(verb: str, answer: Answer) -> None:
    if answer.why_not is not None:
        click.echo(f"{answer.id}  not possible: {_WHY_NOT[verb][answer.why_not]}", err=True)
    elif answer.new_id is not None:
        click.echo(f"{answer.id}  queued anew as {answer.new_id}")
    else:
        click.echo(f"{answer.id}  {'cancelled' if verb == 'cancel' else 'queued again'}")
