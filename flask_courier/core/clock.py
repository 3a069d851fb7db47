"""The one door to the wall clock of this machine.

Queue times come from the database's clock (``storage.dialect.db_time``). This one serves what lives
outside the database: the age of a form, the moment in a UUID.
"""

from __future__ import annotations

from datetime import datetime, timezone


def utc_now() -> datetime:
    """The time of this machine: aware, UTC, with microseconds."""
    return datetime.now(timezone.utc)
