"""How long claims take with many finished messages in the table, beside few."""

from __future__ import annotations

from collections.abc import Callable

import click

from tests.benchmarks.figures import Figure, Settings, in_turn, ratio, show
from tests.benchmarks.processes import BrokenError, Child
from tests.benchmarks.stage import Stage, short, stage

_FEW = 1_000
_MANY = 1_000_000
_MANY_QUICK = 100_000
#: Messages that are claimed in a round.
_CLAIMED = 200


def _claimed(scene: Stage, ours: Child) -> float:
    """Microseconds of claiming a message: all the claims of a drain, empty ones too."""
    ours.ask("fill", count=_CLAIMED, keep=True)
    times: list[float] = ours.ask("drain", timed=True)["claims"]
    scene.accepted(_CLAIMED)
    if not times:
        raise BrokenError("no statement looked like a claim; see measured.claim_times")
    return sum(times) / _CLAIMED * 1000


def run(settings: Settings) -> list[Figure]:
    """Measure, print, and answer the ratio on each database."""
    many = _MANY_QUICK if settings.quick else _MANY
    figures: list[Figure] = []
    for kind in settings.databases:
        few_name, many_name = (f"{short(kind)}, {rows:,} finished" for rows in (_FEW, many))
        with stage() as scene:
            contenders: dict[str, Callable[[], float]] = {}
            for name, rows in ((few_name, _FEW), (many_name, many)):
                ours = scene.ours(scene.config(kind), accounts=_CLAIMED)
                _claimed(scene, ours)
                ours.ask("finished", count=rows, patience=900)
                _claimed(scene, ours)
                contenders[name] = lambda ours=ours: _claimed(scene, ours)  # type: ignore[misc]  # bound
            click.echo(f"  {kind}: tables are filled")
            found = in_turn(contenders, settings.rounds)
        show(found, "us of claiming a message")
        against = ratio(found[many_name], found[few_name])
        figures.append(Figure("claims", f"{many_name} : few", against, "<= 2"))
    return figures
