"""What becomes of a message after an attempt, and when the next one is."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_courier.core.replies import TRANSPORT_OUTCOMES, Outcome
from flask_courier.core.retry import Decision, Progress, counts, decide
from flask_courier.core.status import TRANSITIONS, Status

NOW = datetime(2026, 9, 27, 12, 0, tzinfo=timezone.utc)
FRESH = Progress(
    attempts=1,
    claims=1,
    unknown=0,
    dropped=0,
    repeatable=True,
    expires_at=NOW + timedelta(days=365),
)

outcomes = st.sampled_from(Outcome)
jitters = st.floats(0, 1, exclude_max=True)
counters = st.integers(0, 10**9)
progresses = st.builds(
    Progress,
    attempts=counters,
    claims=counters,
    unknown=counters,
    dropped=counters,
    repeatable=st.booleans(),
    expires_at=st.timedeltas(timedelta(days=-2), timedelta(days=400)).map(NOW.__add__),
)


def after(
    outcome: Outcome, progress: Progress = FRESH, *, retries: int = 5, jitter: float = 0.5
) -> Decision:
    """What ``decide`` says at noon."""
    return decide(outcome, progress, retries=retries, now=NOW, jitter=jitter)


def wait(decision: Decision) -> float:
    """Seconds until the next attempt."""
    assert decision.next_attempt_at is not None
    return (decision.next_attempt_at - NOW).total_seconds()


@given(outcome=outcomes, progress=progresses, retries=st.integers(0, 100), jitter=jitters)
def test_next_attempt_is_before_the_end(
    outcome: Outcome, progress: Progress, retries: int, jitter: float
) -> None:
    """A message is queued exactly if it has a next attempt, after now and before its end."""
    decision = decide(outcome, progress, retries=retries, now=NOW, jitter=jitter)
    due = decision.next_attempt_at
    assert (decision.status is Status.QUEUED) == (due is not None)
    assert due is None or NOW < due < progress.expires_at


@given(outcome=outcomes, progress=progresses, retries=st.integers(0, 100), jitter=jitters)
def test_every_decision_is_a_move_of_processing(
    outcome: Outcome, progress: Progress, retries: int, jitter: float
) -> None:
    """Whatever comes of an attempt, the message may go there from processing."""
    decision = decide(outcome, progress, retries=retries, now=NOW, jitter=jitter)
    assert decision.status in TRANSITIONS[Status.PROCESSING]


@given(progress=progresses, retries=st.integers(0, 100), jitter=jitters)
def test_accepted_is_always_sent(progress: Progress, retries: int, jitter: float) -> None:
    """An accepted message is sent, even after its time."""
    assert Decision(Status.SENT) == after(
        Outcome.ACCEPTED, progress, retries=retries, jitter=jitter
    )


@given(progress=progresses, retries=st.integers(0, 100), jitter=jitters)
def test_rejected_is_never_queued(progress: Progress, retries: int, jitter: float) -> None:
    """A rejected message is abandoned, however many retries are left."""
    expected = Decision(Status.ABANDONED, "rejected")
    assert expected == after(Outcome.REJECTED, progress, retries=retries, jitter=jitter)


@given(progress=progresses)
def test_transport_faults_never_exhaust_a_message(progress: Progress) -> None:
    """Whatever the transport does, only time ends the message."""
    lives = progress.expires_at - NOW > timedelta(seconds=1)
    expected = Status.QUEUED if lives else Status.EXPIRED
    for outcome in TRANSPORT_OUTCOMES:
        assert expected is after(outcome, progress, retries=0).status


def test_transport_faults_use_no_attempt() -> None:
    """Every outcome but those that speak of the transport counts as an attempt."""
    assert {
        Outcome.ACCEPTED,
        Outcome.DEFERRED,
        Outcome.REJECTED,
        Outcome.UNKNOWN,
    } == {o for o in Outcome if counts(o)}


@pytest.mark.parametrize(
    ("suspect", "status"), [(0, Status.QUEUED), (1, Status.QUEUED), (2, Status.ABANDONED)]
)
def test_third_dropped_connection_is_poison(suspect: int, status: Status) -> None:
    """A message whose third attempt ends the connection is abandoned, with retries left."""
    decision = after(Outcome.DEFERRED, replace(FRESH, dropped=suspect), retries=10**9)
    reason = "poison" if status is Status.ABANDONED else "deferred"
    assert (status, reason) == (decision.status, decision.reason)


def test_hint_makes_a_wait_longer() -> None:
    """A server that says when to come back is not asked before."""
    hinted = decide(
        Outcome.DEFERRED, FRESH, retries=5, now=NOW, jitter=0.5, hint=timedelta(seconds=300)
    )
    assert 300 == wait(hinted)


def test_hint_makes_no_wait_shorter() -> None:
    """A server that says to come back at once is not asked before our own wait is over."""
    hinted = decide(Outcome.DEFERRED, FRESH, retries=5, now=NOW, jitter=0.5, hint=timedelta(0))
    assert 20 == wait(hinted)


def test_hint_does_not_outlive_the_message() -> None:
    """A hint beyond the message's life is squeezed into three quarters of it."""
    progress = replace(FRESH, expires_at=NOW + timedelta(seconds=100))
    hinted = decide(
        Outcome.THROTTLED, progress, retries=5, now=NOW, jitter=0.5, hint=timedelta(hours=1)
    )
    assert 75 == wait(hinted)


