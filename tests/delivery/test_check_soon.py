"""A check that a request waits for ends in time, and is alone in its process."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from flask_courier.core.steps import State, Step
from flask_courier.delivery.check_soon import SoonCheck

Note = Callable[[Step], None]

FIRST = Step("first", State.OK, "It is there.")
SECOND = Step("second", State.OK, "It is there too.")
ENOUGH = 20.0


@contextmanager
def stuck(*, longest: float) -> Iterator[tuple[SoonCheck, threading.Event]]:
    """A check that takes its first step and then waits for the end of the block."""
    go, begun, over = threading.Event(), threading.Event(), threading.Event()

    def take(note: Note) -> None:
        note(FIRST)
        begun.set()
        go.wait(ENOUGH)
        over.set()

    yield SoonCheck(take, longest=longest), begun
    go.set()
    assert over.wait(ENOUGH)


def names(steps: object) -> list[str]:
    """What the steps are called."""
    assert isinstance(steps, list)
    return [step.name for step in steps]


def test_every_step() -> None:
    """A check that ends in time answers all its steps and nothing else."""

    def take(note: Note) -> None:
        note(FIRST)
        note(SECOND)

    assert [FIRST, SECOND] == SoonCheck(take)()


def test_late_check_is_left() -> None:
    """One that does not end in time answers what it knows, and that it was left."""
    with stuck(longest=0.01) as (check, begun):
        answered = check()
        assert begun.wait(ENOUGH)
    assert answered is not None
    assert "time" == names(answered)[-1]
    assert State.WARNING is answered[-1].state


def test_one_at_a_time() -> None:
    """While a check is at work, even one that was left, no other begins."""
    with stuck(longest=0.01) as (check, _begun):
        check()
        assert check() is None


def test_next_one_after_the_end() -> None:
    """When a check is over, the next one begins."""
    check = SoonCheck(lambda note: note(FIRST))
    assert ([FIRST], [FIRST]) == (check(), check())


def test_broken_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that raises is told as failed, and stands in nobody's way."""
    raised: list[str] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(str(args.exc_value)))

    def take(note: Note) -> None:
        note(FIRST)
        raise OSError("the disk is gone")

    check = SoonCheck(take)
    assert (["first", "check"], ["first", "check"]) == (names(check()), names(check()))
    assert ["the disk is gone"] * 2 == raised
