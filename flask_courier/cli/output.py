"""What commands print: tables for people, JSON for programs, and nothing a terminal would obey."""

from __future__ import annotations

import enum
import getpass
import json
import shutil
import sys
import unicodedata
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

import click

_GAP = "  "


CommandT = TypeVar("CommandT", bound=Callable[..., Any] | click.Command)


def json_option(help_text: str) -> Callable[[CommandT], CommandT]:
    """``--json``, which every command has."""
    return click.option("--json", "as_json", is_flag=True, help=help_text)


def echo_json(document: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(plain(document), ensure_ascii=False, indent=2))


def plain(value: Any) -> Any:
    """``value`` as JSON has it: times in RFC 3339, spans in seconds, ids and words as text."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        known: Mapping[Any, Any] = value  # pyright: ignore[reportUnknownVariableType]
        return {_word(key): plain(item) for key, item in known.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in cast("Sequence[Any]", value)]
    return next((write(value) for kind, write in _WRITTEN if isinstance(value, kind)), value)


def _word(value: Any) -> Any:
    """A member's value; a lane, whose value is a number, goes by its name."""
    if isinstance(value, enum.IntEnum):
        return value.name.lower()
    return value.value if isinstance(value, enum.Enum) else value


_WRITTEN: tuple[tuple[type, Callable[[Any], Any]], ...] = (
    (enum.Enum, _word),
    (uuid.UUID, str),
    (datetime, datetime.isoformat),
    (timedelta, timedelta.total_seconds),
)


def moment(value: datetime) -> str:
    """A time in UTC, to the second."""
    return f"{value:%Y-%m-%d %H:%M:%S}"


def span(value: timedelta) -> str:
    """A span of time in its two longest units: ``2 d 3 h``, ``45 s``."""
    seconds = round(value.total_seconds())
    parts: list[str] = []
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, seconds = divmod(seconds, size)
        if count:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2]) or "0 s"


def safe(text: str) -> str:
    """``text`` without what a terminal would obey: a subject or a reply may hold escapes."""
    return "".join(c if c == "\n" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def width(text: str) -> int:
    """The columns that ``text`` takes on a terminal."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def clip(text: str, columns: int) -> str:
    """``text`` in at most ``columns``, with an ellipsis where it was cut."""
    if width(text) <= columns:
        return text
    kept = ""
    for c in text:
        if width(kept + c) > columns - 1:
            break
        kept += c
    return kept + "…" if columns > 0 else ""


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Aligned columns; on a terminal, lines are cut at its edge."""
    lines = [list(header), *([safe(cell).replace("\n", " ") for cell in row] for row in rows)]
    widths = [max(width(line[n]) for line in lines) for n in range(len(header))]
    drawn = [
        _GAP.join(
            cell + " " * (columns - width(cell)) for cell, columns in zip(line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
    if sys.stdout.isatty():
        edge = shutil.get_terminal_size().columns
        drawn = [clip(line, edge) for line in drawn]
    return "\n".join(drawn)


def operator() -> str:
    """Who runs this command, as events name them."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError, ImportError):
        # A container may run under a number that has no name.
        return "cli"
    return safe(f"cli:{name}")
