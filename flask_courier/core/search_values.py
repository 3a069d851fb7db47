"""What may follow each operator of a search, as people write it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

from flask_courier.core.accounts import fold, search_key
from flask_courier.core.search_facts import Meaning, folded
from flask_courier.core.search_meanings import (
    Attempts,
    Code,
    EnhancedCode,
    Error,
    From,
    Header,
    Ids,
    Kind,
    Part,
    Subject,
    To,
    Word,
)
from flask_courier.core.search_states import STATES, State
from flask_courier.core.status import Status

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGO = re.compile(r"-([0-9]{1,5})([mhdw])")
_DAYS = {"today": 0, "yesterday": 1}
#: What Python 3.10 reads of ISO 8601, which is enough: 2026-11-29 and 2026-11-29T14:30:05+01:00.
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ Tt][0-9:.+-]*[Zz]?)?")
_CODE = re.compile(r"([2-5])([0-9]{2}|[xX]{2})")
_ENHANCED = re.compile(r"[245](\.[0-9]{1,3}){1,2}")
_ATTEMPTS = re.compile(r"(>=|<=|>|<|=)?\s*([0-9]{1,9})")
_ADDRESS = re.compile(r"[^@]+@[^@]+\.[^@]+")
_DOMAIN = re.compile(r"@[^@]+\.[^@]+")
_HEX = re.compile(r"[0-9a-f]{4,32}")


class Misread(Exception):
    """What was typed cannot be understood; its text is a sentence that says what to write."""


@dataclass(frozen=True)
class Viewpoint:
    """Whose search it is, and when."""

    now: datetime
    #: Where "today" begins.
    zone: tzinfo
    #: Who all mail is from.
    sender: str


def read_word(text: str) -> Meaning:
    """A free word: a whole address or a domain is the recipient's, all else is text."""
    if _ADDRESS.fullmatch(text):
        return To(search_key(text), Part.WHOLE)
    return To(_domain(text), Part.DOMAIN) if _DOMAIN.fullmatch(text) else Word.of(text)


def _to(text: str, _viewpoint: Viewpoint) -> Meaning:
    if text.startswith("@"):
        if not text.strip("@* "):
            raise Misread("Write the domain after @, as in to:@example.com.")
        return To(_domain(text), Part.DOMAIN)
    if text.endswith("*"):
        return To(folded(text[:-1]), Part.BEGINNING)
    if _ADDRESS.fullmatch(text):
        return To(search_key(text), Part.WHOLE)
    return To(folded(text), Part.BEGINNING)


def _domain(text: str) -> str:
    return "@" + fold(f"x@{text[1:]}").partition("@")[2]


def _from(text: str, viewpoint: Viewpoint) -> Meaning:
    return From(folded(text), folded(text) in folded(viewpoint.sender))


def _subject(text: str, _viewpoint: Viewpoint) -> Meaning:
    return Subject(folded(text))


def _kind(text: str, _viewpoint: Viewpoint) -> Meaning:
    return Kind.of(text)


def _status(text: str, viewpoint: Viewpoint) -> Meaning:
    name, known = text.lower(), [*Status, *STATES]
    if name not in known:
        raise Misread(f"There is no status {text!r}: it is {', '.join(map(str, known))}.")
    return State(name, viewpoint.now)


def _error(text: str, _viewpoint: Viewpoint) -> Meaning:
    return Error(folded(text))


def _code(text: str, _viewpoint: Viewpoint) -> Meaning:
    found = _CODE.fullmatch(text)
    if found is not None:
        first = int(found[1]) * 100
        if found[2].isdigit():
            return Code(first + int(found[2]), first + int(found[2]))
        return Code(first, first + 99)
    if not _ENHANCED.fullmatch(text):
        raise Misread("A code is 550, 4xx, 5.1.1 or 5.7, for example.")
    return EnhancedCode(text)


def _id(text: str, _viewpoint: Viewpoint) -> Meaning:
    digits = text.replace("-", "").lower()
    if not _HEX.fullmatch(digits):
        raise Misread("An id is as a message's page shows it, or its first digits, at least 4.")
    return Ids(uuid.UUID(digits.ljust(32, "0")), uuid.UUID(digits.ljust(32, "f")))


def _header(text: str, _viewpoint: Viewpoint) -> Meaning:
    return Header(f"<{text.strip('<> ')}>")


def _after(text: str, viewpoint: Viewpoint) -> Meaning:
    return Ids.since(_moment(text, viewpoint))


def _before(text: str, viewpoint: Viewpoint) -> Meaning:
    return Ids.until(_moment(text, viewpoint))


def _moment(text: str, viewpoint: Viewpoint) -> datetime:
    word = text.lower()
    try:
        if word in _DAYS:
            today = viewpoint.now.astimezone(viewpoint.zone).replace(
                hour=0, minute=0, second=0, microsecond=0, tzinfo=None
            )
            # Without a zone meanwhile: a day with a change of clocks has no 24 hours.
            day = today - timedelta(days=_DAYS[word])
            return day.replace(tzinfo=viewpoint.zone)
        ago = _AGO.fullmatch(word)
        if ago is not None:
            return viewpoint.now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
        if _DATE.fullmatch(text):
            moment = datetime.fromisoformat(text.upper().replace("Z", "+00:00"))
            moment = moment if moment.tzinfo else moment.replace(tzinfo=viewpoint.zone)
            # Raises where the year has no equal in UTC.
            return moment.astimezone(viewpoint.now.tzinfo)
    except (ValueError, OverflowError):
        pass
    raise Misread(
        f"{text!r} is no time: write today, yesterday, -2h, -7d, 2026-11-29 or 2026-11-29T14:30."
    )


def _attempts(text: str, _viewpoint: Viewpoint) -> Meaning:
    found = _ATTEMPTS.fullmatch(text)
    if found is None:
        raise Misread("attempts: takes a number, alone or after >, <, >= or <=, as in attempts:>2.")
    return Attempts(found[1] or "=", int(found[2]))


#: By operator, in the order in which they are explained.
READERS: dict[str, Callable[[str, Viewpoint], Meaning]] = {
    "to": _to,
    "from": _from,
    "subject": _subject,
    "kind": _kind,
    "status": _status,
    "error": _error,
    "code": _code,
    "id": _id,
    "msgid": _header,
    "after": _after,
    "before": _before,
    "attempts": _attempts,
}
