"""How fast one worker sends through one transport, learnt from what the server refuses.

Nothing is held back until the server asks for less. Then the rate falls to a little under what it
really took, and grows back along a cubic curve: quickly to near the rate at which it was refused,
very slowly past it, and fast only after a long time without a refusal (the shape of TCP's CUBIC,
RFC 9438 section 4). So a limit costs one refused message every 20 seconds or so, and a limit that
was raised is found again. The number of sessions is learnt apart from the rate, since servers limit
each by itself.

Nothing here reads a clock: ``now`` is in monotonic seconds.
"""

from __future__ import annotations

import math
from collections import deque

#: After a refusal: this share of what was really accepted.
_DECREASE = 0.95
#: A rate falls once in so many seconds: messages on the wire together are refused together.
_ONE_DECREASE = 1.0
#: Messages a second, the least; what takes nothing at all is the breaker's business.
_FLOOR = 0.2
#: Seconds until the rate is back at the ceiling, and the messages that pass until then at least:
#: a slow limit is not tried more often than every hundredth message.
_RETURN = 20.0
_RETURN_MESSAGES = 100.0
#: Seconds in which the rate doubles while the ceiling is only guessed at.
_DOUBLING = 3.0
#: The limit is forgotten when the rate has grown to so many ceilings, or after so many seconds.
_FORGOTTEN = 10.0
_FORGET = 1800.0
#: What is accepted is measured over a second, and over so many messages at least.
_MEASURE = 1.0
_MEASURE_MESSAGES = 10.0
#: A measured rate is the limit only if it is so much of the rate that was refused.
_NEAR = 0.8
#: Seconds' worth of messages that may go out together after others were late.
_BURST = 0.05
#: Growth counts the time in which the rate was used and mail was taken: between two messages up to
#: so many messages' worth, and up to so many seconds while the ceiling is only guessed at.
_USED = 2.0
_USED_SECONDS = 1.0
#: Longest pause, in seconds, that a server can ask for.
_HINT_CAP = 300.0
#: Refusals of a session this close to each other are of one burst; a refusal within the longer time
#: says that the burst's end is still too many. After the longest the number grows by one.
_ONE_REFUSAL = 1.0
_REPEATED = 10.0
_ONE_MORE = 30.0


class Pace:
    """How many sessions may be busy, and when the next message may start."""

    def __init__(self, connections: int) -> None:
        """Start with nothing held back.

        :param connections: sessions that the configuration allows; at least 1.
        """
        self._rate = _Rate()
        self._sessions = _Sessions(connections)

    @property
    def connections(self) -> int:
        """Sessions that may be busy now, from 1 to what the configuration allows."""
        return self._sessions.allowed

    def delay(self, now: float) -> float:
        """Seconds until the next message may start; 0.0 is now."""
        self._sessions.refresh(now)
        return self._rate.delay(now)

    def started(self, now: float) -> None:
        """A message goes out."""
        self._rate.started(now)

    def accepted(self, now: float) -> None:
        """The server took a message."""
        self._sessions.refresh(now)
        self._rate.accepted(now)

    def throttled(self, now: float, *, hint: float | None, sessions: int) -> None:
        """The server refused a message because there were too many.

        :param hint: seconds for which the server itself asked to be left alone, if it did: nothing
            starts until they are over, or five minutes are.
        :param sessions: sessions that were busy, this one included.
        """
        self._rate.throttled(now, hint=hint, sessions=sessions)

    def too_many(self, now: float, sessions: int) -> None:
        """The server refused a session because there were too many.

        :param sessions: sessions that were open or opening, this one included.
        """
        self._sessions.too_many(now, sessions)


