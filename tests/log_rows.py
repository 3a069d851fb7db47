"""A delivery log as a busy site has it, of any size and always the same: for benchmarks and plans.

One message in fifty failed, some were tried more than once, the people who get most mail get a
thousand times as much as others. In the middle lies a needle. Rows go to the database as fast as
its driver takes them.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, timezone
from random import Random
from typing import Any, NamedTuple

import sqlalchemy as sa

from flask_courier.core.accounts import search_key
from flask_courier.core.ids import uuid7
from flask_courier.core.search_states import NEWS
from tests.site import Site

SPAN = timedelta(days=90)
ATTEMPTS = 1.3
NEEDLE = "rare@needle.example"
NEEDLE_SUBJECT = "Needle in a haystack"

_STEP = 10_000
_STATUSES = {
    "sent": 9_300, "abandoned": 200, "suppressed": 180, "expired": 120, "cancelled": 100,
    "held": 20, "queued": 70, "processing": 10,
}  # fmt: skip
_KINDS = {"recovery": 45, "verification": 35, "password_changed": 15, "shop/invoice": 5}
_SUBJECTS = {
    "recovery": "Set a new password", "verification": "Confirm your e-mail address",
    "password_changed": "Your password was changed", "shop/invoice": "Your invoice",
}  # fmt: skip
_ERRORS = (
    (550, "5.1.1 <{}>: user unknown"), (552, "5.2.2 mailbox of {} is full"),
    (451, "4.7.1 greylisted, {} gets it later"), (421, "4.3.2 closing, {} has to wait"),
)  # fmt: skip
_SERVER = "smtp://mail.example:587"


class Tables(NamedTuple):
    """Rows of our tables, each as wide as the columns named in ``_COLUMNS``."""

    message: list[tuple[Any, ...]]
    content: list[tuple[Any, ...]]
    attempt: list[tuple[Any, ...]]


_COLUMNS = {
    "courier_message": (
        "id", "created_at", "kind", "status", "reason", "recipient", "recipient_folded",
        "account_ref", "context", "lane", "attempts", "claims", "next_attempt_at", "expires_at",
        "lease_until", "prepared_at", "sent_at", "message_id_header", "last_code", "last_error",
        "transport",
    ),
    "courier_content": ("message_id", "subject", "text"),
    "courier_attempt": (
        "message_id", "number", "worker", "transport", "phase", "outcome", "code", "reply",
        "started_at", "duration_ms",
    ),
}  # fmt: skip


def fill(
    site: Site, count: int, *, now: datetime, attempts: float = ATTEMPTS, seed: int = 5
) -> None:
    """Put ``count`` messages into the site's empty log, and bring the planner up to date.

    :param attempts: how many there are for each message.
    """
    with site.app.app_context():
        engine = site.db.engine
    native = engine.dialect.name == "postgresql"
    with engine.begin() as connection:
        for rows in _batches(count, now, Random(seed)):  # noqa: S311 - the same every time
            for table, part in zip(_COLUMNS, rows, strict=True):
                _insert(connection, table, part, native=native)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        if native:
            # As autovacuum does in time: the planner must know the rows, and which pages are all
            # visible.
            connection.exec_driver_sql("VACUUM ANALYZE")
        elif engine.dialect.name == "sqlite":
            connection.exec_driver_sql("ANALYZE")


def _batches(count: int, now: datetime, random: Random) -> Iterator[Tables]:
    for first in range(0, count, _STEP):
        tables = Tables([], [], [])
        for number in range(first, min(first + _STEP, count)):
            address = NEEDLE if number == count // 2 else _address(random, count)
            made = now - SPAN * ((count - number) / count)
            _add(tables, address, made=made, now=now, random=random)
        yield tables


def _add(tables: Tables, address: str, *, made: datetime, now: datetime, random: Random) -> None:
    """Add a message to this address, and what became of it."""
    identity = uuid7(made, random.randbytes(10))
    [kind] = random.choices([*_KINDS], [*_KINDS.values()])
    [status] = random.choices([*_STATUSES], [*_STATUSES.values()])
    if status in ("queued", "processing") and now - made > NEWS:
        # What waits is young.
        status = "sent"
    failed = status in ("abandoned", "expired", "held", "queued")
    code, words = random.choice(_ERRORS)
    tried = 0 if status in ("suppressed", "cancelled") else int(ATTEMPTS + random.random())
    later = made + timedelta(seconds=5)
    tables.message.append(
        (
            identity, made, kind, status, "deferred" if failed else None, address,
            search_key(address), str(random.randrange(100_000)), json.dumps({}), 1, tried, tried,
            now + timedelta(hours=1), made + timedelta(hours=2),
            now + timedelta(minutes=1) if status == "processing" else None, made,
            later if status == "sent" else None, f"<{random.randbytes(16).hex()}@acme.example>",
            code if failed else 250, words.format(address) if failed else None, _SERVER,
        )
    )  # fmt: skip
    subject = NEEDLE_SUBJECT if address == NEEDLE else _SUBJECTS[kind]
    tables.content.append((identity, subject, "Hello, this is what the mail says. " * 8))
    for attempt in range(1, tried + 1):
        last = attempt == tried
        outcome = "accepted" if last and not failed else "deferred"
        reply = "2.0.0 queued" if outcome == "accepted" else words.format(address)
        tables.attempt.append(
            (
                identity, attempt, "worker-1", _SERVER, "dot", outcome,
                250 if outcome == "accepted" else code, reply, later, 80,
            )
        )  # fmt: skip


def _address(random: Random, count: int) -> str:
    """Few people get most of the mail; there are a third as many people as mails."""
    person = int(max(1, count // 3) ** random.random())
    return f"Person.{person}@{'example' if person % 3 else 'mail'}{person % 11}.com"


def _insert(
    connection: sa.Connection, table: str, rows: Sequence[tuple[Any, ...]], *, native: bool
) -> None:
    names = ", ".join(_COLUMNS[table])
    if native:
        cursor = connection.connection.cursor()
        with cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)
        return
    mark = "?" if connection.dialect.name == "sqlite" else "%s"
    marks = ", ".join([mark] * len(_COLUMNS[table]))
    plain = [tuple(map(_plain, row)) for row in rows]
    connection.exec_driver_sql(f"INSERT INTO {table} ({names}) VALUES ({marks})", plain)


def _plain(value: Any) -> Any:
    """``value`` as SQLite and MySQL store it."""
    if isinstance(value, uuid.UUID):
        return value.hex
    if isinstance(value, datetime):
        return value.astimezone(timezone.utc).strftime("%Y-%m-%d %H:%M:%S.%f")
    return value
