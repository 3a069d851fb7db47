"""What a row is that says where a message stands."""

from __future__ import annotations

from dataclasses import dataclass

from flask_courier.core.actions import Action
from flask_courier.core.cause import Side


@dataclass(frozen=True)
class Outlook:
    """One row: a sentence on what became of the message, what it means, whose side, what to do."""

    headline: str
    meaning: str
    side: Side
    step: str
    #: What an operator does most sensibly, if anything.
    action: Action | None = None