@pytest.mark.parametrize(
    ("attempts", "retries", "status"),
    [
        (1, 0, Status.ABANDONED),
        (1, 1, Status.QUEUED),
        (2, 1, Status.ABANDONED),
        (5, 5, Status.QUEUED),
        (6, 5, Status.ABANDONED),
    ],
)
def test_deferred_is_retried_as_often_as_configured(
    attempts: int, retries: int, status: Status
) -> None:
    """``retries`` attempts follow the first one, and no more."""
    decision = after(Outcome.DEFERRED, replace(FRESH, attempts=attempts), retries=retries)
    reason = "deferred" if status is Status.QUEUED else "retries_exhausted"
    assert (status, reason) == (decision.status, decision.reason)


@pytest.mark.parametrize(
    ("attempts", "seconds"),
    [(0, 20), (1, 20), (2, 40), (3, 80), (4, 160), (8, 2560), (9, 3600), (10**9, 3600)],
)
def test_deferred_waits_double_up_to_an_hour(attempts: int, seconds: float) -> None:
    """In the middle of the jitter, waits are 20 s times a power of two, an hour at most."""
    decision = after(Outcome.DEFERRED, replace(FRESH, attempts=attempts), retries=10**9)
    assert seconds == wait(decision)


@pytest.mark.parametrize(
    ("claims", "seconds"), [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (10**9, 60)]
)
def test_fault_waits_double_up_to_a_minute(claims: int, seconds: float) -> None:
    """In the middle of the jitter, waits are 1 s times a power of two, a minute at most."""
    assert seconds == wait(after(Outcome.TRANSPORT_FAULT, replace(FRESH, claims=claims)))


@given(steps=st.integers(0, 10**6), jitter=jitters)
def test_waits_never_shrink(steps: int, jitter: float) -> None:
    """With the same jitter, one failure more never makes the wait shorter."""
    for outcome in (Outcome.DEFERRED, Outcome.TRANSPORT_FAULT):
        progress = replace(FRESH, attempts=steps, claims=steps)
        later = replace(FRESH, attempts=steps + 1, claims=steps + 1)
        waits = [wait(after(outcome, p, retries=10**9, jitter=jitter)) for p in (progress, later)]
        assert waits == sorted(waits)


@given(jitter=jitters)
@example(jitter=0.0)
def test_jitter_is_a_quarter_either_way(jitter: float) -> None:
    """A wait is between 0.75 and 1.25 of the plain one."""
    seconds = wait(after(Outcome.DEFERRED, jitter=jitter))
    assert pytest.approx(20 * (0.75 + jitter / 2), abs=1e-5) == seconds
    assert 15 <= seconds <= 25


@pytest.mark.parametrize("outcome", [Outcome.DEFERRED, Outcome.TRANSPORT_FAULT, Outcome.UNKNOWN])
@pytest.mark.parametrize(
    ("left", "seconds"), [(0.0, None), (1.0, None), (1.000001, 0.75), (8.0, 6.0)]
)
def test_wait_is_squeezed_into_what_is_left(
    outcome: Outcome, left: float, seconds: float | None
) -> None:
    """The last quarter of a message's life stays free; in its last second it expires."""
    progress = replace(FRESH, claims=20, expires_at=NOW + timedelta(seconds=left))
    decision = after(outcome, progress)
    if seconds is None:
        assert Status.EXPIRED is decision.status
        assert decision.next_attempt_at is None
    else:
        assert pytest.approx(seconds, abs=2e-6) == wait(decision)


@pytest.mark.parametrize(
    ("repeatable", "unknown", "expected"),
    [
        (True, 0, Decision(Status.QUEUED, "outcome_unknown", NOW + timedelta(seconds=60))),
        (True, 1, Decision(Status.HELD, "outcome_unknown")),
        (False, 0, Decision(Status.HELD, "outcome_unknown")),
        (False, 1, Decision(Status.HELD, "outcome_unknown")),
    ],
)
def test_unknown_is_repeated_once_if_that_does_no_harm(
    repeatable: bool,  # noqa: FBT001 - a parameter of the test
    unknown: int,
    expected: Decision,
) -> None:
    """Mail that shows the same link twice is repeated once; a notice is held at once."""
    progress = replace(FRESH, repeatable=repeatable, unknown=unknown)
    assert expected == after(Outcome.UNKNOWN, progress)


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.DEFERRED, "deferred"),
        (Outcome.TRANSPORT_FAULT, "transport_fault"),
        (Outcome.UNKNOWN, "outcome_unknown"),
        (Outcome.THROTTLED, "throttled"),
        (Outcome.OPERATOR_FAULT, "operator_fault"),
    ],
)
def test_waiting_message_tells_why(outcome: Outcome, reason: str) -> None:
    """A message that waits, or expires instead, names the outcome that made it wait."""
    expired = replace(FRESH, expires_at=NOW)
    assert [reason, reason] == [after(outcome).reason, after(outcome, expired).reason]
