"""What the end of a delivery attempt means: the table of replies, and how it is read.

The rows are data, each with the RFC it stands on. They are tried in order and the first that fits
speaks; the last ones of each phase fit anything, so there is always an answer. The basic code's
first digit decides; an enhanced code refines it where its class agrees (RFC 3463 section 2), and
words only where servers leave the codes vague.
"""

from __future__ import annotations

from datetime import timedelta

from flask_courier.core.replies import Outcome, Phase, Reply, Trouble, Verdict
from flask_courier.core.reply_hints import asked_wait
from flask_courier.core.reply_row import End, Row
from flask_courier.core.reply_rows import FIRST_ROWS, TRANSPORT_ROWS
from flask_courier.core.reply_rows_message import MESSAGE_ROWS

ROWS: tuple[Row, ...] = (*FIRST_ROWS, *TRANSPORT_ROWS, *MESSAGE_ROWS)


def judge(phase: Phase, reply: Reply | None, trouble: Trouble | None = None) -> Verdict:
    """What it means that an attempt ended in ``phase``; never raises, whatever a server said.

    :param reply: the last reply, if it belongs to this phase; None if none came.
    :param trouble: what broke. Silence without a trouble is a connection that broke. Where a server
        spoke and then hung up or fell silent, what it said counts.
    """
    if reply is None and trouble is None:
        trouble = Trouble.DROPPED
    end = End(phase, reply, trouble)
    row = row_for(end)
    return Verdict(row.outcome, row.cause, _wait(row, end), row.suspect)


def row_for(end: End) -> Row:
    """The row that speaks for ``end``."""
    return next(row for row in ROWS if row.fits(end))


def _wait(row: Row, end: End) -> timedelta | None:
    """The row's own wait or the one the server asks for, whichever is longer.

    Only who may come back is told when: a permanent refusal that names a time means another thing.
    """
    if row.outcome in {Outcome.ACCEPTED, Outcome.REJECTED, Outcome.UNKNOWN}:
        return None
    if end.reply_class != 4 and row.outcome is not Outcome.THROTTLED:
        return row.wait
    return max(filter(None, (row.wait, asked_wait(end.words))), default=None)
