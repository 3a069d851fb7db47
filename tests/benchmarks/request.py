"""What a request for a mail costs, beside a bare view, and whatever the SMTP server does.

Timed is the call of the WSGI application: a server's own work would be the same for both.
"""

from __future__ import annotations

import json
import socket
import statistics
from dataclasses import dataclass

import click

from tests.benchmarks.figures import Figure, Settings, ratio, show, show_ratio
from tests.benchmarks.processes import Child
from tests.benchmarks.site import smtp_uri
from tests.benchmarks.stage import Stage, short, stage

_ACCOUNTS = 500
_WARM_UP = 50
#: Requests that one client makes before it is the next one's turn.
_SLICE = 10
#: Seconds in one direction: an answer takes two.
_SLOW = 1.0
#: Seconds between two requests of a process that has mail to deliver, too.
_PAUSE = 0.01
_UNMET: dict[str, object] = {
    "COURIER_REQUESTER_LIMIT": "99999/minute",
    "COURIER_RECIPIENT_LIMIT": "99999/minute",
}


@dataclass(frozen=True)
class Client:
    """Asks one page in one way."""

    application: Child
    page: str
    sends: str
    pause: float = 0

    def ask(self, count: int) -> list[float]:
        """How many ms each of so many requests took."""
        answer = self.application.ask(
            "ask", page=self.page, sends=self.sends, count=count, pause=self.pause
        )
        found: list[float] = answer["ms"]
        return found


def _application(scene: Stage, kind: str, port: int, worker: str) -> Child:
    config = scene.config(
        kind,
        COURIER_WORKER=worker,
        COURIER_SMTP_URI=smtp_uri(port),
        accounts=_ACCOUNTS,
        **_UNMET,
    )
    return scene.child("requested", json.dumps(config))


def _unused_port() -> int:
    """A port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _timed(clients: dict[str, Client], *, rounds: int, count: int) -> dict[str, list[float]]:
    """The median of each round, in ms."""
    for client in clients.values():
        # Fills what is kept from one request to the next.
        client.ask(_WARM_UP)
    found: dict[str, list[float]] = {name: [] for name in clients}
    for number in range(1, rounds + 1):
        for name, median in _round(clients, count).items():
            found[name].append(median)
        told = "  ".join(f"{name} {values[-1]:.2f}" for name, values in found.items())
        click.echo(f"  round {number}/{rounds}: {told}")
    show(found, "ms, medians of rounds")
    return found


def _round(clients: dict[str, Client], count: int) -> dict[str, float]:
    """Let everybody ask so often, a few times in turn: what else runs here slows all of them."""
    found: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(count // _SLICE):
        for name, client in clients.items():
            found[name] += client.ask(_SLICE)
    return {name: statistics.median(values) for name, values in found.items()}


def _beside_bare(scene: Stage, kind: str, settings: Settings) -> list[Figure]:
    """The figures with a worker elsewhere."""
    count = 100 if settings.quick else 300
    application = _application(scene, kind, scene.port, "external")
    clients = {
        f"{page} {sends} {short(kind)}": Client(application, page, sends)
        for sends in ("json", "form")
        for page in ("bare", "recovery")
    }
    found = _timed(clients, rounds=settings.rounds, count=count)
    figures: list[Figure] = []
    for sends in ("json", "form"):
        ours = found[f"recovery {sends} {short(kind)}"]
        bare = found[f"bare {sends} {short(kind)}"]
        what = f"recovery : bare view, {sends} {short(kind)}"
        show_ratio(what, ours, bare)
        figures.append(Figure("request", what, ratio(ours, bare), "<= 1.3"))
    return figures


def _whatever_smtp(scene: Stage, kind: str, settings: Settings) -> list[Figure]:
    """The figures with the worker in the same process."""
    count = 50 if settings.quick else 100
    ports = {"fast": scene.port, "slow": scene.proxy(_SLOW), "dead": _unused_port()}
    clients = {
        f"SMTP {name} {short(kind)}": Client(
            _application(scene, kind, port, "thread"), "recovery", "json", _PAUSE
        )
        for name, port in ports.items()
    }
    found = _timed(clients, rounds=settings.rounds, count=count)
    fast, *others = found
    figures: list[Figure] = []
    for name in others:
        what = f"{name} : fast"
        show_ratio(what, found[name], found[fast])
        figures.append(Figure("request", what, ratio(found[name], found[fast])))
    return figures


def run(settings: Settings) -> list[Figure]:
    """Measure, print, and answer ratios."""
    figures: list[Figure] = []
    for kind in settings.databases:
        with stage() as scene:
            click.echo(f"  {short(kind)}: the worker is another process, and none runs")
            figures += _beside_bare(scene, kind, settings)
            click.echo(f"  {short(kind)}: the worker is a thread")
            figures += _whatever_smtp(scene, kind, settings)
    return figures
