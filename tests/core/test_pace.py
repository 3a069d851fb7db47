"""How fast a worker sends: what it learns from a server that refuses, in virtual time."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.pace import Pace

SESSIONS = 8
#: Virtual seconds of a run, and how many of them a worker has to find the limit.
RUN = 100.0
SETTLED = 20.0


class Server(Protocol):
    """A server that takes so many messages a second."""

    limit: int

    def takes(self, now: float) -> bool:
        """Whether it takes a message that comes now."""
        ...


@dataclass
class FixedWindow:
    """So many in each second of the server's clock, which is not ours."""

    limit: int
    second: float = -1.0
    count: int = 0

    def takes(self, now: float) -> bool:
        """Whether this second has room."""
        if (now + 0.37) // 1 != self.second:
            self.second, self.count = (now + 0.37) // 1, 0
        if self.count == self.limit:
            return False
        self.count += 1
        return True


@dataclass
class SlidingWindow:
    """So many in any second."""

    limit: int
    taken: deque[float] = field(default_factory=deque[float])

    def takes(self, now: float) -> bool:
        """Whether the last second has room."""
        while self.taken and self.taken[0] <= now - 1:
            self.taken.popleft()
        if len(self.taken) >= self.limit:
            return False
        self.taken.append(now)
        return True


@dataclass
class Bucket:
    """A bucket that holds ``depth`` seconds' worth, or two messages, and fills at the limit."""

    limit: int
    depth: float
    tokens: float = 0.0
    filled: float = -60.0

    def takes(self, now: float) -> bool:
        """Whether a whole token is in the bucket."""
        room = max(2.0, self.depth * self.limit)
        self.tokens = min(room, self.tokens + (now - self.filled) * self.limit)
        self.filled = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


SERVERS: dict[str, Callable[[int], Server]] = {
    "fixed window": FixedWindow,
    "sliding window": SlidingWindow,
    "deep bucket": lambda limit: Bucket(limit, 1.0),
    "shallow bucket": lambda limit: Bucket(limit, 0.1),
}


@dataclass
class Run:
    """When messages were taken and refused."""

    taken: list[float] = field(default_factory=list[float])
    refused: list[float] = field(default_factory=list[float])

    def rate(self, start: float, length: float = 10.0) -> float:
        """Messages a second taken in a window."""
        return sum(1 for moment in self.taken if start <= moment < start + length) / length

    def share_refused(self, start: float) -> float:
        """The share of refusals from ``start`` on."""
        refused = sum(1 for moment in self.refused if moment >= start)
        return refused / (refused + sum(1 for moment in self.taken if moment >= start))


def simulate(
    server: Server,
    *,
    slowest: float,
    until: float = RUN,
    seed: int = 0,
    change: tuple[float, int] | None = None,
) -> Run:
    """A backlog without end, sent by eight sessions that take 2 ms to ``slowest`` a message.

    The server decides on the way. ``change`` is when its limit changes, and to what.
    """
    pace = Pace(SESSIONS)
    random = Random(seed)  # noqa: S311 - a simulation repeats itself
    run = Run()
    free = SESSIONS
    # What happens next: at the server, or back here with the answer; None is our own timer.
    order = 0
    events: list[tuple[float, int, str, bool]] = []

    def at(moment: float, what: str, answer: bool = False) -> None:  # noqa: FBT001, FBT002
        nonlocal order
        order += 1
        heapq.heappush(events, (moment, order, what, answer))

    at(0.0, "timer")
    waiting = True
    while events[0][0] < until:
        now, _, what, answer = heapq.heappop(events)
        if what == "timer":
            waiting = False
        elif what == "server":
            if change is not None and now >= change[0]:
                server.limit = change[1]
            answer = server.takes(now)
            (run.taken if answer else run.refused).append(now)
            at(now + random.uniform(0.001, slowest / 2), "answer", answer)
        elif answer:
            pace.accepted(now)
            free += 1
        else:
            pace.throttled(now, hint=None, sessions=SESSIONS - free)
            free += 1
        while free and not waiting:
            delay = pace.delay(now)
            if delay > 0:
                at(now + delay, "timer")
                waiting = True
                break
            pace.started(now)
            free -= 1
            at(now + random.uniform(0.001, slowest / 2), "server")
    return run


#: Messages a second, and how long a session may take: at 500 it must be quick, or eight sessions
#: could not reach the limit.
LIMITS = [(5, 0.050), (20, 0.050), (100, 0.050), (500, 0.020)]


@pytest.mark.parametrize(("limit", "slowest"), LIMITS)
@pytest.mark.parametrize("kind", SERVERS)
@pytest.mark.parametrize("seed", [1, 2])
def test_rate_settles_just_under_the_limit(
    kind: str, limit: int, slowest: float, seed: int
) -> None:
    """From 20 s on, any 10 s bring nine tenths of the limit, at under 2 % of refusals."""
    run = simulate(SERVERS[kind](limit), slowest=slowest, seed=seed)
    starts = [SETTLED + 2.5 * step for step in range(int((RUN - SETTLED - 10) / 2.5) + 1)]
    assert min(run.rate(start) for start in starts) >= 0.9 * limit
    assert run.share_refused(SETTLED) < 0.02


