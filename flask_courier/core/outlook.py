"""Where a message stands, in plain words: what that means, whose side it is on, what to do.

A failed attempt explains itself by its cause (``core.causes``). The rows here are for everything
that is no answer of a server: what waits, what was never sent on purpose, what nobody opened.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from flask_courier.core.actions import Action
from flask_courier.core.cause import Cause, Side
from flask_courier.core.outlook_rows import OUTLOOKS
from flask_courier.core.status import Status
from flask_courier.core.tokens import Ending


class Link(str, enum.Enum):
    """What became of the link and the code of a mail that an SMTP server accepted."""

    UNOPENED = "unopened"
    OPENED = "opened"
    #: It ran out before anybody fetched it.
    NEVER_OPENED = "never_opened"
    #: It was fetched, and ran out before it was used.
    NOT_COMPLETED = "not_completed"
    USED = "used"
    REPLACED = "replaced"
    DISOWNED = "disowned"

    def __str__(self) -> str:
        return self.value


_ENDED: Mapping[Ending, Link] = {
    Ending.USED: Link.USED,
    Ending.REPLACED: Link.REPLACED,
    Ending.DISOWNED: Link.DISOWNED,
    # Nobody got the mail, and then the server turned out to have it: as if its time were over.
    Ending.UNDELIVERED: Link.NEVER_OPENED,
}


def link_of(*, opened: bool, good: bool, ended_as: Ending | None) -> Link:
    """What became of a link.

    :param opened: whether it was fetched.
    :param good: whether it can be used now.
    """
    if ended_as is not None:
        return _ENDED[ended_as]
    if good:
        return Link.OPENED if opened else Link.UNOPENED
    return Link.NOT_COMPLETED if opened else Link.NEVER_OPENED


@dataclass(frozen=True)
class Verdict:
    """What is said first of a message."""

    #: What became of it, in one sentence.
    headline: str
    #: What that means.
    meaning: str
    side: Side
    #: Whether it is tried again by itself.
    again: str
    #: The one sensible thing to do.
    step: str
    #: The button for it, if there is one.
    action: Action | None


#: Statuses from which a message moves on by itself.
MOVING = frozenset({Status.QUEUED, Status.PROCESSING})
_AGAIN = {
    Status.QUEUED: "Yes, by itself.",
    Status.PROCESSING: "It is being tried right now.",
}
_AGAIN_NEVER = "No."
#: Reasons that an attempt gave: what it ended with says more than they do.
_OF_ATTEMPT = frozenset(
    {
        "transport_fault",
        "operator_fault",
        "throttled",
        "deferred",
        "rejected",
        "retries_exhausted",
    }
)


def verdict(
    status: Status, reason: str | None, *, cause: Cause | None, link: Link | None, stays: bool
) -> Verdict:
    """What is said first of a message.

    :param cause: of the last attempt, if that failed.
    :param link: of a mail that carries one.
    :param stays: whether the mail was delivered into the log and nowhere else (``log:``).
    """
    word = reason
    if status is Status.SENT:
        word = "stayed" if stays else link and link.value
    row = OUTLOOKS.get((status, word)) or OUTLOOKS[status, None]
    again = _AGAIN.get(status, _AGAIN_NEVER)
    if cause is None or reason not in _OF_ATTEMPT:
        return Verdict(row.headline, row.meaning, row.side, again, row.step, row.action)
    if status in MOVING:
        step = cause.advice
    else:
        # "Nothing: it is tried again" is no advice for what is over.
        step = row.step if cause.passes else f"{cause.advice} {row.step}"
    return Verdict(row.headline, cause.meaning, cause.side, again, step, row.action)
