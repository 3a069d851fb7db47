"""Round trips a message with a server 20 ms away, from the time that many messages take."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable
from typing import Any

import click

from tests.benchmarks.figures import Figure, Settings, in_turn, ratio, show
from tests.benchmarks.processes import Child
from tests.benchmarks.site import smtp_uri
from tests.benchmarks.stage import Stage, installed, short, stage
from tests.benchmarks.throughput import AIOSMTPLIB, FLASK_MAILMAN, drained, sent, worked

CONNECTIONS = 10
#: Seconds: half of it in each direction.
ROUND_TRIP = 0.020


def measured_round_trip(port: int) -> float:
    """The median of thirty NOOPs through the proxy, in seconds."""
    found: list[float] = []
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        lines = connection.makefile("rb")
        lines.readline()
        for _ in range(30):
            before = time.monotonic()
            connection.sendall(b"NOOP\r\n")
            lines.readline()
            found.append(time.monotonic() - before)
        connection.sendall(b"QUIT\r\n")
        lines.readline()
    return statistics.median(found)


def far_away(scene: Stage) -> int:
    """The port of a proxy through which a NOOP takes ``ROUND_TRIP``, as far as timers allow.

    Its timers and the hops through its process take their time too, so the delay is shortened by
    what a first proxy took too long.
    """
    delay = ROUND_TRIP / 2
    excess = measured_round_trip(scene.proxy(delay)) - ROUND_TRIP
    return scene.proxy(delay - max(excess, 0) / 2)


def _contenders(
    scene: Stage, port: int, count: int, kinds: tuple[str, ...]
) -> dict[str, Callable[[], float]]:
    found: dict[str, Callable[[], float]] = {}
    mail = ""

    def add(kind: str, *, worker: bool = False) -> Child:
        config = scene.config(
            kind,
            COURIER_WORKER="external" if worker else "manual",
            COURIER_SMTP_URI=smtp_uri(port),
            COURIER_SMTP_CONNECTIONS=CONNECTIONS,
        )
        ours = scene.ours(config, accounts=count)
        if worker:
            scene.worker(config)
        measure = worked if worker else drained
        name = f"{'worker' if worker else 'ours'} {short(kind)}"
        found[name] = lambda: measure(scene, ours, count)
        return ours

    for kind in kinds:
        mail = scene.ready_made(add(kind))
        add(kind, worker=True)
    library = scene.child("peers", "aiosmtplib")
    words: dict[str, Any] = {"port": port, "connections": CONNECTIONS, "mail": mail}
    found[AIOSMTPLIB] = lambda: sent(scene, library, count // 2, **words)
    if installed("flask_mailman"):
        mailman = scene.child("peers", "flask_mailman")
        found[FLASK_MAILMAN] = lambda: sent(scene, mailman, max(count // 20, 10), port=port)
    return found


def run(settings: Settings) -> list[Figure]:
    """Measure, print, and answer round trips and ratios."""
    count = settings.messages // 2
    with stage() as scene:
        port = far_away(scene)
        real = measured_round_trip(port) * 1000
        click.echo(f"  {count} mails, {CONNECTIONS} connections; a NOOP takes {real:.2f} ms")
        found = in_turn(_contenders(scene, port, count, settings.databases), settings.rounds)
    show(found, "messages/s")
    figures: list[Figure] = []
    for name, values in found.items():
        if name == FLASK_MAILMAN:
            continue
        trips = CONNECTIONS / (statistics.median(values) * ROUND_TRIP)
        asked = "<= 2.1" if name != AIOSMTPLIB else ""
        figures.append(Figure("round trips", f"{name}, a message", trips, asked, "trips"))
        if name != AIOSMTPLIB and FLASK_MAILMAN in found:
            against = ratio(values, found[FLASK_MAILMAN])
            figures.append(Figure("round trips", f"{name} : {FLASK_MAILMAN}", against, ">= 25"))
    return figures
