"""What worker tests queue and change: mails of the application's own, and the times of rows."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import jinja2
from sqlalchemy import event

from flask_courier.core.messages import RecordedMessage
from tests.observation import update
from tests.site import Site

LONG_AGO = datetime(2001, 1, 1)  # noqa: DTZ001 - as the database stores it: UTC, and no zone
DEADLINE = 20.0


def queue_own(
    site: Site,
    to: str = "ada@example.com",
    *,
    subject: str = "Hello",
    text: str = "hello {{ name }}",
) -> None:
    """Queue a mail of the application's own."""
    kind = f"own{hash((subject, text))}"
    loader = jinja2.DictLoader({f"{kind}/m.subject.txt": subject, f"{kind}/m.txt": text})
    with site.app.app_context():
        present = site.app.jinja_env.loader
        assert present is not None
        site.app.jinja_env.loader = jinja2.ChoiceLoader([loader, present])
        site.courier.send(f"{kind}/m", to=to, context={"name": "Ada"})
        site.db.session.commit()


def queue_recovery(site: Site, email: str = "ada@example.com") -> None:
    """Queue a recovery mail to an account that is there."""
    with site.app.app_context():
        site.courier.request_recovery(email)
        site.db.session.commit()


def make_due(site: Site) -> None:
    """Let every queued message be due now."""
    update(site, "courier_message", next_attempt_at=LONG_AGO)


def deliver_again(site: Site) -> dict[str, int]:
    """Deliver everything that waits, due or not."""
    make_due(site)
    return site.deliver()


def recorded(site: Site) -> list[RecordedMessage]:
    """Deliver what is due; answer the mails that were accepted."""
    with site.courier.record_messages(site.app) as outbox:
        site.deliver()
    return outbox


def states(site: Site) -> list[tuple[str, str | None]]:
    """Status and reason of every message, oldest first."""
    rows = sorted(site.rows("courier_message"), key=lambda row: str(row["id"]))
    return [(row["status"], row["reason"]) for row in rows]


def only(site: Site, table: str = "courier_message") -> dict[str, Any]:
    """The one row of a table."""
    [row] = site.rows(table)
    return row


def eventually(expected: object, look: Callable[[], object]) -> None:
    """Look until ``expected`` is seen, or a deadline has passed."""
    pause, moment = threading.Event(), 0.0
    while (seen := look()) != expected and moment < DEADLINE:
        pause.wait(0.02)
        moment += 0.02
    assert expected == seen


class _Watcher(logging.Handler):
    def __init__(self, action: str) -> None:
        super().__init__()
        self.action = action
        self.seen = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if getattr(record, "action", None) == self.action:
            self.seen.set()


@contextmanager
def watched(action: str) -> Iterator[threading.Event]:
    """An event that is set when the worker logs ``action``."""
    watcher = _Watcher(action)
    logger = logging.getLogger("flask_courier.worker")
    logger.addHandler(watcher)
    try:
        yield watcher.seen
    finally:
        logger.removeHandler(watcher)


@contextmanager
def failing(site: Site, beginning: str) -> Iterator[None]:
    """Let the database refuse the statements that begin so."""

    def refuse(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.startswith(beginning):
            raise OSError("the disk is gone")

    with site.app.app_context():
        engine = site.db.engine
    event.listen(engine, "before_cursor_execute", refuse)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", refuse)


@contextmanager
def in_thread(work: Callable[[], object]) -> Iterator[threading.Thread]:
    """Run ``work`` beside the block; it must have ended at the block's end."""
    thread = threading.Thread(target=work)
    thread.start()
    yield thread
    thread.join(DEADLINE)
    assert not thread.is_alive()
