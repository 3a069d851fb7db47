"""What a worker is made of, and how long it may take to end."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from flask_courier.core.messages import RecordedMessage
from flask_courier.delivery.prepare import Preparer
from flask_courier.delivery.transport import Transport
from flask_courier.storage.uow import Database

#: What sessions that are cut off, results on their way and QUITs get at the end, each, as a part of
#: what mail on the wire has had.
AFTER = 0.1


class DatabaseCall(Protocol):
    """Runs a function that talks to the database, away from the event loop."""

    def __call__(self, function: Callable[..., Any], /, *args: Any) -> Awaitable[Any]:
        """Answer what ``function`` answers."""
        ...


@dataclass(frozen=True)
class WorkerParts:
    """What a worker is made of."""

    name: str
    kind: str
    database: Database
    preparer: Preparer
    transport: Callable[[], Transport]
    #: Called for every accepted mail, with what makes it readable for whoever records it.
    on_accepted: Callable[[Callable[[], RecordedMessage]], None] | None = None
    #: Seconds that mail on the wire gets to come to its end when the worker is told to stop.
    drain: float = 7.5

    @property
    def end(self) -> float:
        """Seconds that a worker takes at most to end, the database's own time apart."""
        return self.drain * (1 + 3 * AFTER)