class _Sessions:
    """How many sessions the server puts up with."""

    def __init__(self, configured: int) -> None:
        self.allowed = configured
        self._configured = configured
        self._refused_at: float | None = None
        self._changed_at = 0.0

    def too_many(self, now: float, sessions: int) -> None:
        since = None if self._refused_at is None else now - self._refused_at
        self.refresh(now)
        if since is not None and _ONE_REFUSAL <= since < _REPEATED:
            self.allowed = max(1, self.allowed // 2)
        else:
            self.allowed = max(1, min(self.allowed, sessions - 1))
        self._refused_at = self._changed_at = now

    def refresh(self, now: float) -> None:
        """One more for every 30 s without a refusal."""
        if self.allowed < self._configured:
            steps = int((now - self._changed_at) / _ONE_MORE)
            self.allowed = min(self._configured, self.allowed + steps)
            self._changed_at += steps * _ONE_MORE


class _Rate:
    """A token bucket whose rate follows the server's refusals."""

    def __init__(self) -> None:
        #: Messages a second, or None while nothing is held back.
        self._rate: float | None = None
        #: The rate at which the server refused last.
        self._ceiling = 0.0
        #: The ceiling was measured, and not guessed from the first moments of a burst.
        self._measured = False
        self._decreased_at = 0.0
        #: Seconds since the decrease in which the rate was used, and up to when they are counted.
        self._grown = 0.0
        self._grown_at = 0.0
        self._tokens = 0.0
        self._filled_at = 0.0
        self._paused_until = 0.0
        #: When the server took the last messages, as far back as they are measured.
        self._accepted: deque[float] = deque()
        #: Messages that were on the wire at the last decrease: their refusals are part of it.
        self._stragglers = 0

    def delay(self, now: float) -> float:
        if now - self._decreased_at >= _FORGET:
            self._rate = None
        pause = max(0.0, self._paused_until - now)
        if self._rate is None:
            return pause
        self._fill(now, self._rate)
        # A hair less than a whole token is one: the wait for the rest would be below what a clock
        # can tell, and might never end.
        missing = 0.0 if self._tokens > 1 - 1e-6 else (1 - self._tokens) / self._rate
        return max(pause, missing)

    def started(self, now: float) -> None:
        if self._rate is not None:
            self._fill(now, self._rate)
            self._tokens -= 1

    def accepted(self, now: float) -> None:
        self._stragglers = max(0, self._stragglers - 1)
        self._accepted.append(now)
        self._trim(now)
        if self._rate is not None:
            self._fill(now, self._rate)
            used = min(now - self._grown_at, _USED / self._rate)
            self._grown += used if self._measured else min(used, _USED_SECONDS)
            grown = self._curve()
            self._rate = None if grown >= _FORGOTTEN * self._ceiling else grown
        self._grown_at = now

    def throttled(self, now: float, *, hint: float | None, sessions: int) -> None:
        if hint is not None:
            self._paused_until = max(self._paused_until, now + min(hint, _HINT_CAP))
        straggler = self._stragglers > 0
        self._stragglers = max(0, self._stragglers - 1)
        if self._rate is not None and (straggler or now - self._decreased_at < _ONE_DECREASE):
            return
        self._ceiling, self._measured = self._estimate(now)
        self._rate = max(_FLOOR, _DECREASE * self._ceiling)
        self._grown = 0.0
        self._decreased_at = self._grown_at = self._filled_at = now
        self._tokens = 0.0
        self._stragglers = max(0, sessions - 1)

    def _estimate(self, now: float) -> tuple[float, bool]:
        """The rate that the server takes, and whether that was measured."""
        self._trim(now)
        if self._rate is None:
            # A burst at full speed: how much of a second's worth it was, nobody knows. Too low a
            # guess is soon put right, too high a one costs refusals.
            return max(1.0, len(self._accepted) / _MEASURE), False
        since = max(now - self._window(), self._decreased_at)
        count = sum(1 for moment in self._accepted if moment > since)
        if count == 0:
            return max(_FLOOR, self._rate / 2), False
        # One more, the one that was refused: else a slow limit would look lower than it is.
        rate = min(self._rate, (count + 1) / (now - since))
        # Far below what was sent, it tells of the flood as much as of the limit: a server that
        # counts back over a second takes nothing until the flood is that old.
        return rate, rate >= _NEAR * self._rate

    def _curve(self) -> float:
        """The rate after ``_grown`` seconds."""
        if not self._measured:
            return max(_FLOOR, _DECREASE * self._ceiling) * math.pow(2.0, self._grown / _DOUBLING)
        back = max(_RETURN, _RETURN_MESSAGES / self._ceiling)
        bend = ((self._grown - back) / back) ** 3
        return max(_FLOOR, self._ceiling * (1 + (1 - _DECREASE) * bend))

    def _window(self) -> float:
        return _MEASURE if self._rate is None else max(_MEASURE, _MEASURE_MESSAGES / self._rate)

    def _trim(self, now: float) -> None:
        oldest = now - self._window()
        while self._accepted and self._accepted[0] <= oldest:
            self._accepted.popleft()

    def _fill(self, now: float, rate: float) -> None:
        burst = max(1.0, rate * _BURST)
        self._tokens = min(burst, self._tokens + (now - self._filled_at) * rate)
        self._filled_at = now
