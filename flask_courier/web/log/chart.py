"""The attempts of a day as a drawing, and as the table that says the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from flask_courier.core.replies import Outcome
from flask_courier.storage.health import Hour

#: What is told apart, from the bottom of a bar to its top: an attribute of the drawing, words, and
#: the outcomes that are counted together.
SERIES: tuple[tuple[str, str, frozenset[Outcome]], ...] = (
    ("accepted", "Accepted", frozenset({Outcome.ACCEPTED})),
    ("put-off", "Put off", frozenset({Outcome.DEFERRED, Outcome.THROTTLED})),
    ("refused", "Refused", frozenset({Outcome.REJECTED})),
    (
        "failed",
        "Did not get through",
        frozenset({Outcome.TRANSPORT_FAULT, Outcome.OPERATOR_FAULT, Outcome.UNKNOWN}),
    ),
)

#: In units of the drawing, which is stretched to its place.
HEIGHT = 100.0
_SLOT = 20.0
_BAR = 15.0
#: One refusal among a thousand mails is still seen.
_THINNEST = 2.0


@dataclass(frozen=True)
class Block:
    """A rectangle of a bar."""

    series: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Line:
    """One hour as a row of the table."""

    begin: datetime
    #: In the order of ``SERIES``.
    numbers: tuple[int, ...]
    #: Whether they were reckoned from a sample.
    about: bool

    @property
    def total(self) -> int:
        """All attempts of the hour."""
        return sum(self.numbers)


@dataclass(frozen=True)
class Chart:
    """A day, drawn and told."""

    width: float
    height: float
    blocks: tuple[Block, ...]
    lines: tuple[Line, ...]
    #: Of the busiest hour.
    highest: int
    #: Of the whole day, in the order of ``SERIES``.
    totals: tuple[int, ...]
    #: Whether some hour was reckoned from a sample.
    about: bool

    @property
    def total(self) -> int:
        """All attempts of the day."""
        return sum(self.totals)


def draw(hours: Sequence[Hour]) -> Chart:
    """The drawing and the table of ``hours``."""
    lines = tuple(Line(hour.begin, _numbers(hour), hour.is_sample) for hour in hours)
    highest = max((line.total for line in lines), default=0)
    blocks = [
        block for place, line in enumerate(lines) for block in _bar(line, place * _SLOT, highest)
    ]
    return Chart(
        width=len(lines) * _SLOT,
        height=HEIGHT,
        blocks=tuple(blocks),
        lines=lines,
        highest=highest,
        totals=tuple(
            sum(numbers) for numbers in zip(*(line.numbers for line in lines), strict=True)
        ),
        about=any(line.about for line in lines),
    )


def _numbers(hour: Hour) -> tuple[int, ...]:
    return tuple(
        round(hour.weight * sum(hour.outcomes[one] for one in together))
        for _, _, together in SERIES
    )


def _bar(line: Line, left: float, highest: int) -> list[Block]:
    room = HEIGHT - _THINNEST * len(SERIES)
    blocks: list[Block] = []
    top = HEIGHT
    for (name, _, _), number in zip(SERIES, line.numbers, strict=True):
        if number:
            height = round(max(_THINNEST, room * number / highest), 2)
            top = round(top - height, 2)
            blocks.append(Block(name, left + (_SLOT - _BAR) / 2, top, _BAR, height))
    return blocks
