"""Tokens out of logs: an access log line holds the address of a link that may still be good."""

from __future__ import annotations

import logging
import re

MASK = "[token]"
#: What servers written in Python log requests with, each on a logger of its own.
SERVER_LOGGERS = (
    "werkzeug",
    "gunicorn.access",
    "gunicorn.error",
    "hypercorn.access",
    "uvicorn.access",
)

#: A client may write any character of a path as an escape (RFC 3986 section 2.1).
_CHARACTER = r"(?:[A-Za-z0-9_-]|%[0-9A-Fa-f]{2})"
#: 128 bits and an HMAC-SHA256, in base64: see ``core.tokens``.
_TOKEN = re.compile(rf"{_CHARACTER}{{22}}(?:\.|%2[Ee]){_CHARACTER}{{43}}")


class MaskTokens(logging.Filter):
    """A logging filter that masks every token in a record's message.

    ``init_app`` puts one on the application's logger and on those that Werkzeug, gunicorn,
    Hypercorn and uvicorn log requests with. For another server, by hand::

        logging.getLogger("another.access").addFilter(MaskTokens())
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Mask the tokens of ``record``; it is always logged."""
        message = record.getMessage()
        masked = _TOKEN.sub(MASK, message)
        if masked == message:
            return True
        # Uvicorn's formatter takes the arguments apart, so they stay what and how many they were.
        if isinstance(record.args, tuple):
            record.args = tuple(_masked(value) for value in record.args)
        if record.getMessage() != masked:
            record.msg, record.args = masked, ()
        return True


def _masked(value: object) -> object:
    return _TOKEN.sub(MASK, value) if isinstance(value, str) else value


def mask_logs(application: str) -> None:
    """Put the filter on the application's logger, which has this name, and on the servers'."""
    for name in (application, *SERVER_LOGGERS):
        logger = logging.getLogger(name)
        if not any(isinstance(one, MaskTokens) for one in logger.filters):
            logger.addFilter(MaskTokens())
