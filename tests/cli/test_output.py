"""What commands print: harmless, aligned, as narrow as asked."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.cli import output
from flask_courier.cli.display import Figures, line
from flask_courier.cli.logs import JsonFormatter, KeyValueFormatter
from flask_courier.core.messages import Lane


@given(st.text(), st.integers(0, 40))
def test_clipped_text_fits(text: str, columns: int) -> None:
    """Text is never wider than it may be, and whole if it fits."""
    clipped = output.clip(text, columns)
    assert output.width(clipped) <= columns
    assert output.width(text) > columns or clipped == text


@given(st.text())
def test_safe_text_holds_no_control(text: str) -> None:
    """Nothing that a terminal obeys is left, but line breaks."""
    assert all(c == "\n" or c.isprintable() for c in output.safe(text))


@given(st.integers(0, 10**9), st.none() | st.integers(0, 10**9), st.integers(0, 200))
def test_live_line_fits(sent: int, waiting: int | None, columns: int) -> None:
    """The live line is never wider than it may be, and drops figures from the right."""
    figures = Figures(sent, waiting, 3, 12.5)
    drawn = line(figures, columns)
    assert len(drawn) <= columns
    assert line(figures, 200).startswith(drawn)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3_600, "1 h"), (183_845, "2 d 3 h")],
)
def test_span(seconds: int, words: str) -> None:
    """A span is told in its two longest units."""
    assert words == output.span(timedelta(seconds=seconds))


def test_plain_values() -> None:
    """Times, spans, lanes and what holds them become JSON."""
    moment = datetime(2026, 1, 2, tzinfo=timezone.utc)
    plain = output.plain({Lane.NOTICE: [timedelta(seconds=1.5), moment, None, 3]})
    assert {"notice": [1.5, "2026-01-02T00:00:00+00:00", None, 3]} == plain


def record(**extra: object) -> logging.LogRecord:
    """A log record with a line break in its message."""
    made = logging.makeLogRecord({"name": "flask_courier.worker", "msg": 'two\nlines "x"'})
    made.created = 1.5
    vars(made).update(extra)
    return made


def test_pairs_are_one_line() -> None:
    """What holds blanks, quotes or line breaks is quoted, and the line stays one."""
    drawn = KeyValueFormatter().format(record(action="a b", code=None))
    assert drawn.startswith("time=1970-01-01T00:00:01.500+00:00 level=")
    assert drawn.endswith(r' action="a b" code=None message="two\nlines \"x\""')


@pytest.mark.parametrize("formatter", [KeyValueFormatter(), JsonFormatter()])
def test_exception_is_in_the_line(formatter: logging.Formatter) -> None:
    """A traceback makes no second line."""
    error = LookupError("gone")
    failed = (LookupError, error, None)
    drawn = formatter.format(record(exc_info=failed))
    assert "LookupError: gone" in drawn
    assert "\n" not in drawn
