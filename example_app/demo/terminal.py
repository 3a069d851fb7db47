"""What the demo prints: one line a step, with the time it took."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from collections.abc import Callable
from typing import TextIO

#: Columns of a step's text and note; the time stands behind them.
WIDTH = 68
_GREEN, _RED, _BOLD, _DIM, _PLAIN = "\033[32m", "\033[31m", "\033[1m", "\033[2m", "\033[0m"

_COLOURS = re.compile(r"\x1b\[[\d;]*m")
#: Nothing else that the demo prints of others' words is as long in one piece.
_TOKEN = re.compile(r"[\w-]{20,}")


def without_tokens(text: str) -> str:
    """``text``, a path or a line of a request log, with everything left out that may be a token."""
    return _TOKEN.sub("…", _COLOURS.sub("", text))


class StepFailedError(Exception):
    """A step saw something else than it should have; says what, without tokens or passwords."""


class Terminal:
    """Writes to a terminal with colours, and to everything else without."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream
        self._is_live = stream.isatty()
        self._has_colour = self._is_live and "NO_COLOR" not in os.environ
        self.steps = 0
        if isinstance(stream, io.TextIOWrapper):
            # A tick is no reason to fail on a terminal that knows none.
            stream.reconfigure(errors="replace")

    def say(self, text: str = "") -> None:
        """One line."""
        print(text, file=self._stream, flush=True)

    def title(self, text: str) -> None:
        """A line above others."""
        self.say(f"\n{self._paint(_BOLD, text)}")

    def facts(self, facts: dict[str, str]) -> None:
        """Lines of a name and what belongs to it."""
        width = max(map(len, facts)) + 3
        for name, value in facts.items():
            self.say(f"  {self._paint(_DIM, name.ljust(width))}{value}")

    def step(self, text: str, action: Callable[[], str | None]) -> None:
        """Take one step and tell how it went; ``action`` answers a note, or None.

        :raises StepFailedError: as ``action`` does, or where it ran out of time.
        """
        if self._is_live:
            print(f"  · {text}", end="\r", file=self._stream, flush=True)
        began = time.perf_counter()
        try:
            note = action()
        except (StepFailedError, OSError) as error:
            self._line(_RED, "✘", text, None, began)
            self.say(f"    {error}")
            raise StepFailedError(f"Failed at “{text}”: {error}") from error
        self.steps += 1
        self._line(_GREEN, "✔", text, note, began)

    def _line(self, colour: str, mark: str, text: str, note: str | None, began: float) -> None:
        milliseconds = f"{1000 * (time.perf_counter() - began):,.0f} ms"
        note = f" ({note})" if note else ""
        padding = " " * max(1, WIDTH - len(text + note))
        mark, note = self._paint(colour, mark), self._paint(_DIM, note)
        self.say(f"  {mark} {text}{note}{padding}{milliseconds:>9}")

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._has_colour and text else text