@pytest.mark.parametrize(("limit", "slowest"), LIMITS)
@pytest.mark.parametrize("kind", SERVERS)
def test_limit_is_found_at_the_cost_of_few_refusals(kind: str, limit: int, slowest: float) -> None:
    """Until the rate has settled no more are refused than the limit lets through in two seconds."""
    run = simulate(SERVERS[kind](limit), slowest=slowest, until=SETTLED)
    assert len(run.refused) <= 2 * limit + 2 * SESSIONS


def test_limit_that_is_never_reached_holds_nothing_back() -> None:
    """Eight sessions at work all the time take what eight sessions can."""
    run = simulate(SlidingWindow(10_000), slowest=0.050, until=20)
    assert [] == run.refused
    # A message takes 26 ms in the mean.
    assert run.rate(5) == pytest.approx(SESSIONS / 0.026, rel=0.05)


@pytest.mark.parametrize(("before", "after"), [(100, 20), (20, 100)])
def test_limit_that_changes_is_found(before: int, after: int) -> None:
    """A lower limit at once, a higher one within minutes."""
    server = SlidingWindow(before)
    run = simulate(server, slowest=0.050, until=400, change=(60, after))
    assert run.rate(50) == pytest.approx(before, rel=0.1)
    assert run.rate(85 if after < before else 300) == pytest.approx(after, rel=0.1)


def limited(rate: float = 100.0) -> Pace:
    """A pace that was refused once, at second 1, after ``rate`` messages in the second before."""
    pace = Pace(SESSIONS)
    for number in range(int(rate)):
        pace.started(0.5)
        pace.accepted(0.5 + number * 1e-6)
    pace.throttled(1.0, hint=None, sessions=1)
    return pace


def gap(pace: Pace, now: float) -> float:
    """Seconds between two messages, once what was saved up by ``now`` is used."""
    while pace.delay(now) == 0.0:
        pace.started(now)
    now += pace.delay(now)
    pace.started(now)
    return pace.delay(now)


def after_a_flood(pace: Pace, now: float) -> float:
    """Seconds to the next message after ten thousand at once: 0.0 if nothing is held back."""
    for _ in range(10_000):
        pace.delay(now)
        pace.started(now)
    return pace.delay(now)


def test_nothing_is_held_back_at_first() -> None:
    """A server that never complains gets mail as fast as it takes it."""
    pace = Pace(SESSIONS)
    for _ in range(1000):
        pace.started(7.0)
    assert (0.0, SESSIONS) == (pace.delay(7.0), pace.connections)


def test_first_refusal_sets_the_rate_to_what_was_taken() -> None:
    """A hundred in the last second: 95 a second from now on, and none at once."""
    assert limited(100).delay(1.0) == pytest.approx(1 / 95)


def test_refusal_before_anything_was_taken_is_one_a_second() -> None:
    """Nothing is known then but that it was too much."""
    pace = Pace(SESSIONS)
    pace.throttled(0.0, hint=None, sessions=1)
    assert pace.delay(0.0) == pytest.approx(1 / 0.95)


def test_refusals_of_one_burst_count_once() -> None:
    """Eight sessions that are refused together lower the rate once."""
    pace = limited(100)
    for step in range(8):
        pace.throttled(1.0 + step * 0.1, hint=None, sessions=8 - step)
    assert pace.delay(1.0) == pytest.approx(1 / 95)


def test_refusals_of_stragglers_count_once_however_late() -> None:
    """What was on the wire when the rate fell says nothing of the new one; the next one does."""
    pace = Pace(SESSIONS)
    pace.throttled(0.0, hint=None, sessions=3)
    pace.throttled(5.0, hint=None, sessions=2)
    pace.throttled(6.0, hint=None, sessions=1)
    stragglers = gap(pace, 6.0)
    pace.throttled(9.0, hint=None, sessions=1)
    assert [1 / 0.95, 1 / (0.95**2 / 2)] == pytest.approx([stragglers, gap(pace, 9.0)])


def test_rate_never_falls_below_one_in_five_seconds() -> None:
    """A server that refuses everything for an hour does not stop mail for good."""
    pace = limited(100)
    for second in range(3, 3600, 2):
        pace.throttled(float(second), hint=None, sessions=1)
    assert gap(pace, 3600.0) == pytest.approx(5.0)


def test_message_taken_after_a_long_refusal_is_no_flood() -> None:
    """One message that gets through at the lowest rate does not set everything free."""
    pace = limited(100)
    for second in range(3, 3600, 2):
        pace.throttled(float(second), hint=None, sessions=1)
    pace.accepted(3700.0)
    assert gap(pace, 3700.0) == pytest.approx(5.0 / 2 ** (1 / 3))


