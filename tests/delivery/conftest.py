"""Fixtures of delivery: sites whose worker is a thread, stopped at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.delivery.threads import embedded
from tests.site import Site


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
