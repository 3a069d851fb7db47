"""Log lines of a worker whose host has set up no logging: one line an event, for a program."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

_LOGGER = "flask_courier"
#: The one that speaks: what stands on it, on its parent or on the root takes its lines.
_SPEAKER = "flask_courier.worker"
#: What stands for itself behind a key.
_PLAIN = re.compile('[^ "=]+')
#: What every record has; the rest is what ``extra`` brought.
_ORDINARY = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@contextmanager
def unless_configured(handler: logging.Handler) -> Iterator[None]:
    """Send our log lines to ``handler`` during the block, if they go nowhere else."""
    logger = logging.getLogger(_LOGGER)
    if logging.getLogger(_SPEAKER).hasHandlers():
        yield
        return
    level = logger.level
    logger.addHandler(handler)
    if level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class KeyValueFormatter(logging.Formatter):
    """``time=… level=… action=… message="…"``."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record holds."""
        return " ".join(f"{key}={_value(value)}" for key, value in _fields(self, record).items())


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record holds."""
        return json.dumps(_fields(self, record), ensure_ascii=False, default=str)


def _fields(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    moment = datetime.fromtimestamp(record.created, timezone.utc)
    fields: dict[str, Any] = {
        "time": moment.isoformat(timespec="milliseconds"),
        "level": record.levelname.lower(),
        "logger": record.name,
    }
    fields |= {key: value for key, value in vars(record).items() if key not in _ORDINARY}
    fields["message"] = record.getMessage()
    if record.exc_info:
        fields["exception"] = formatter.formatException(record.exc_info)
    return fields


def _value(value: object) -> str:
    """``value`` as it is, or quoted as in JSON where it would end early."""
    text = str(value)
    plain = text.isprintable() and _PLAIN.fullmatch(text)
    return text if plain else json.dumps(text, ensure_ascii=False)
