"""Steps of a check that ask the database: its tables, its clock, the workers, the breaker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from flask_courier.core.clock import utc_now
from flask_courier.core.config import WorkerMode
from flask_courier.core.durations import UNITS
from flask_courier.core.steps import State, Step
from flask_courier.storage import dialect, inspection, log, transports, workers
from flask_courier.storage.failures import DatabaseFailure, explained
from flask_courier.storage.transports import TransportRow
from flask_courier.storage.uow import Database, Session

#: The steps of :func:`look`, in order.
NAMES = ("database", "tables", "clock", "worker")
#: How far two clocks may be apart.
TOLERANCE = timedelta(seconds=5)
#: A worker that has not been seen for so long is not at work; mail that has waited so long is late.
SILENCE = timedelta(minutes=1)


def look(database: Database, mode: WorkerMode) -> list[Step]:
    """Whether the database is fit for use, and whether somebody works on it."""

    def ask() -> list[Step]:
        with database.unit_of_work() as session:
            return _look(session, mode)

    return _asked(ask, NAMES)


def breaker(database: Database, name: str, *, works: bool) -> list[Step]:
    """Whether the breaker of the transport ``name`` keeps mail back; closed if it ``works``."""

    def ask() -> list[Step]:
        with database.unit_of_work() as session:
            row, now = transports.read(session, name), dialect.now(session)
        if row is None or not row.is_open:
            return [Step("breaker", State.OK, "Closed: nothing keeps mail back.")]
        if works:
            database.transact(lambda session: transports.ok(session, name))
        return [_open(row, now, works=works)]

    return _asked(ask, ("breaker",))


def _look(session: Session, mode: WorkerMode) -> list[Step]:
    dialect.now(session)
    # Asked again: opening the connection may have taken a while.
    here, there = utc_now(), dialect.now(session)
    absent = inspection.missing(session)
    kind = session.get_bind().dialect.name
    return [
        Step("database", State.OK, f"The database answers ({kind})."),
        _tables(absent),
        _clock(there - here),
        Step("worker", State.SKIPPED, "Not looked at without all tables.")
        if absent
        else _worker(session, mode),
    ]


def _asked(ask: Callable[[], list[Step]], names: tuple[str, ...]) -> list[Step]:
    try:
        with explained():
            return ask()
    except DatabaseFailure as failure:
        words, _, advice = str(failure).partition("; ")
        first = Step(names[0], State.FAILED, _sentence(words), _sentence(advice))
        skipped = "Not looked at, because the database failed."
        return [first, *(Step(name, State.SKIPPED, skipped) for name in names[1:])]


def _tables(absent: Mapping[str, tuple[str, ...]]) -> Step:
    every = len(inspection.tables())
    if not absent:
        return Step("tables", State.OK, f"All {every} tables are there, with their columns.")
    whole = [name for name, columns in absent.items() if not columns]
    parts = [f"{name} ({', '.join(columns)})" for name, columns in absent.items() if columns]
    if len(whole) == every:
        whole = [f"all {every}"]
    told = [
        *([f"Tables that are missing: {', '.join(whole)}."] if whole else []),
        *([f"Columns that are missing: {', '.join(parts)}."] if parts else []),
    ]
    advice = (
        "Run 'flask db migrate' and 'flask db upgrade'. Without migrations, db.create_all() in"
        " 'flask shell' makes tables that are missing; it adds no columns."
    )
    return Step("tables", State.FAILED, " ".join(told), advice)


def _clock(ahead: timedelta) -> Step:
    if abs(ahead) <= TOLERANCE:
        return Step("clock", State.OK, "The database and this machine agree on the time.")
    which = "ahead of" if ahead > timedelta(0) else "behind"
    return Step(
        "clock",
        State.WARNING,
        f"The database's clock is {about(abs(ahead))} {which} this machine's. Leases, retries and"
        " the end of links go by the database's; forms and certificates by this machine's.",
        "Let both follow NTP.",
    )


def _worker(session: Session, mode: WorkerMode) -> Step:
    waited = log.oldest_due_age(session)
    late = waited > SILENCE
    due = f" Mail that is due has waited for {about(waited)}." if late else ""
    if workers.any_seen(session, within=SILENCE):
        if not late:
            return Step("worker", State.OK, "A worker is at work, and no mail is late.")
        advice = "See the steps below, and 'flask courier list --status queued' for why."
        return Step("worker", State.WARNING, f"A worker is at work.{due}", advice)
    if mode is WorkerMode.EXTERNAL:
        return Step(
            "worker",
            State.FAILED if late else State.WARNING,
            f"COURIER_WORKER is 'external', and no worker was seen for a minute.{due}",
            "Run 'flask courier worker', and have it started again whenever it ends.",
        )
    if mode is WorkerMode.MANUAL:
        words = "COURIER_WORKER is 'manual': mail goes out only when it is told to."
        advice = "Call courier.deliver_pending(), or run 'flask courier worker --once'."
    else:
        words = "COURIER_WORKER is 'thread': the application delivers, from its first request on."
        advice = "Start the application and open one of its pages."
    if late:
        return Step("worker", State.WARNING, f"{words}{due}", advice)
    return Step("worker", State.OK, f"{words} No mail is late.")


def _open(row: TransportRow, now: datetime, *, works: bool) -> Step:
    since = "" if row.opened_at is None else f" for {about(now - row.opened_at)}"
    reason = row.reason or "The transport failed."
    if works:
        words = f"It was open{since}. {reason} It is closed now, as this check got through."
        return Step("breaker", State.OK, words)
    probe = timedelta(0) if row.next_probe_at is None else row.next_probe_at - now
    when = f"in {about(probe)}" if probe > timedelta(0) else "with the next mail"
    return Step(
        "breaker",
        State.WARNING,
        f"Open{since}: mail waits, and nothing is lost. {reason} One mail tries again {when}.",
        "Mend what failed above and run this check again: it then lets mail go at once.",
    )


def about(span: timedelta) -> str:
    """``span`` in words, roughly: ``45 seconds``, ``3 hours``."""
    seconds = int(span.total_seconds())
    unit, size = next(
        ((unit, size) for unit, size in UNITS.items() if seconds >= 2 * size), ("second", 1)
    )
    count = seconds // size
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""
