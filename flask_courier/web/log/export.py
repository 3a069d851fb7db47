"""The messages of the filter as a file: CSV for a spreadsheet, JSON lines for a program."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from flask import Response, abort, request

from flask_courier.core.search import Query
from flask_courier.state import CourierState, current_state
from flask_courier.storage import log, search
from flask_courier.storage.log import Entry
from flask_courier.web.log import access, filters, forms, representation

logger = logging.getLogger("flask_courier.log")

#: Messages that are looked at, and kept in memory, at a time.
BATCH = 500

#: What a spreadsheet would take for a formula (OWASP ASVS 5.0 requirement 1.2.10), also in the wide
#: forms that East Asian ones take for the same.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d", "\uff0b", "\uff0d", "\uff20")
#: Where a spreadsheet that splits at semicolons begins another cell, whatever is in quotes.
_BREAK = re.compile('([;\t\r\n]"*)(?=[-=+@\0\uff1d\uff0b\uff0d\uff20])')

Rows = Sequence[dict[str, Any]]


@dataclass(frozen=True)
class Step:
    """Some of the messages, and where to go on; None at the end."""

    entries: list[Entry]
    below: uuid.UUID | None


@dataclass(frozen=True)
class Source:
    """What is exported."""

    state: CourierState
    query: Query
    #: As whoever asks may see what comes of it; they are gone while it is written.
    shown: Callable[[list[Entry]], list[Entry]]

    def step(self, below: uuid.UUID | None) -> Step:
        """The next messages of the filter, older than ``below``, in a transaction of their own.

        There may be none among many that were looked at.
        """

        def work(session: Any) -> Step:
            ids, going_on = search.matching_ids(session, self.query, below=below, stride=BATCH)
            return Step(self.shown(log.entries_of(session, ids)), going_on)

        found: Step = self.state.database.transact(work)
        return found


def export(form: str) -> Response:
    """``GET /courier/export.csv`` and ``/courier/export.jsonl``: what the list's filter matches."""
    if not access.is_allowed("export"):
        abort(HTTPStatus.NOT_FOUND)
    shown = filters.read(request.args)
    if shown.problems:
        raise filters.refusal(shown.problems)
    source = Source(current_state(), shown.query, access.veil())
    # Before the answer begins: what cannot be read is an error, and not half a file.
    first = source.step(None)
    answer = Response(
        _stream(source, first, form=form, actor=forms.actor()), mimetype=_WRITERS[form][1]
    )
    answer.headers["Content-Disposition"] = f'attachment; filename="messages.{form}"'
    return answer


def _stream(source: Source, step: Step, *, form: str, actor: str) -> Iterator[bytes]:
    """The file, batch by batch.

    Outside the request, which would keep the application's own connection for as long as the client
    reads.
    """
    write = _WRITERS[form][0]
    written, whole, first = 0, False, True
    try:
        while True:
            rows = [representation.of_entry(source.state, entry) for entry in step.entries]
            part, first = write(rows, first).encode("utf-8", "replace"), False
            written += len(rows)
            yield part
            if step.below is None:
                whole = True
                return
            step = source.step(step.below)
    finally:
        # Not which: the filter may hold an address.
        logger.info(
            "%s exported %d messages as %s%s",
            actor,
            written,
            form,
            "" if whole else ", and then it broke off",
            extra={"action": "export", "actor": actor, "format": form, "messages": written},
        )


def to_csv(rows: Rows, first: bool) -> str:  # noqa: FBT001 - called by position, from one place
    """``rows`` as RFC 4180 has them, below a header if they are the first."""
    text = io.StringIO(newline="")
    names = representation.FIELDS
    writer = csv.writer(text, lineterminator="\r\n")
    if first:
        writer.writerow(names)
    writer.writerows([_cell(row[name]) for name in names] for row in rows)
    return text.getvalue()


def to_json_lines(rows: Rows, first: bool) -> str:  # noqa: ARG001, FBT001 - as to_csv
    """``rows`` as one JSON object a line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _cell(value: Any) -> Any:
    """``value`` as text that no spreadsheet calculates; numbers stay numbers."""
    if not isinstance(value, str):
        return value
    text = _BREAK.sub(r"\1'", value)
    return f"'{text}" if text.startswith(_FORMULA) else text


_WRITERS: dict[str, tuple[Callable[[Rows, bool], str], str]] = {
    "csv": (to_csv, "text/csv"),
    "jsonl": (to_json_lines, "application/x-ndjson"),
}
