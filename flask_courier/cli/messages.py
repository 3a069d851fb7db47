"""``flask courier list`` and ``flask courier show``."""

from __future__ import annotations

import uuid
from typing import Any

import click

from flask_courier.cli import output
from flask_courier.cli.group import EXIT_CODES, NOT_POSSIBLE
from flask_courier.core.status import Status
from flask_courier.state import CourierState, current_state
from flask_courier.storage import log
from flask_courier.storage.log import AttemptEntry, Details, Entry

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
    found: list[Entry] = state.database.transact(
        lambda session: log.entries(
            session,
            status=Status(status) if status else None,
            recipient=recipient,
            kind=kind,
            before=before,
            limit=limit,
        )
    )
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
@output.json_option("Print a JSON object, with the fields of the delivery log's own JSON.")
def show(*, message_id: uuid.UUID, as_json: bool) -> None:
    """Show everything that is known of one message; dots stand for its token and its code."""
    state = current_state()
    details: Details | None = state.database.transact(
        lambda session: log.details(session, message_id)
    )
    if details is None:
        click.echo(f"flask courier: there is no message {message_id}", err=True)
        click.get_current_context().exit(NOT_POSSIBLE)
    if as_json:
        output.echo_json(_document(state, details))
    else:
        click.echo(_page(details))


def _fields(state: CourierState, entry: Entry) -> dict[str, Any]:
    return {**output.plain(entry), "max_attempts": state.config.message_retries + 1}


def _document(state: CourierState, details: Details) -> dict[str, Any]:
    content = details.content and details.content.masked()
    return {
        **_fields(state, details.entry),
        "attempts_made": details.attempts,
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
