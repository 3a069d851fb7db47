"""What a person may do with a message: one table behind page, JSON and command line."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from flask_courier.core.status import FINAL, REJECTED, Status


class Action(str, enum.Enum):
    """Something that an operator does with a message."""

    #: Try it again: at once if it waits, with a new life if it was given up or is held.
    RETRY = "retry"
    #: Take it back before a worker has it.
    CANCEL = "cancel"
    #: Send a new message like it, prepared for the account as it is now.
    RESEND = "resend"
    #: Forget what the mail said; its row stays.
    DELETE_CONTENT = "delete-content"

    def __str__(self) -> str:
        return self.value


class Obstacle(str, enum.Enum):
    """Why an operator cannot do with a message what was asked."""

    #: There is no such message, or no more.
    NOT_FOUND = "not_found"
    #: See :data:`STATUSES`.
    WRONG_STATUS = "wrong_status"
    #: A rejected message is never retried (RFC 5321 section 4.2.1: 5yz is final), only resent.
    REJECTED = "rejected"
    #: Retry: a queued message that a worker may take at any moment has nothing to gain.
    DUE = "due"
    #: Resend: somebody has sent it anew since whoever asks has looked.
    RESENT = "resent"
    #: Delete content: nothing was written yet, or it is gone already.
    NO_CONTENT = "no_content"
    #: The idempotency key belongs to another message.
    KEY_TAKEN = "key_taken"
    #: Others were at the database's same rows, twice; asking again will do.
    BUSY = "busy"

    def __str__(self) -> str:
        return self.value


#: The statuses in which each action is possible at all.
STATUSES: dict[Action, frozenset[Status]] = {
    Action.RETRY: frozenset({Status.QUEUED, Status.ABANDONED, Status.HELD}),
    Action.CANCEL: frozenset({Status.QUEUED}),
    Action.RESEND: FINAL,
    # What may still be sent would be sent as something else.
    Action.DELETE_CONTENT: FINAL,
}

_EVERYWHERE = {
    Obstacle.NOT_FOUND: "there is no such message",
    Obstacle.BUSY: "somebody else was at it; try it once more",
}
#: The same in words, as the end of a sentence.
WHY_NOT: dict[Action, dict[Obstacle, str]] = {
    Action.RETRY: {
        **_EVERYWHERE,
        Obstacle.WRONG_STATUS: "it neither waits, nor was it given up, nor is it held",
        Obstacle.REJECTED: (
            "the server rejected it for good; correct the address, then send it anew"
        ),
        Obstacle.DUE: "it is due already: a worker takes it as soon as it can",
    },
    Action.CANCEL: {
        **_EVERYWHERE,
        Obstacle.WRONG_STATUS: "it does not wait: a worker has it, or it is done",
    },
    Action.RESEND: {
        **_EVERYWHERE,
        Obstacle.WRONG_STATUS: "it still waits or is being sent",
        Obstacle.RESENT: "it was sent anew already",
        Obstacle.KEY_TAKEN: "the key belongs to another message",
    },
    Action.DELETE_CONTENT: {
        **_EVERYWHERE,
        Obstacle.WRONG_STATUS: "it still waits or is being sent",
        Obstacle.NO_CONTENT: "there is no text of it",
    },
}


@dataclass(frozen=True)
class Standing:
    """What decides which actions a message is open to."""

    status: Status
    reason: str | None
    #: Whether a worker may take it now.
    is_due: bool
    has_content: bool


def obstacle(action: Action, standing: Standing) -> Obstacle | None:
    """Why ``action`` cannot be done with such a message, or None if it can."""
    if standing.status not in STATUSES[action]:
        return Obstacle.WRONG_STATUS
    if action is Action.RETRY and standing.status is Status.QUEUED:
        return Obstacle.DUE if standing.is_due else None
    if action is Action.RETRY and standing.reason == REJECTED:
        return Obstacle.REJECTED
    if action is Action.DELETE_CONTENT and not standing.has_content:
        return Obstacle.NO_CONTENT
    return None


def possible(standing: Standing) -> list[Action]:
    """The actions that such a message is open to, the most sensible first."""
    return [action for action in Action if obstacle(action, standing) is None]
