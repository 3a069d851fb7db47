"""How long a transport that failed is left alone."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.breaker import wait_after
from flask_courier.core.replies import TRANSPORT_OUTCOMES, Outcome

#: No jitter either way.
EVEN = 0.5

transport_outcomes = st.sampled_from(sorted(TRANSPORT_OUTCOMES))
counters = st.integers(1, 10**9)
jitters = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize(
    ("outcome", "seconds"),
    [
        (Outcome.TRANSPORT_FAULT, [5, 10, 20, 40, 80, 160, 300, 300]),
        (Outcome.THROTTLED, [5, 10, 20, 40, 80, 160, 300, 300]),
        (Outcome.OPERATOR_FAULT, [60, 120, 240, 480, 960, 1920, 3600, 3600]),
    ],
)
def test_wait_doubles_up_to_its_cap(outcome: Outcome, seconds: list[int]) -> None:
    """Each fault in a row doubles the wait: seconds for a network, minutes for a person."""
    waits = [wait_after(outcome, faults, jitter=EVEN) for faults in range(1, 9)]
    assert [timedelta(seconds=each) for each in seconds] == waits


@given(outcome=transport_outcomes, faults=counters, jitter=jitters)
def test_jitter_is_a_quarter_either_way(outcome: Outcome, faults: int, jitter: float) -> None:
    """Workers of many sites do not come back in the same second, and none comes much sooner."""
    plain = wait_after(outcome, faults, jitter=EVEN)
    assert plain * 0.75 <= wait_after(outcome, faults, jitter=jitter) <= plain * 1.25


@given(outcome=transport_outcomes, faults=counters, jitter=jitters)
def test_more_faults_never_wait_less(outcome: Outcome, faults: int, jitter: float) -> None:
    """A fault more does not bring the next probe closer."""
    sooner, later = (wait_after(outcome, each, jitter=jitter) for each in (faults, faults + 1))
    assert sooner <= later


@pytest.mark.parametrize(("hint", "waited"), [(2, 5), (90, 90), (7200, 3600)])
def test_hint_only_lengthens_a_wait_and_up_to_an_hour(hint: int, waited: int) -> None:
    """A server's word is taken if it asks for more time, but not for days."""
    wait = wait_after(Outcome.THROTTLED, 1, jitter=EVEN, hint=timedelta(seconds=hint))
    assert timedelta(seconds=waited) == wait


def test_hint_cap_does_not_shorten_a_longer_wait() -> None:
    """An hour and a quarter, by jitter, stays so under a hint of a day."""
    wait = wait_after(Outcome.OPERATOR_FAULT, 9, jitter=0.99, hint=timedelta(days=1))
    assert timedelta(minutes=60) * (0.75 + 0.99 / 2) == wait


@pytest.mark.parametrize("outcome", sorted(set(Outcome) - TRANSPORT_OUTCOMES))
def test_outcome_of_a_message_opens_no_breaker(outcome: Outcome) -> None:
    """What says nothing of the transport is refused, and the error names what would do."""
    with pytest.raises(ValueError, match="call this only for one of: transport_fault, throttled"):
        wait_after(outcome, 1, jitter=EVEN)
