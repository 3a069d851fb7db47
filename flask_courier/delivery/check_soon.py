"""The check of ``delivery.check`` for a request: it ends in time, whatever the servers do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from flask_courier.core.steps import State, Step
from flask_courier.delivery.envelope import Timeouts

#: Seconds a request waits.
LONGEST = 10.0
#: Seconds for each answer of the SMTP server: a whole conversation then mostly ends in time.
PATIENCE = Timeouts(address=3.0, dial=4.0, handshake=4.0, command=4.0, quit=1.0)

_LATE = Step(
    "time",
    State.WARNING,
    "The check was left after {:.0f} seconds: what comes here was not looked at, or has no answer"
    " yet.",
    "`flask courier check` on the server waits for longer.",
)
_BROKEN = Step(
    "check",
    State.FAILED,
    "The check itself failed; the log of the application says how.",
    "Run `flask courier check` on the server.",
)


class SoonCheck:
    """Runs one check at a time: somebody who asks again and again opens one connection.

    :param take: takes all steps, and tells each when it is known.
    :param longest: seconds until it is left to end by itself.
    """

    def __init__(
        self, take: Callable[[Callable[[Step], None]], object], *, longest: float = LONGEST
    ) -> None:
        self._take = take
        self._longest = longest
        self._running = threading.Lock()

    def __call__(self) -> Sequence[Step] | None:
        """The steps that were taken in time; None if another check of this process is at work."""
        if not self._running.acquire(blocking=False):
            return None
        taken: list[Step] = []
        whole = threading.Event()
        # A thread and not a time limit on each step: the resolver of the system knows none.
        thread = threading.Thread(
            target=self._run, args=(taken.append, whole), name="courier-check", daemon=True
        )
        try:
            thread.start()
        except BaseException:
            self._running.release()
            raise
        thread.join(self._longest)
        if thread.is_alive():
            late = replace(_LATE, words=_LATE.words.format(self._longest))
            return [*taken, late]
        return taken if whole.is_set() else [*taken, _BROKEN]

    def _run(self, note: Callable[[Step], None], whole: threading.Event) -> None:
        try:
            self._take(note)
            whole.set()
        finally:
            self._running.release()
