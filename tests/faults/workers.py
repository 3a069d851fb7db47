"""Worker processes to be killed, stopped and replaced; each starts in a moment.

One process without threads has everything imported and forks the workers from itself. They end
with it, and it ends with the test's process.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

import jinja2
import sqlalchemy as sa

from flask_courier.core.clock import utc_now
from flask_courier.core.ids import new_id
from flask_courier.core.messages import Lane
from flask_courier.delivery import runner
from flask_courier.storage import outbox
from flask_courier.storage.dialect import db_time, run
from flask_courier.storage.models import Message
from flask_courier.storage.uow import Conflict, Database
from tests.site import Site, make_site

ROOT = Path(__file__).parents[2]

#: Seconds; the shortest lease that leaves a busy machine room between renewal (a third of it) and
#: the moment where no final dot goes out any more (5 seconds before its end).
LEASE = 10.0
#: Seconds that anything may take on a busy machine.
LONG = 60.0
#: Characters of a large mail: more than the buffers of a loopback connection hold.
LARGE = 6_000_000

_TEMPLATES = {
    "plain": "hello {{ name }}",
    "large": "{{ ('x' * 69 + '\n') * (" + str(LARGE // 70) + ") }}",
    "deadly": "{{ die() }}",
}
#: How a worker ends that renders the template "deadly".
DIED = 66
_PR_SET_PDEATHSIG = 1


# ---------------------------------------------------------------------- in the workers


def site_of(url: str, **config: Any) -> Site:
    """A site on tables that are there, with the templates of fault tests."""
    site = make_site(url, create=False, COURIER_WORKER="external", **config)
    texts = {f"fault/{name}.txt": text for name, text in _TEMPLATES.items()}
    subjects = {f"fault/{name}.subject.txt": "Hello" for name in _TEMPLATES}
    environment = site.app.jinja_env
    assert environment.loader is not None
    environment.loader = jinja2.ChoiceLoader(
        [jinja2.DictLoader(texts | subjects), environment.loader]
    )
    known: dict[str, Any] = environment.globals
    known["die"] = lambda: os._exit(DIED)
    return site


def serve(url: str, lease: float, config: dict[str, Any]) -> None:
    """Deliver until SIGTERM, as ``flask courier worker`` does."""
    parts = site_of(url, **config).app.extensions["courier"].worker_parts("external")
    preparer = replace(parts.preparer, lease=timedelta(seconds=lease))
    runner.serve(replace(parts, preparer=preparer))


def claim_everything(url: str, count: int, file: str) -> None:
    """Claim what is due until nothing is; write the ids to a file, one a line."""
    database = database_of(site_of(url))
    lease = timedelta(minutes=10)
    with Path(file).open("w", encoding="ascii") as output:
        while True:
            try:
                claims = database.transact(
                    lambda session: outbox.claim(session, count=count, lease=lease)
                )
            except Conflict:
                continue
            if not claims:
                return
            output.writelines(f"{claim.id}\n" for claim in claims)


_ROLES: dict[str, Callable[..., None]] = {
    function.__name__: function for function in (serve, claim_everything)
}


# ---------------------------------------------------------------------- in the nursery


def nursery() -> None:
    """Do what each line of standard input says, and answer it with a line, until there is none."""
    children: set[int] = set()
    codes: dict[int, int] = {}
    for line in sys.stdin:
        order = json.loads(line)
        pid = order.get("pid")
        answer: int | None = None
        if "role" in order:
            answer = _fork(order["role"], order["arguments"])
            children.add(answer)
            codes.pop(answer, None)
        elif pid in children and "signal" in order:
            os.kill(pid, order["signal"])
        elif pid in children:
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                children.remove(pid)
                codes[pid] = answer = os.waitstatus_to_exitcode(status)
        else:
            answer = codes[pid]
        print(json.dumps(answer), flush=True)  # noqa: T201 - its answer
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)


def _fork(role: str, arguments: dict[str, Any]) -> int:
    pid = os.fork()
    if pid == 0:
        _work(role, arguments)
    return pid


def _work(role: str, arguments: dict[str, Any]) -> NoReturn:
    code = 1
    try:
        if sys.platform == "linux":
            # However the nursery ends, nobody survives it.
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, 0)
        os.dup2(nothing, 1)
        _ROLES[role](**arguments)
        code = 0
    except BaseException:  # noqa: BLE001 - this process ends here, and says why
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


# ---------------------------------------------------------------------- in the test's process


class Nursery:
    """The process that forks the workers."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def _ask(self, **order: Any) -> int | None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer: int | None = json.loads(self._process.stdout.readline())
        return answer

    def start(self, role: str, **arguments: Any) -> int:
        """Fork a process that does this; answer its number."""
        pid = self._ask(role=role, arguments=arguments)
        assert pid is not None
        return pid

    def send(self, pid: int, number: signal.Signals) -> None:
        """Send a signal to a process that has been started and not been waited for."""
        self._ask(pid=pid, signal=number)

    def ended(self, pid: int) -> int | None:
        """How the process ended (less than 0: by that signal), or None if it runs."""
        return self._ask(pid=pid)

    def wait(self, pid: int, timeout: float = LONG) -> int | None:
        """Wait for its end; None if it does not come in time."""
        deadline = time.monotonic() + timeout
        while (code := self.ended(pid)) is None and time.monotonic() < deadline:
            breathe()
        return code


