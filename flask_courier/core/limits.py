"""How often something may happen: ``1/minute 5/hour 20/day``."""

from __future__ import annotations

import re
from dataclasses import dataclass

from flask_courier.core.durations import UNITS, in_units
from flask_courier.core.settings import read_text, refusal

_MOST = 999_999_999
_LONGEST = 366 * UNITS["day"]
_LIMIT = re.compile(
    r"([0-9]{1,99})\s*(?:/|\bper\b)\s*(?:([0-9]{1,99})\s*)?(second|minute|hour|day)s?\b",
    re.IGNORECASE,
)
_SEPARATORS = " ,;"


@dataclass(frozen=True, slots=True)
class Limit:
    """At most ``count`` times in any window of ``seconds``."""

    count: int
    seconds: int

    def __str__(self) -> str:
        """The limit as the configuration writes it: ``5/hour``, ``20/10 minutes``."""
        many, unit = in_units(self.seconds)
        return f"{self.count}/{unit}" if many == 1 else f"{self.count}/{many} {unit}s"


def read_limits(name: str, value: object) -> tuple[Limit, ...]:
    """One limit or more, shortest window first.

    Each is ``COUNT/UNIT`` or ``COUNT/NUMBER UNITS`` with second, minute, hour or day for a unit and
    ``per`` as another way to write ``/``; between two of them stand spaces, commas or semicolons.
    """
    rest = read_text(name, value).strip(_SEPARATORS)
    limits: list[Limit] = []
    while rest or not limits:
        found = _LIMIT.match(rest)
        if found is None:
            raise refusal(f'{name} cannot be read: write it like "1/minute 5/hour 20/10 minutes".')
        count, many, unit = found.groups()
        limits.append(Limit(int(count), int(many or 1) * UNITS[unit.lower()]))
        rest = rest[found.end() :].lstrip(_SEPARATORS)
    if not all(1 <= one.count <= _MOST and 1 <= one.seconds <= _LONGEST for one in limits):
        raise refusal(
            f"{name} must allow between 1 and {_MOST} in a window between 1 second and 366 days."
        )
    if len({limit.seconds for limit in limits}) < len(limits):
        raise refusal(f"{name} has two limits for the same window: keep one.")
    return tuple(sorted(limits, key=lambda limit: limit.seconds))
