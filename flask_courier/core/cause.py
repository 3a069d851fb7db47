"""What a cause is: why an attempt, or a whole message, came to what it came to, in plain words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

#: Who can do something about it: whoever reads the mail, whoever runs their mail server, whoever
#: runs this application, whoever runs the SMTP server it sends by, the lines between, or this
#: software.
Side = Literal["recipient", "recipient_server", "sender", "provider", "network", "us"]


@dataclass(frozen=True)
class Cause:
    """One cause: a sentence on what it means, whose side it is on, and what to do."""

    meaning: str
    side: Side
    advice: str

    @property
    def passes(self) -> bool:
        """Whether there is nothing to do: the mail is tried again, and mostly gets through."""
        return self.advice.startswith("Nothing")
