"""What is known of a message while it is looked for, and what a term has to say of it."""

from __future__ import annotations

import unicodedata
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from flask_courier.core.status import Status

ALL = frozenset(Status)
#: What the SMTP server has not accepted: errors are theirs alone.
NOT_SENT = ALL - {Status.SENT}


class Standing(Protocol):
    """What tells where a message is."""

    @property
    def status(self) -> str: ...  # noqa: D102 - as in the row, as all of them
    @property
    def attempts(self) -> int: ...  # noqa: D102
    @property
    def created_at(self) -> datetime: ...  # noqa: D102
    @property
    def next_attempt_at(self) -> datetime: ...  # noqa: D102
    @property
    def lease_until(self) -> datetime | None: ...  # noqa: D102


class Facts(Standing, Protocol):
    """What is known of a message while it is looked for."""

    @property
    def id(self) -> uuid.UUID: ...  # noqa: D102 - as in the row, as all of them
    @property
    def recipient(self) -> str: ...  # noqa: D102
    @property
    def recipient_folded(self) -> str: ...  # noqa: D102
    @property
    def subject(self) -> str | None: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def reason(self) -> str | None: ...  # noqa: D102
    @property
    def last_code(self) -> int | None: ...  # noqa: D102
    @property
    def last_error(self) -> str | None: ...  # noqa: D102
    @property
    def message_id_header(self) -> str | None: ...  # noqa: D102


class Meaning(Protocol):
    """What a term means."""

    def matches(self, facts: Facts) -> bool:
        """Whether a message is meant."""
        ...

    @property
    def statuses(self) -> frozenset[Status]:
        """No message of another status can be meant."""
        ...

    @property
    def fields(self) -> tuple[str, ...]:
        """Which facts are looked at."""
        ...


@dataclass(frozen=True)
class OfAnyStatus:
    """What messages of every status can mean."""

    @property
    def statuses(self) -> frozenset[Status]:
        """Every one."""
        return ALL


def folded(text: str) -> str:
    """``text`` in the form in which case makes no difference."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
