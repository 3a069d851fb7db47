"""A process with the application: queues, delivers with ``deliver_pending``, sends one by one.

``python -m tests.benchmarks.ours CONFIG`` where CONFIG is JSON for ``site.open_site``; ``accounts``
and ``wal`` in it say what to put into the new database.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
import time
from typing import Any

from tests.benchmarks import measured
from tests.benchmarks import site as app_site
from tests.benchmarks.processes import BrokenError, answer_questions, greet, resident_bytes


class Ours:
    """What the parent may ask for."""

    def __init__(self, config: dict[str, Any]) -> None:
        accounts, wal = config.pop("accounts", 0), config.pop("wal", False)
        self._site = app_site.open_site(config)
        if wal:
            app_site.use_wal(self._site)
        if accounts:
            app_site.add_accounts(self._site, accounts)

    def fill(self, count: int, *, keep: bool = False) -> dict[str, Any]:
        """Put ``count`` recovery mails into the queue, which is emptied before.

        :param keep: leave the messages that are there; limits begin again.
        """
        app_site.empty_queue(self._site, only_limits=keep)
        app_site.queue_recoveries(self._site, count)
        return {"committed_at": time.monotonic_ns()}

    def drain(self, *, profiled: bool = False, timed: bool = False) -> dict[str, Any]:
        """Deliver what is queued, in this thread."""
        with (
            measured.profiling(wanted=profiled) as profile,
            measured.claim_times(self._site, wanted=timed) as claims,
        ):
            before = time.monotonic()
            outcomes = self._site.courier.deliver_pending(self._site.app)
            seconds = time.monotonic() - before
        counts = {str(status): count for status, count in outcomes.items()}
        return {"seconds": seconds, "outcomes": counts, "profile": profile, "claims": claims}

    def work(self, *, profiled: bool = False) -> dict[str, Any]:
        """Deliver what is queued with ``flask courier worker``, in this process.

        It runs in the main thread, as it does alone, and gets SIGTERM when everything is finished.
        """
        queued = sum(app_site.statuses(self._site).values())

        def watch() -> None:
            while app_site.statuses(self._site) != {"sent": queued}:
                time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGTERM)

        watcher = threading.Thread(target=watch, daemon=True)
        runner = self._site.app.test_cli_runner()
        # Before the profile, so that it is no part of it.
        watcher.start()
        with measured.profiling(wanted=profiled) as profile:
            before = time.monotonic()
            result = runner.invoke(args=["courier", "worker"])
            seconds = time.monotonic() - before
        if result.exit_code:
            raise BrokenError(f"the worker ended with {result.exit_code}: {result.output}")
        return {"seconds": seconds, "profile": profile}

    def statuses(self) -> dict[str, Any]:
        """How many messages there are in each status."""
        return dict(app_site.statuses(self._site))

    def memory(self) -> dict[str, Any]:
        """This process's memory."""
        return {"bytes": resident_bytes(os.getpid())}

    def finished(self, count: int) -> dict[str, Any]:
        """Multiply the finished messages until there are ``count``."""
        measured.multiply_finished(self._site, count)
        return {}

    def latencies(self, reports: int, count: int, pause: float) -> dict[str, Any]:
        """Send ``count`` mails one at a time; answer each way from commit to acceptance, in ms."""
        found: list[float] = []
        with socket.create_connection(("127.0.0.1", reports), timeout=20) as connection:
            lines = connection.makefile("rb")
            lines.readline()
            for number in range(1, count + 1):
                with self._site.app.app_context():
                    self._site.courier.send(
                        "courier/mail/recovery",
                        to=app_site.address(number),
                        context={
                            key: app_site.CONTEXT[key]
                            for key in ("link", "code", "link_lifetime", "code_lifetime")
                        },
                    )
                    before = time.monotonic_ns()
                    self._site.db.session.commit()
                accepted = lines.readline()
                if not accepted:
                    raise BrokenError("the sink went away while a mail was on its way")
                found.append((int(accepted) - before) / 1e6)
                # The worker writes its result down and goes idle; that is what is measured next.
                time.sleep(pause)
        return {"ms": found}


def main(config: dict[str, Any]) -> None:
    """Open the application and serve the parent."""
    ours = Ours(config)
    greet(pid=os.getpid())
    answer_questions(
        {
            "fill": ours.fill,
            "drain": ours.drain,
            "work": ours.work,
            "statuses": ours.statuses,
            "memory": ours.memory,
            "finished": ours.finished,
            "latencies": ours.latencies,
        }
    )
    # An embedded worker's thread must not outlive what the parent wanted.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
