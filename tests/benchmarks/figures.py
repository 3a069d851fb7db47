"""Rounds in turn, medians, ratios, and the table at the end."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import click


@dataclass(frozen=True)
class Settings:
    """What the command line asked for."""

    rounds: int
    #: Messages in a round of the throughput; the other benchmarks derive theirs.
    messages: int
    quick: bool
    #: Of ``sqlite``, ``postgresql`` and ``mysql``, those to measure on.
    databases: tuple[str, ...]


@dataclass(frozen=True)
class Figure:
    """One line of the table at the end."""

    benchmark: str
    what: str
    reached: float
    #: Such as ``>= 3.0``; empty where nothing was asked for.
    asked: str = ""
    unit: str = "x"

    @property
    def verdict(self) -> str:
        """Whether it is what was asked for."""
        if not self.asked:
            return ""
        comparison, bound = self.asked.split()
        short = (self.reached < float(bound)) if comparison == ">=" else self.reached > float(bound)
        return "falls short" if short else "reached"


def in_turn(contenders: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run everybody once a round, each round in the same order; answer what each one came to."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(1, rounds + 1):
        for name, run in contenders.items():
            found[name].append(run())
        told = "  ".join(f"{name} {values[-1]:.1f}" for name, values in found.items())
        click.echo(f"  round {number}/{rounds}: {told}")
    return found


def show(found: Mapping[str, Sequence[float]], unit: str) -> None:
    """Print median, least and most of each."""
    width = max(map(len, found))
    click.echo(f"  {'':{width}}  {'median':>9} {'min':>9} {'max':>9}  {unit}")
    for name, values in found.items():
        click.echo(
            f"  {name:{width}}  {statistics.median(values):9.2f} {min(values):9.2f}"
            f" {max(values):9.2f}"
        )


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """The ratio of the medians."""
    return statistics.median(ours) / statistics.median(theirs)


def show_ratio(what: str, ours: Sequence[float], theirs: Sequence[float]) -> None:
    """Print the ratio of the medians, and the least and the most of any round."""
    rounds = [one / other for one, other in zip(ours, theirs, strict=True)]
    click.echo(f"  {what}: {ratio(ours, theirs):.2f} ({min(rounds):.2f} to {max(rounds):.2f})")


def p95(values: Sequence[float]) -> float:
    """The value that 95 of 100 do not pass."""
    return sorted(values)[max(0, -(-len(values) * 95 // 100) - 1)]


def show_table(figures: Sequence[Figure]) -> None:
    """Print what was reached beside what was asked for."""
    width = max((len(figure.what) for figure in figures), default=0)
    click.echo("")
    for figure in figures:
        click.echo(
            f"{figure.benchmark:11} {figure.what:{width}}  {figure.reached:8.2f} {figure.unit:8}"
            f" {figure.asked:8} {figure.verdict}".rstrip()
        )
