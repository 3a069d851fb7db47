"""Fixtures of fault tests: workers in processes of their own, and an SMTP server for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_courier.testing import FaultServer
from tests.faults.workers import Crew, Nursery, open_nursery


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """The process that forks workers."""
    with open_nursery() as made:
        yield made


@pytest.fixture
def crews(nursery: Nursery) -> Iterator[Callable[..., Crew]]:
    """Makes crews, for a database URL and a config; none of their workers outlives the test."""
    made: list[Crew] = []

    def make(url: str, **config: Any) -> Crew:
        made.append(Crew(nursery, url, **config))
        return made[-1]

    yield make
    for crew in made:
        crew.dismiss()


@pytest.fixture
def sink() -> Iterator[FaultServer]:
    """An SMTP server that keeps of each mail its header only."""
    with FaultServer(brief=True) as server:
        yield server