@pytest.mark.parametrize(("hint", "paused"), [(0.0, 0.0), (42.0, 42.0), (86_400.0, 300.0)])
def test_hint_pauses_all_sending(hint: float, paused: float) -> None:
    """For as long as the server said, up to five minutes."""
    pace = Pace(SESSIONS)
    for _ in range(100):
        pace.accepted(10.0)
    pace.throttled(10.0, hint=hint, sessions=1)
    assert pace.delay(10.0) == pytest.approx(max(paused, 1 / 95))


def test_hint_of_a_straggler_counts() -> None:
    """Though its refusal does not lower the rate; and a shorter hint takes nothing back."""
    pace = limited()
    pace.throttled(1.1, hint=60.0, sessions=1)
    pace.throttled(1.2, hint=5.0, sessions=1)
    assert pace.delay(1.2) == pytest.approx(59.9)


def test_pause_ends_without_a_flood() -> None:
    """After it at most a twentieth of a second's worth goes out at once."""
    pace = limited(100)
    pace.throttled(1.1, hint=60.0, sessions=1)
    burst = 0
    while pace.delay(100.0) == 0.0:
        pace.started(100.0)
        burst += 1
    assert 1 <= burst <= 100 * 0.1


def test_limit_is_forgotten_after_half_an_hour() -> None:
    """With hardly any mail the rate cannot prove itself, but time passes."""
    pace = limited(2)
    before = gap(pace, 1790.0)
    after = after_a_flood(pace, 1801.0)
    assert [1 / 1.9, 0.0] == pytest.approx([before, after])


def test_limit_is_forgotten_when_the_rate_has_outgrown_it() -> None:
    """After ten doubling times or so of mail that is taken, nothing is held back any more."""
    pace = limited(100)
    now = 1.0
    while now < 20.0:
        now += max(0.001, pace.delay(now))
        pace.started(now)
        pace.accepted(now)
    assert after_a_flood(pace, now) == 0.0


def test_rate_that_is_not_used_does_not_grow() -> None:
    """Who has sent next to nothing in a quarter of an hour has not shown that more is taken."""
    pace = limited(100)
    pace.started(900.0)
    pace.accepted(900.0)
    assert gap(pace, 900.0) == pytest.approx(1 / 95, rel=0.01)


def test_refused_session_lowers_their_number_by_one() -> None:
    """The eighth was too many: seven."""
    pace = Pace(SESSIONS)
    pace.too_many(0.0, 8)
    assert pace.connections == 7


def test_sessions_refused_together_come_to_what_was_left() -> None:
    """Four of eight that open at once are refused: four."""
    pace = Pace(SESSIONS)
    for step, sessions in enumerate((8, 7, 6, 5)):
        pace.too_many(step * 0.01, sessions)
    assert pace.connections == 4


def test_sessions_refused_again_are_halved() -> None:
    """Seven were too many as well."""
    pace = Pace(SESSIONS)
    pace.too_many(0.0, 8)
    pace.too_many(5.0, 7)
    assert pace.connections == 3


def test_sessions_refused_much_later_lose_one() -> None:
    """After ten seconds a refusal is a new one."""
    pace = Pace(SESSIONS)
    pace.too_many(0.0, 8)
    pace.too_many(11.0, 7)
    assert pace.connections == 6


def test_sessions_come_back_one_by_one() -> None:
    """One more every 30 s without a refusal, up to the configuration's number."""
    pace = Pace(3)
    pace.too_many(0.0, 2)
    counts = [pace.connections]
    for now in (29.0, 30.0, 59.0):
        pace.accepted(now)
        counts.append(pace.connections)
    pace.delay(200.0)
    assert [1, 1, 2, 2, 3] == [*counts, pace.connections]


@given(
    configured=st.integers(1, 50),
    refusals=st.lists(st.tuples(st.floats(0, 60), st.integers(0, 60)), max_size=30),
)
def test_sessions_stay_between_one_and_the_configuration(
    configured: int, refusals: list[tuple[float, int]]
) -> None:
    """Whatever a server says."""
    pace = Pace(configured)
    now = 0.0
    for later, sessions in refusals:
        now += later
        pace.too_many(now, sessions)
        assert 1 <= pace.connections <= configured


@given(
    steps=st.lists(
        st.tuples(st.floats(0, 400), st.sampled_from(["start", "accept", "refuse", "hint"])),
        max_size=60,
    )
)
def test_mail_is_never_stopped_for_good(steps: list[tuple[float, str]]) -> None:
    """Whatever happens, the next message may start within five minutes, and may when it is time."""
    pace = Pace(SESSIONS)
    now = 1e6
    for later, what in steps:
        now += later
        if what == "start":
            now += pace.delay(now)
            assert 0.0 == pace.delay(now)
            pace.started(now)
        elif what == "accept":
            pace.accepted(now)
        else:
            pace.throttled(now, hint=500.0 if what == "hint" else None, sessions=3)
        assert 0.0 <= pace.delay(now) <= 300.0
