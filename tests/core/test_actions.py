"""What may be done with a message, and when."""

from __future__ import annotations

import pytest

from flask_courier.core.actions import (
    STATUSES,
    WHY_NOT,
    Action,
    Obstacle,
    Standing,
    obstacle,
    possible,
)
from flask_courier.core.status import FINAL, Status


def standing(status: str, reason: str | None = None, **told: bool) -> Standing:
    """A message that is due and has its text, unless it is told."""
    return Standing(Status(status), reason, **{"is_due": True, "has_content": True, **told})


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (standing("queued", is_due=False), ["retry", "cancel"]),
        (standing("queued"), ["cancel"]),
        (standing("processing"), []),
        (standing("sent"), ["resend", "delete-content"]),
        (standing("sent", has_content=False), ["resend"]),
        (standing("abandoned", "retries_exhausted"), ["retry", "resend", "delete-content"]),
        (standing("abandoned", "rejected"), ["resend", "delete-content"]),
        (standing("held", "outcome_unknown"), ["retry", "resend", "delete-content"]),
        (standing("suppressed", "no_account", has_content=False), ["resend"]),
        (standing("expired"), ["resend", "delete-content"]),
        (standing("cancelled", "operator"), ["resend", "delete-content"]),
    ],
)
def test_possible(message: Standing, expected: list[str]) -> None:
    """Each standing has its actions, in this order."""
    assert expected == possible(message)


@pytest.mark.parametrize(
    ("action", "message", "expected"),
    [
        (Action.RETRY, standing("sent"), "wrong_status"),
        (Action.RETRY, standing("queued"), "due"),
        (Action.RETRY, standing("abandoned", "rejected"), "rejected"),
        (Action.CANCEL, standing("processing"), "wrong_status"),
        (Action.RESEND, standing("queued"), "wrong_status"),
        (Action.DELETE_CONTENT, standing("processing"), "wrong_status"),
        (Action.DELETE_CONTENT, standing("sent", has_content=False), "no_content"),
    ],
)
def test_obstacle(action: Action, message: Standing, expected: str) -> None:
    """What cannot be done has one reason."""
    assert expected == obstacle(action, message)


def test_every_status_that_is_done_can_be_sent_anew() -> None:
    """A person decides of each message that no worker will touch again."""
    assert FINAL == STATUSES[Action.RESEND]


@pytest.mark.parametrize("action", Action)
def test_every_obstacle_has_words(action: Action) -> None:
    """What an action can meet is told as the end of a sentence."""
    words = WHY_NOT[action]
    assert {Obstacle.NOT_FOUND, Obstacle.WRONG_STATUS, Obstacle.BUSY} <= set(words)
    assert [] == [text for text in words.values() if text[0].isupper() or text.endswith(".")]


@pytest.mark.parametrize("member", [*Action, *Obstacle])
def test_reads_as_its_value(member: Action | Obstacle) -> None:
    """An action and an obstacle in JSON are their values."""
    assert member.value == str(member)
