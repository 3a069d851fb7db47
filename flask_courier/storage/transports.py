"""What all workers know of a transport: whether its breaker is open, and who probes.

One row for each transport's name; a changed URI has another name, so that it starts closed. All
times are the database's. Every call that writes begins with its write, as a transaction on SQLite
must; those that only read may follow a write, not go before it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.replies import TRANSPORT_OUTCOMES, Outcome, printable
from flask_courier.storage.dialect import db_time, insert_if_absent, run
from flask_courier.storage.models import Transport

_CLOSED = "closed"
_OPEN = "open"
#: A closed row is this fresh at least; a write for every mail would make all workers wait for it.
_FRESH = timedelta(seconds=10)
_CAUSE_LIMIT = 48
_REASON_LIMIT = 255
_ERROR_LIMIT = 512


@dataclass(frozen=True)
class TransportRow:
    """What is known of one transport, for pages and the command line."""

    name: str
    #: ``closed`` (mail flows) or ``open`` (only probes go out).
    breaker: str
    #: Why it is open: the stable word, and the same in plain language.
    cause: str | None
    reason: str | None
    #: Faults of this cause in a row.
    faults: int
    #: When the breaker last opened.
    opened_at: datetime | None
    next_probe_at: datetime | None
    #: The message that met the last fault.
    last_message_id: uuid.UUID | None
    last_ok_at: datetime | None
    #: What the last fault said; stays after the breaker has closed.
    last_error: str | None

    @property
    def is_open(self) -> bool:
        """Whether only probes go out."""
        return self.breaker == _OPEN


def is_open(name: str | sa.BindParameter[str]) -> sa.ColumnElement[bool]:
    """The condition that the transport's breaker is open, for use inside another statement."""
    return (
        sa.select(sa.literal(1))
        .select_from(Transport)
        .where(Transport.name == name, Transport.breaker == _OPEN)
        .exists()
    )


def fault(
    session: Session,
    name: str,
    *,
    outcome: Outcome,
    cause: str,
    reason: str,
    error: str,
    message_id: uuid.UUID | None,
    wait: Callable[[int], timedelta],
    probing: bool = False,
) -> int:
    """Note a fault of the transport: its breaker opens, or stays open for longer.

    Only the fault that opens the breaker and those of probes count and move the next probe. Other
    sessions may have been on the wire when it opened: eight timeouts that end together are one
    outage, not eight faults in a row, and a straggler that ends minutes later must not put off the
    probe that is about to find the server back. Of a straggler only the error is kept.

    :param cause: the stable word of what broke; ``reason`` is the same in plain language.
    :param error: what the server or the system said, already masked.
    :param message_id: the message that met the fault; another one probes, if another one is due.
    :param wait: from the faults in a row to the time until the next probe.
    :param probing: this session was let through because it had won the probe.
    :return: the faults of this cause in a row: another one begins with a wait of its own.
    :raises ValueError: if ``outcome`` says nothing of a transport.
    """
    if outcome not in TRANSPORT_OUTCOMES:
        raise ValueError(
            f"{outcome} says nothing of the transport {name!r}; record it with its message and"
            " leave the breaker alone"
        )
    insert_if_absent(session, Transport, {"name": name, "breaker": _CLOSED, "faults": 0})
    this = sa.update(Transport).where(Transport.name == name)
    # A write even for a straggler: the row is then ours until the transaction ends, and nobody
    # counts between the statements that follow.
    run(session, this.values(last_error=printable(error)[:_ERROR_LIMIT]))
    closed = Transport.breaker == _CLOSED
    counted = this.where(sa.true() if probing else closed).ordered_values(
        # MySQL assigns from left to right: the breaker goes after what is read of it.
        (Transport.opened_at, sa.case((closed, db_time()), else_=Transport.opened_at)),
        (Transport.breaker, _OPEN),
        (Transport.faults, sa.case((Transport.cause == cause, Transport.faults + 1), else_=1)),
        (Transport.cause, cause[:_CAUSE_LIMIT]),
        (Transport.reason, reason[:_REASON_LIMIT]),
        (Transport.last_message_id, message_id),
    )
    counts = run(session, counted).rowcount == 1
    number = sa.select(Transport.faults).where(Transport.name == name)
    faults: int = run(session, number).scalar_one()
    if counts:
        run(session, this.values(next_probe_at=db_time(wait(faults))))
    return faults


