"""Spans of time as people write them."""

from __future__ import annotations

from datetime import timedelta

from flask_courier.core.settings import Reader, refusal, wrong_type

#: Seconds in each unit, longest first.
UNITS = {"day": 86_400, "hour": 3_600, "minute": 60, "second": 1}


def in_units(seconds: int) -> tuple[int, str]:
    """``seconds`` in the longest unit that divides it: 600 is ``(10, "minute")``."""
    unit = next(unit for unit, size in UNITS.items() if seconds % size == 0)
    return seconds // UNITS[unit], unit


def describe(duration: timedelta) -> str:
    """``duration``, of whole seconds, in words: ``30 minutes``, ``1 day``."""
    count, unit = in_units(int(duration.total_seconds()))
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def lasting(longest: timedelta) -> Reader[timedelta]:
    """A reader of durations up to ``longest``: a ``timedelta`` or a number of seconds."""

    def read(name: str, value: object) -> timedelta:
        if isinstance(value, timedelta):
            seconds = value.total_seconds()
        elif isinstance(value, int) and not isinstance(value, bool):
            # timedelta() overflows on what JSON may hold, so the number is compared first.
            seconds = value
        else:
            raise wrong_type(name, "a timedelta or a whole number of seconds", value)
        if not 1 <= seconds <= longest.total_seconds():
            raise refusal(f"{name} must be between 1 second and {describe(longest)}.")
        if seconds != int(seconds):
            raise refusal(f"{name} must be of whole seconds.")
        return timedelta(seconds=seconds)

    return read
