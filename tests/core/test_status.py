"""The states of a message: every move that exists, and every one that does not."""

from __future__ import annotations

import itertools

import pytest

from flask_courier.core import status
from flask_courier.core.errors import StatusError
from flask_courier.core.status import FINAL, TRANSITIONS, Status, advance

MOVES = {
    ("queued", "processing"),
    ("queued", "expired"),
    ("queued", "cancelled"),
    ("processing", "queued"),
    ("processing", "sent"),
    ("processing", "abandoned"),
    ("processing", "suppressed"),
    ("processing", "expired"),
    ("processing", "held"),
    ("abandoned", "queued"),
    ("held", "queued"),
}
ENDINGS = {
    "queued": "it may go to cancelled, expired, processing",
    "processing": "it may go to abandoned, expired, held, queued, sent, suppressed",
    "abandoned": "it may go to queued",
    "held": "it may go to queued",
}
PAIRS = list(itertools.product(Status, Status))


@pytest.mark.parametrize(("current", "target"), PAIRS)
def test_move_is_allowed_or_refused(current: Status, target: Status) -> None:
    """Each pair of statuses is a move of the table, or an error that says what is possible."""
    if (current.value, target.value) in MOVES:
        assert target is advance(current, target)
        return
    with pytest.raises(StatusError) as caught:
        advance(current, target)
    ending = ENDINGS.get(current.value, f"{current.value} is final")
    assert f"a message that is {current.value} cannot become {target.value}; {ending}" == str(
        caught.value
    )


def test_every_status_has_its_moves() -> None:
    """The table names every status."""
    assert set(Status) == set(TRANSITIONS)


def test_final_statuses_are_those_that_no_worker_leaves() -> None:
    """Everything but queued and processing is final."""
    assert set(Status) - {Status.QUEUED, Status.PROCESSING} == FINAL


@pytest.mark.parametrize("member", Status)
def test_status_reads_as_its_value(member: Status) -> None:
    """A status in a sentence, a row and a query string is its value."""
    assert member.value == str(member) == f"{member}" == member


def test_nothing_is_sent_unclaimed() -> None:
    """Whatever is sent was processing before: a lease is the only way to the wire."""
    assert {Status.PROCESSING} == {a for a in Status if Status.SENT in TRANSITIONS[a]}


STEPS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
#: An arrowhead, and the way from it back to where the arrow comes from.
HEADS = {"►": "left", "◄": "right", "▲": "down"}
#: Where the way goes on at a corner, by the way it came.
CORNERS = {
    ("└", "left"): "up",
    ("└", "down"): "right",
    ("┘", "right"): "up",
    ("┘", "down"): "left",
}


def drawn_moves(diagram: list[str]) -> set[tuple[str, str]]:
    """Every arrow of a diagram, followed from its head back to the word it comes from."""
    moves = set()
    for y, x in ((y, x) for y, row in enumerate(diagram) for x in range(len(row))):
        if (way := HEADS.get(diagram[y][x])) is None:
            continue
        back = STEPS[way]
        ahead = 2 if back[1] else 1  # a blank stands between a word and an arrow beside it
        target = named(diagram, y - back[0], x - back[1] * ahead)
        row, column = y + back[0], x + back[1]
        while not (source := named(diagram, row, column)):
            way = CORNERS.get((diagram[row][column], way), way)
            row, column = row + STEPS[way][0], column + STEPS[way][1]
        moves.add((source, target))
    return moves


def named(diagram: list[str], row: int, column: int) -> str:
    """The status at a place of the diagram, or nothing; places to its right are blank."""
    spans = ((s.value, at) for s in Status for at in starts(diagram[row], s.value))
    return next((word for word, at in spans if at <= column < at + len(word)), "")


def starts(row: str, word: str) -> list[int]:
    """Where ``word`` begins in ``row``."""
    return [at for at in range(len(row)) if row.startswith(word, at)]


def test_diagram_draws_the_table() -> None:
    """The arrows of the module's diagram are the moves of the table, no more and no less."""
    assert status.__doc__ is not None
    diagram = [line.split("(")[0] for line in status.__doc__.splitlines() if line[:4] == "    "]
    assert {(a.value, b.value) for a in Status for b in TRANSITIONS[a]} == drawn_moves(diagram)
