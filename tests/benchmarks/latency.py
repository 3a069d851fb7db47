"""From commit to the server's 250 in an idle system, one mail of the application at a time."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.benchmarks.figures import Figure, Settings, in_turn, p95, show
from tests.benchmarks.processes import Child
from tests.benchmarks.stage import POSTGRESQL, Stage, short, stage

_ACCOUNTS = 200
_WARM_UP = 5
#: Seconds between two mails: the worker has recorded the last one and sleeps.
_PAUSE = 0.1


@dataclass
class Way:
    """One way from a commit to a server."""

    scene: Stage
    ours: Child
    mails: int
    all_ms: list[float] = field(default_factory=list[float])

    def measure(self) -> float:
        """The median of a round, in ms."""
        found = self._send(self.mails)
        self.all_ms += found
        return statistics.median(found)

    def warm_up(self) -> None:
        """Start the worker and its first session."""
        self._send(_WARM_UP)

    def _send(self, count: int) -> list[float]:
        found: list[float] = self.ours.ask(
            "latencies", reports=self.scene.reports, count=count, pause=_PAUSE
        )["ms"]
        self.scene.accepted(count)
        return found


def run(settings: Settings) -> list[Figure]:
    """Measure, print, and answer medians and 95th percentiles."""
    mails = 10 if settings.quick else 20
    with stage() as scene:
        ways: dict[str, Way] = {}
        for kind in settings.databases:
            config = scene.config(kind, COURIER_WORKER="thread")
            ways[f"embedded {short(kind)}"] = Way(
                scene, scene.ours(config, accounts=_ACCOUNTS), mails
            )
            if kind == POSTGRESQL:
                config = scene.config(kind, COURIER_WORKER="external")
                ways["external pg"] = Way(scene, scene.ours(config, accounts=_ACCOUNTS), mails)
                scene.worker(config)
        for way in ways.values():
            way.warm_up()
        rounds: dict[str, Callable[[], float]] = {n: way.measure for n, way in ways.items()}
        in_turn(rounds, settings.rounds)
        found = {name: way.all_ms for name, way in ways.items()}
    show(found, "ms")
    figures: list[Figure] = []
    for name, values in found.items():
        asked = "<= 15" if name.startswith("external") else "<= 10"
        median = statistics.median(values)
        figures.append(Figure("latency", f"{name}, median", median, asked, "ms"))
        figures.append(Figure("latency", f"{name}, 95 of 100", p95(values), "", "ms"))
    return figures