@contextmanager
def open_nursery() -> Iterator[Nursery]:
    """A nursery; whoever it has started ends with it."""
    command = "from tests.faults.workers import nursery; nursery()"
    with subprocess.Popen(
        [sys.executable, "-c", command],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Nursery(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(LONG)


@dataclass(frozen=True)
class Hand:
    """One worker process."""

    pid: int
    #: What it calls itself when it greets a server.
    name: str


class Crew:
    """The workers of one site; those that still run at the end are killed."""

    def __init__(self, nursery: Nursery, url: str, **config: Any) -> None:
        self._nursery = nursery
        self._url = url
        self._config = config
        self._hired = 0
        self.hands: list[Hand] = []

    def hire(self, count: int = 1, *, lease: float = LEASE) -> list[Hand]:
        """Start so many workers."""
        hired: list[Hand] = []
        for _ in range(count):
            self._hired += 1
            name = f"worker{self._hired}.example"
            config = {**self._config, "COURIER_SMTP_LOCAL_NAME": name}
            pid = self._nursery.start("serve", url=self._url, lease=lease, config=config)
            hired.append(Hand(pid, name))
        self.hands += hired
        return hired

    def kill(self, hand: Hand) -> None:
        """End it as a power cut would; fails if it was gone before."""
        self.signal(hand, signal.SIGKILL)
        assert -signal.SIGKILL == self.wait(hand)

    def signal(self, hand: Hand, number: signal.Signals) -> None:
        """Send it a signal."""
        self._nursery.send(hand.pid, number)

    def runs(self, hand: Hand) -> bool:
        """Whether it has not ended yet."""
        return self._nursery.ended(hand.pid) is None

    def wait(self, hand: Hand, timeout: float = LONG) -> int | None:
        """Wait for its end; None if it does not come in time."""
        code = self._nursery.wait(hand.pid, timeout)
        if code is not None:
            self.hands.remove(hand)
        return code

    def dismiss(self) -> None:
        """Kill whoever still runs."""
        for hand in tuple(self.hands):
            self.signal(hand, signal.SIGKILL)
            self.wait(hand)


def database_of(site: Site) -> Database:
    """The site's own way to storage."""
    database: Database = site.app.extensions["courier"].database
    return database


def queue(
    site: Site, count: int, *, template: str = "plain", lane: Lane = Lane.NOTICE, first: int = 0
) -> None:
    """Queue so many mails to user0@example.com and on, in one transaction."""
    rows = [
        {"b_id": new_id(utc_now()), "b_recipient": f"user{first + number}@example.com"}
        for number in range(count)
    ]
    statement = sa.insert(Message).values(
        id=sa.bindparam("b_id", type_=Message.id.type),
        created_at=db_time(),
        kind=f"fault/{template}",
        status="queued",
        recipient=sa.bindparam("b_recipient"),
        recipient_folded=sa.bindparam("b_recipient"),
        context={"name": "Ada"},
        lane=int(lane),
        attempts=0,
        claims=0,
        next_attempt_at=db_time(),
        expires_at=db_time(timedelta(days=1)),
    )
    database_of(site).transact(lambda session: run(session, statement, rows))


def statuses(site: Site) -> dict[str, int]:
    """How many messages have each status."""
    statement = sa.select(Message.status, sa.func.count()).group_by(Message.status)
    found = database_of(site).transact(lambda session: run(session, statement).all())
    return dict(map(tuple, found))


def unfinished(site: Site) -> int:
    """How many messages are queued or processing."""
    statement = sa.select(sa.func.count()).where(Message.status.in_(["queued", "processing"]))
    found: int = database_of(site).transact(lambda session: run(session, statement).scalar_one())
    return found


def settle(reached: Callable[[], bool], timeout: float = LONG) -> bool:
    """Look until ``reached`` is true; whether it became so in time."""
    deadline = time.monotonic() + timeout
    while not (answer := reached()) and time.monotonic() < deadline:
        breathe()
    return answer


def breathe(seconds: float = 0.05) -> None:
    """Leave the machine to the workers for a moment."""
    threading.Event().wait(seconds)


def write_ahead(site: Site) -> None:
    """Let a SQLite file be read while it is written, as more than one worker needs it."""
    with site.app.app_context(), site.db.engine.connect() as connection:
        assert "wal" == connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar()


def duplicates(keys: Sequence[str]) -> int:
    """How many of these came before."""
    return len(keys) - len(set(keys))
