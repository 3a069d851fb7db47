"""What a check of an installation answers: one step for each thing that was looked at.

Pure values, for the command line and for pages alike. No sentence holds a password, a token, a user
name or an address; the domain that mail comes from is the most that is said.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(str, enum.Enum):
    """How a step of a check came out."""

    OK = "ok"
    #: Mail flows, but something is not as it should be, or soon will not be.
    WARNING = "warning"
    #: Mail does not flow.
    FAILED = "failed"
    #: Not looked at, and the words say why.
    SKIPPED = "skipped"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Step:
    """One thing that was looked at."""

    #: A stable word, for programs.
    name: str
    state: State
    #: What there is, in sentences.
    words: str
    #: What to do; empty where nothing is to be done.
    advice: str = ""
