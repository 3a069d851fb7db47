"""``flask courier list`` and ``flask courier show``."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timezone
from functools import partial
from typing import Any

import click

from flask_courier.cli import output
from flask_courier.cli.group import EXIT_CODES, NOT_POSSIBLE
from flask_courier.core.clock import utc_now
from flask_courier.core.search import Query, term
from flask_courier.core.search_values import Misread, Viewpoint
from flask_courier.core.status import Status
from flask_courier.state import CourierState, current_state
from flask_courier.storage import details as one
from flask_courier.storage import log, search
from flask_courier.storage.details import AttemptEntry, Details
from flask_courier.storage.log import Entry

_HEADER = ("id", "queued (UTC)", "status", "kind", "recipient", "tries", "why")


@click.command("list", epilog=EXIT_CODES)
@click.option(
    "--status", type=click.Choice([status.value for status in Status]), help="In this status alone."
)
@click.option("--to", "recipient", metavar="ADDRESS", help="To this address, or how it begins.")
@click.option("--kind", help="Of this kind alone.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=50, show_default=True, help="At most so many."
)
@click.option("--before", type=click.UUID, metavar="ID", help="Older than this one: the next page.")
@output.json_option("Print a JSON array, with the fields of the delivery log's own JSON.")
def list_messages(
    *,
    status: str | None,
    recipient: str | None,
    kind: str | None,
    limit: int,
    before: uuid.UUID | None,
    as_json: bool,
) -> None:
    """List messages, newest first."""
    state = current_state()
    asked = {"status": status, "to": recipient, "kind": kind}
    found = _listed(state, {name: text for name, text in asked.items() if text}, before, limit)
    if as_json:
        output.echo_json([_fields(state, entry) for entry in found])
    elif found:
        click.echo(output.table(_HEADER, [_cells(entry) for entry in found]))
    else:
        click.echo("no messages", err=True)
    if not found:
        click.get_current_context().exit(NOT_POSSIBLE)


@click.command("show", epilog=EXIT_CODES)
@click.argument("message_id", type=click.UUID, metavar="ID")
@output.json_option("Print a JSON object: the delivery log's own JSON, without its words.")
def show(*, message_id: uuid.UUID, as_json: bool) -> None:
    """Show everything that is known of one message; dots stand for its token and its code."""
    state = current_state()
    details: Details | None = state.database.transact(
        lambda session: one.details(session, message_id, limit=None)
    )
    if details is None:
        click.echo(f"flask courier: there is no message {message_id}", err=True)
        click.get_current_context().exit(NOT_POSSIBLE)
    if as_json:
        output.echo_json(_document(state, details))
    else:
        click.echo(_page(details))


def _listed(
    state: CourierState, asked: Mapping[str, str], below: uuid.UUID | None, limit: int
) -> list[Entry]:
    """The newest messages of a search, in as many steps as it takes to find them."""
    viewpoint = Viewpoint(utc_now(), timezone.utc, sender="")
    try:
        query = Query(tuple(term(name, text, viewpoint) for name, text in asked.items()))
    except Misread as error:
        raise click.UsageError(str(error)) from error
    ids: list[uuid.UUID] = []
    while True:
        step, below = state.database.transact(partial(_step, query, below))
        ids += step
        if below is None or len(ids) >= limit:
            break
    found: list[Entry] = state.database.transact(
        lambda session: log.entries_of(session, ids[:limit])
    )
    return found


def _step(query: Query, below: uuid.UUID | None, session: Any) -> Any:
    return search.matching_ids(session, query, below=below)


def _fields(state: CourierState, entry: Entry) -> dict[str, Any]:
    return {
        **output.plain(entry),
        **entry.names_in_kratos(),
        "max_attempts": state.config.message_retries + 1,
    }


def _document(state: CourierState, details: Details) -> dict[str, Any]:
    content = details.content and details.content.masked()
    return {
        **_fields(state, details.entry),
        "dispatches": details.attempts,
        "events": details.events,
        "content": content
        and {"subject": content.subject, "text": content.text, "html": content.html},
    }


def _cells(entry: Entry) -> tuple[str, ...]:
    why = " ".join(str(part) for part in (entry.reason, entry.last_code) if part)
    return (
        str(entry.id),
        output.moment(entry.created_at),
        entry.status.value,
        entry.kind,
        entry.recipient,
        str(entry.attempts),
        why,
    )


def _page(details: Details) -> str:
    entry = output.plain(details.entry)
    known = [(name, value) for name, value in entry.items() if value is not None]
    widest = max(len(name) for name, _ in known)
    lines = [f"{name:{widest}}  {_line(value)}" for name, value in known]
    for attempt in details.attempts:
        lines += ["", *_attempt(attempt)]
    if details.events:
        lines += ["", "events"]
        lines += [
            f"  {output.moment(event.at)}  {_line(event.what)}  {_line(event.actor)}"
            for event in details.events
        ]
    if details.content is not None:
        content = details.content.masked()
        lines += ["", f"Subject: {_line(content.subject)}", "", output.safe(content.text)]
    return "\n".join(lines)


def _attempt(attempt: AttemptEntry) -> list[str]:
    known = output.plain(attempt)
    head = f"attempt {known.pop('number')}: {known.pop('outcome')} at {known.pop('phase')}"
    reply = output.safe(known.pop("reply")).splitlines()
    widest = max(len(name) for name in known)
    lines = [f"  {name:{widest}}  {_line(value)}" for name, value in known.items() if value]
    return [head, *lines, *(f"  | {line}" for line in reply)]


def _line(value: object) -> str:
    return output.safe(str(value)).replace("\n", " ")
