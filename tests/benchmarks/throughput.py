"""Messages a second on a local sink, everything included, beside the library and two peers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from tests.benchmarks.figures import Figure, Settings, in_turn, ratio, show
from tests.benchmarks.processes import BrokenError, Child
from tests.benchmarks.stage import SQLITE, Stage, installed, short, stage

#: COURIER_SMTP_CONNECTIONS; the library gets as many. So many results share a transaction at most.
CONNECTIONS = 32
AIOSMTPLIB = "aiosmtplib"
FLASK_MAILMAN = "flask-mailman"
POST_OFFICE = "post_office"
ASKED = {AIOSMTPLIB: ">= 1.0", FLASK_MAILMAN: ">= 3.0", POST_OFFICE: ">= 3.0"}
_WARM_UP = 64


def drained(scene: Stage, ours: Child, count: int) -> float:
    """Messages a second of ``deliver_pending`` over a queue that is already there."""
    ours.ask("fill", count=count)
    answer = ours.ask("drain")
    if answer["outcomes"] != {"sent": count}:
        raise BrokenError(f"{count} messages were to be sent, but {answer['outcomes']}")
    scene.accepted(count)
    return count / float(answer["seconds"])


def worked(scene: Stage, ours: Child, count: int) -> float:
    """Messages a second of ``flask courier worker``, which runs already when they are queued."""
    ours.ask("fill", count=count)
    book = scene.accepted(count)
    scene.recorded(ours, count)
    # From the first to the last: how soon the worker wakes up is another figure.
    return (count - 1) / (int(book["last_at"]) - int(book["first_at"])) * 1e9


def sent(scene: Stage, peer: Child, count: int, **question: Any) -> float:
    """Messages a second of a peer."""
    seconds: float = peer.ask("run", count=count, **question)["seconds"]
    scene.accepted(count)
    return count / seconds


def _contenders(scene: Stage, settings: Settings) -> dict[str, Callable[[], float]]:
    count = settings.messages
    found: dict[str, Callable[[], float]] = {}
    manual: list[Child] = []

    def add(name: str, kind: str, *, worker: bool = False, wal: bool = False) -> None:
        mode = "external" if worker else "manual"
        config = scene.config(kind, COURIER_WORKER=mode, COURIER_SMTP_CONNECTIONS=CONNECTIONS)
        ours = scene.ours(config, accounts=count, wal=wal)
        if worker:
            scene.worker(config)
        else:
            manual.append(ours)
        measure = worked if worker else drained
        measure(scene, ours, _WARM_UP)
        found[name] = lambda: measure(scene, ours, count)

    for kind in settings.databases:
        add(f"ours {short(kind)}", kind)
        if kind == SQLITE:
            add("ours sqlite-wal", kind, wal=True)
        add(f"worker {short(kind)}", kind, worker=True)
    mail = scene.ready_made(manual[0])
    click.echo(f"  {count} mails of {len(mail)} bytes, {CONNECTIONS} connections")
    _add_peers(scene, count, mail, found)
    return found


def _add_peers(scene: Stage, count: int, mail: str, found: dict[str, Callable[[], float]]) -> None:
    words: dict[str, Any] = {"connections": CONNECTIONS, "mail": mail}
    # The peers are slower: a quarter of the mails takes them as long.
    fewer = max(count // 4, _WARM_UP)

    def add(name: str, peer: Child, number: int, **question: Any) -> None:
        sent(scene, peer, _WARM_UP, port=scene.port, **question)
        found[name] = lambda: sent(scene, peer, number, port=scene.port, **question)

    add(AIOSMTPLIB, scene.child("peers", "aiosmtplib"), count, **words)
    if installed("flask_mailman"):
        add(FLASK_MAILMAN, scene.child("peers", "flask_mailman"), fewer)
    if installed("post_office"):
        add(POST_OFFICE, scene.child("peers", "post_office", str(scene.folder)), fewer)


def run(settings: Settings) -> list[Figure]:
    """Measure, print, and answer the ratios."""
    with stage() as scene:
        found = in_turn(_contenders(scene, settings), settings.rounds)
        show(found, "messages/s")
        figures: list[Figure] = []
        for peer, asked in ASKED.items():
            figures += [
                Figure("throughput", f"{name} : {peer}", ratio(values, found[peer]), asked)
                for name, values in found.items()
                if name not in ASKED and peer in found
            ]
        return figures


def profile(settings: Settings) -> list[Figure]:
    """Print where the time goes, by module: of a drain in one thread, and of the real worker.

    cProfile makes small functions dearer, and a thread's time is also that in which another held
    the interpreter: so these are shares, and no figures.
    """
    for kind in settings.databases:
        with stage() as scene:
            ours = scene.ours(scene.config(kind), accounts=settings.messages)
            drained(scene, ours, _WARM_UP)
            for way in ("drain", "work"):
                ours.ask("fill", count=settings.messages)
                answer = ours.ask(way, profiled=True)
                scene.accepted(settings.messages)
                click.echo(f"  {short(kind)}, {way}:")
                _show_profile(answer["seconds"], answer["profile"], settings.messages)
    return []


def _show_profile(seconds: float, profile: dict[str, dict[str, float]], count: int) -> None:
    each = 1e6 / count
    click.echo(f"    {seconds * each:.0f} us a message while profiled; of what was no waiting:")
    for name, share in profile["shares"].items():
        click.echo(f"      {name:26} {share:6.1%}")
    click.echo("    the functions with most time of their own, us a message:")
    for name, own in profile["dearest"].items():
        click.echo(f"      {own * each:7.1f} {name}")
