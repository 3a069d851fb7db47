"""What each term of a search means for a message; case never matters, on any database."""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from flask_courier.core.search_facts import ALL, NOT_SENT, Facts, OfAnyStatus, folded
from flask_courier.core.status import Status

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class Part(enum.Enum):
    """Which part of an address a text is."""

    WHOLE = enum.auto()
    BEGINNING = enum.auto()
    DOMAIN = enum.auto()


@dataclass(frozen=True)
class To(OfAnyStatus):
    """The recipient's address: the whole of it, how it begins, or its domain."""

    #: As ``recipient_folded`` has it.
    text: str
    part: Part
    fields = ("recipient_folded",)

    def matches(self, facts: Facts) -> bool:
        """Whether it is the recipient's."""
        if self.part is Part.WHOLE:
            return facts.recipient_folded == self.text
        if self.part is Part.BEGINNING:
            return facts.recipient_folded.startswith(self.text)
        return facts.recipient_folded.endswith(self.text)


@dataclass(frozen=True)
class From(OfAnyStatus):
    """The sender, which is one and the same for all mail of an application."""

    text: str
    is_sender: bool
    fields = ()

    def matches(self, facts: Facts) -> bool:  # noqa: ARG002 - the same for all
        """Whether the text is in the sender."""
        return self.is_sender


@dataclass(frozen=True)
class Subject(OfAnyStatus):
    """Text in the subject."""

    text: str
    fields = ("subject",)

    def matches(self, facts: Facts) -> bool:
        """Whether it is in it."""
        return self.text in folded(facts.subject or "")


@dataclass(frozen=True)
class Word(OfAnyStatus):
    """Text in the recipient's address or in the subject."""

    text: str
    fields = ("recipient", "recipient_folded", "subject")

    @classmethod
    def of(cls, text: str) -> Word:
        """The word as it was typed."""
        return cls(folded(text))

    def matches(self, facts: Facts) -> bool:
        """Whether it is in one of them."""
        return (
            self.text in facts.recipient_folded
            or self.text in folded(facts.subject or "")
            or (not facts.recipient.isascii() and self.text in folded(facts.recipient))
        )


@dataclass(frozen=True)
class Kind(OfAnyStatus):
    """What the mail is for."""

    name: str
    fields = ("kind",)

    @classmethod
    def of(cls, text: str) -> Kind:
        """The kind by its name, or as the page spells it."""
        return cls(_spelled(text))

    def matches(self, facts: Facts) -> bool:
        """Whether it is this kind."""
        return _spelled(facts.kind) == self.name


def _spelled(kind: str) -> str:
    return folded(kind).replace(" ", "_").replace("-", "_")


@dataclass(frozen=True)
class Error:
    """Text in what went wrong: the server's words, or the name of the reason."""

    text: str
    statuses = NOT_SENT
    fields = ("status", "reason", "last_error")

    def matches(self, facts: Facts) -> bool:
        """Whether it is in one of them."""
        if facts.status == Status.SENT:
            return False
        reason = (facts.reason or "").replace("_", " ")
        return self.text.replace("_", " ") in reason or self.text in folded(facts.last_error or "")


@dataclass(frozen=True)
class Code:
    """The SMTP code of the last reply (RFC 5321 section 4.2), within bounds."""

    lowest: int
    highest: int
    fields = ("status", "last_code")

    @property
    def statuses(self) -> frozenset[Status]:
        """A refusal is none of mail that was accepted."""
        return NOT_SENT if self.lowest >= 400 else ALL

    def matches(self, facts: Facts) -> bool:
        """Whether the code is within them."""
        if facts.last_code is None or facts.status not in self.statuses:
            return False
        return self.lowest <= facts.last_code <= self.highest


@dataclass(frozen=True)
class EnhancedCode:
    """The enhanced code (RFC 3463) before the server's words, or how it begins."""

    text: str
    statuses = NOT_SENT
    fields = ("status", "last_error")

    def matches(self, facts: Facts) -> bool:
        """Whether the last error begins with it."""
        code = (facts.last_error or "").partition(" ")[0]
        return facts.status != Status.SENT and f"{code}.".startswith(f"{self.text}.")


@dataclass(frozen=True)
class Ids(OfAnyStatus):
    """A range of ids: one, how it begins, or when the mail was asked for, which ids begin with."""

    lowest: uuid.UUID
    highest: uuid.UUID
    fields = ()

    @classmethod
    def since(cls, moment: datetime) -> Ids:
        """The ids of what was asked for at ``moment`` or after it."""
        return cls(_first(moment), HIGHEST)

    @classmethod
    def until(cls, moment: datetime) -> Ids:
        """The ids of what was asked for before ``moment``."""
        return cls(LOWEST, uuid.UUID(int=max(_first(moment).int - 1, 0)))

    def matches(self, facts: Facts) -> bool:
        """Whether the id is within it."""
        return self.lowest <= facts.id <= self.highest


LOWEST, HIGHEST = uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)


def _first(moment: datetime) -> uuid.UUID:
    """Below every id of ``moment``: 48 bits of milliseconds come first (RFC 9562 section 5.7)."""
    milliseconds = (moment - _EPOCH) // timedelta(milliseconds=1)
    return uuid.UUID(int=min(max(milliseconds, 0), 2**48 - 1) << 80)


@dataclass(frozen=True)
class Header(OfAnyStatus):
    """The Message-ID of the mail."""

    text: str
    fields = ("message_id_header",)

    def matches(self, facts: Facts) -> bool:
        """Whether it is this one."""
        return facts.message_id_header == self.text


@dataclass(frozen=True)
class Attempts(OfAnyStatus):
    """How often delivery was tried."""

    comparison: str
    number: int
    fields = ("attempts",)

    def matches(self, facts: Facts) -> bool:
        """Whether it was so often."""
        return COMPARISONS[self.comparison](facts.attempts, self.number)


COMPARISONS: dict[str, Callable[[int, int], bool]] = {
    ">=": lambda one, other: one >= other,
    "<=": lambda one, other: one <= other,
    ">": lambda one, other: one > other,
    "<": lambda one, other: one < other,
    "=": lambda one, other: one == other,
}