def win_probe(session: Session, name: str, *, lease: timedelta) -> bool:
    """Ask to be the one that probes; of many that ask at once exactly one is answered True.

    :param lease: how long the probe may take: then the next one may ask, so that a prober that
        died stops nobody.
    """
    statement = (
        sa.update(Transport)
        .where(
            Transport.name == name,
            Transport.breaker == _OPEN,
            Transport.next_probe_at <= db_time(),
        )
        .values(next_probe_at=db_time(lease))
    )
    return run(session, statement).rowcount == 1


def hurry(session: Session, name: str) -> None:
    """Let somebody probe now, whatever the schedule says: a person has asked for it."""
    statement = sa.update(Transport).where(Transport.name == name, Transport.breaker == _OPEN)
    run(session, statement.values(next_probe_at=db_time()))


def last_faulty(session: Session, name: str) -> uuid.UUID | None:
    """The message that met the last fault, while the breaker is open. Reads only."""
    statement = sa.select(Transport.last_message_id).where(
        Transport.name == name, Transport.breaker == _OPEN
    )
    found: tuple[uuid.UUID | None] | None = run(session, statement).first()
    return None if found is None else found[0]


def ok(session: Session, name: str, *, create: bool = False, closes: bool = True) -> None:
    """Note that a message, or a test, got through: the breaker closes.

    Cheap to call for every message: nothing is written while the breaker is closed and the last
    note is less than 10 s old.

    :param create: also note it of a transport that has no row yet.
    :param closes: False for a session that was open before the breaker: a server may go on taking
        mail from it and refuse every new login.
    """
    old = sa.or_(Transport.last_ok_at.is_(None), Transport.last_ok_at <= db_time(-_FRESH))
    is_closed = Transport.breaker == _CLOSED
    stale = sa.or_(~is_closed, old) if closes else sa.and_(is_closed, old)
    closed = {"breaker": _CLOSED, "faults": 0, "last_ok_at": db_time()}
    statement = (
        sa.update(Transport)
        .where(Transport.name == name, stale)
        .values(**closed, cause=None, reason=None, next_probe_at=None, last_message_id=None)
    )
    if run(session, statement).rowcount == 0 and create:
        insert_if_absent(session, Transport, {"name": name, **closed})


def seconds_until_probe(session: Session, name: str) -> float | None:
    """Seconds until somebody may probe, 0.0 if now; None while it is closed. Reads only."""
    statement = sa.select(Transport.next_probe_at, db_time()).where(
        Transport.name == name, Transport.breaker == _OPEN
    )
    found: tuple[datetime, datetime] | None = run(session, statement).first()
    if found is None:
        return None
    due, now = found
    return max(0.0, (due - now).total_seconds())


def read(session: Session, name: str) -> TransportRow | None:
    """What is known of the transport, or None. Reads only."""
    found = run(session, _every().where(Transport.name == name)).first()
    return None if found is None else TransportRow(*found)


def all_rows(session: Session) -> list[TransportRow]:
    """What is known of every transport, by name. Reads only."""
    return [TransportRow(*row) for row in run(session, _every().order_by(Transport.name))]


def forget(session: Session, older_than: timedelta) -> None:
    """Delete the rows of transports that nobody has used for so long: of URIs that have changed."""
    moments = (Transport.last_ok_at, Transport.opened_at, Transport.next_probe_at)
    used = (sa.and_(moment.is_not(None), moment >= db_time(-older_than)) for moment in moments)
    run(session, sa.delete(Transport).where(sa.not_(sa.or_(*used))))


def _every() -> sa.Select[Any]:
    return sa.select(*(Transport.__table__.c[column.name] for column in fields(TransportRow)))
