"""Fixtures of delivery: sites whose worker is a thread, stopped at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.delivery import threads
from tests.delivery.threads import embedded
from tests.site import Site


@pytest.fixture(autouse=True)
def _own_threads() -> None:
    """Leave out what an earlier test of this process has not let go of yet."""
    threads.others.clear()
    threads.others.update(threading.enumerate())


@pytest.fixture
def threaded(sites: Callable[..., Site]) -> Iterator[Callable[..., Site]]:
    """Makes sites that deliver by themselves."""
    made: list[Site] = []

    def make(**config: Any) -> Site:
        made.append(sites(COURIER_WORKER="thread", **config))
        return made[-1]

    yield make
    for site in made:
        embedded(site).stop()
