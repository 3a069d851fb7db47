"""The live line of ``flask courier worker`` on a terminal.

A thread of its own writes, so that a terminal that is held (Ctrl-S) stops no delivery. Plain
carriage returns and blanks redraw the line: each draw is one write, and no terminal needs to
understand more.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TextIO

from flask_courier.cli import output
from flask_courier.core.status import Status

#: Statuses that mean: nobody got this mail, or nobody knows.
FAILED = (Status.ABANDONED, Status.EXPIRED, Status.HELD)

#: Seconds over which the rate is taken.
_RATE_SPAN = 10.0
#: Seconds that the end waits for a terminal that takes nothing.
_STOP_TIMEOUT = 2.0
#: Columns of a terminal that does not say how many it has.
_COLUMNS = 80


@dataclass(frozen=True)
class Figures:
    """What the line shows."""

    sent: int
    #: Due messages, or None while the database is away.
    waiting: int | None
    failed: int
    #: Mails a second.
    rate: float


def line(figures: Figures, columns: int) -> str:
    """The figures in at most ``columns``: what finds no room is left out from the right."""
    waiting = "?" if figures.waiting is None else f"{figures.waiting:,}"
    parts = (
        f"sent {figures.sent:,}",
        f"waiting {waiting}",
        f"failed {figures.failed:,}",
        f"{figures.rate:,.1f}/s",
    )
    drawn = ""
    for part in parts:
        longer = f"{drawn}  {part}" if drawn else part
        if len(longer) > columns:
            break
        drawn = longer
    return drawn


class Display:
    """Draws the line, and log lines above it.

    :param stream: a terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._history: deque[tuple[float, int]] = deque([(time.monotonic(), 0)])
        self._figures = Figures(0, None, 0, 0.0)
        self._drawn = 0
        self._thread = threading.Thread(target=self._run, name="flask_courier.display", daemon=True)

    def start(self) -> None:
        """Begin to draw."""
        self._thread.start()

    def update(self, outcomes: Mapping[Status, int], waiting: int | None) -> None:
        """Show new figures; never blocks."""
        counted = Counter(outcomes)
        now, sent = time.monotonic(), counted[Status.SENT]
        self._history.append((now, sent))
        while len(self._history) > 2 and now - self._history[0][0] > _RATE_SPAN:
            self._history.popleft()
        since, before = self._history[0]
        rate = (sent - before) / (now - since) if now > since else 0.0
        failed = sum(counted[status] for status in FAILED)
        self._figures = Figures(sent, waiting, failed, rate)
        self._said.put("")

    def say(self, text: str) -> None:
        """Print a line above the live one; never blocks."""
        self._said.put(text)

    def stop(self) -> None:
        """Draw what is left and leave the cursor on an empty line."""
        self._said.put(None)
        self._thread.join(_STOP_TIMEOUT)

    def _run(self) -> None:
        # A terminal that has gone away is nobody's fault and nobody's loss.
        with contextlib.suppress(OSError, ValueError):
            while (text := self._said.get()) is not None:
                self._draw(text)
            self._write(self._over(""))

    def _draw(self, text: str) -> None:
        shown = line(self._figures, self._columns() - 1)
        above = f"{self._over(output.safe(text))}\n" if text else ""
        if above:
            self._drawn = 0
        self._write(above + self._over(shown))
        self._drawn = len(shown)

    def _over(self, text: str) -> str:
        """``text`` in place of what is drawn, and nothing of that beside it."""
        rest = max(0, self._drawn - output.width(text))
        return f"\r{text}{' ' * rest}" if text else f"\r{' ' * rest}\r"

    def _columns(self) -> int:
        return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class DisplayHandler(logging.Handler):
    """Says what needs attention above the live line; the line itself tells the rest."""

    def __init__(self, display: Display) -> None:
        super().__init__(logging.WARNING)
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the record over."""
        self._display.say(self.format(record))
