"""What a benchmark runs on: a sink, databases, the application's processes."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
from sqlalchemy.exc import OperationalError

from tests import databases
from tests.benchmarks.processes import ROOT, BrokenError, Child, end
from tests.benchmarks.site import ENVIRONMENT, smtp_uri

SQLITE = "sqlite"
POSTGRESQL = "postgresql"
MYSQL = "mysql"
#: What tables call those that run on a server.
_SERVERS = {POSTGRESQL: "pg", MYSQL: "mariadb"}


class Stage:
    """Starts processes and databases for one benchmark, and takes all of them away at its end."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._databases = 0
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="courier_bench")))
        self.sink = self.child("sink")
        self.port: int = self.sink.greeting["port"]
        self.reports: int = self.sink.greeting["reports"]

    def child(self, module: str, *arguments: str) -> Child:
        """A process of ours, until the end."""
        child = Child(module, *arguments)
        self._stack.callback(child.close)
        return child

    def proxy(self, delay: float) -> int:
        """The port of a proxy to the sink; ``delay`` is seconds in one direction."""
        port: int = self.child("proxy", str(self.port), str(delay)).greeting["port"]
        return port

    def url(self, kind: str) -> str:
        """A new database: ``sqlite``, ``postgresql`` or ``mysql``."""
        self._databases += 1
        if kind in _SERVERS:
            label = f"bench_{self._databases}"
            return self._stack.enter_context(databases.fresh_database(kind, label))
        return f"sqlite:///{self.folder / f'site{self._databases}.sqlite'}"

    def config(self, kind: str, **config: Any) -> dict[str, Any]:
        """What the application runs with, on a new database."""
        return {
            "url": self.url(kind),
            "COURIER_SMTP_URI": smtp_uri(self.port),
            "COURIER_WORKER": "manual",
            **config,
        }

    def ours(self, config: Mapping[str, Any], *, accounts: int = 0, wal: bool = False) -> Child:
        """A process with the application; ``accounts`` and ``wal`` shape its new database."""
        return self.child("ours", json.dumps({**config, "accounts": accounts, "wal": wal}))

    def worker(self, config: Mapping[str, Any]) -> subprocess.Popen[bytes]:
        """``flask courier worker`` on the application's database, until the end."""
        command = [sys.executable, "-m", "flask", "--app", "tests.benchmarks.site"]
        process = subprocess.Popen(
            [*command, "courier", "worker"],
            cwd=ROOT,
            env={**os.environ, ENVIRONMENT: json.dumps(dict(config))},
            stdout=subprocess.DEVNULL,
            stderr=(self.folder / "worker.log").open("ab"),
        )

        def stop() -> None:
            process.send_signal(signal.SIGTERM)
            end(process)

        self._stack.callback(stop)
        return process

    def worker_log(self) -> str:
        """The last words of the workers."""
        return (self.folder / "worker.log").read_text("utf-8", "replace")[-2000:]

    def accepted(self, count: int, *, patience: float = 120) -> dict[str, Any]:
        """Wait until the sink has ``count`` mails; answer its book, which begins again.

        :raises BrokenError: if it does not get them in time, or gets one twice.
        """
        deadline = time.monotonic() + patience
        while self.sink.ask("look")["accepted"] < count:
            if time.monotonic() > deadline:
                raise BrokenError(
                    f"{count} mails were to be sent, but the sink has {self.sink.ask('look')}"
                )
            time.sleep(0.05)
        book = self.sink.ask("mark")
        if not book["accepted"] == book["distinct"] == count:
            raise BrokenError(f"{count} mails to as many accounts were to be sent: {book}")
        return book

    def recorded(self, ours: Child, count: int, *, patience: float = 60) -> None:
        """Wait until ``count`` messages are down as sent.

        :raises BrokenError: if they are not in time.
        """
        deadline = time.monotonic() + patience
        while (found := ours.ask("statuses")) != {"sent": count}:
            if time.monotonic() > deadline:
                raise BrokenError(f"{count} messages were sent, but the database says {found}")
            time.sleep(0.05)

    def ready_made(self, ours: Child) -> str:
        """One mail as ours sends it, byte for byte, without the stuffing of dots (as latin-1)."""
        self.sink.ask("mark")
        ours.ask("fill", count=1)
        ours.ask("drain")
        self.accepted(1)
        mail: str = self.sink.ask("last")["mail"]
        return mail.replace("\r\n..", "\r\n.")


@contextmanager
def stage() -> Iterator[Stage]:
    """A stage of its own for a benchmark."""
    with ExitStack() as stack:
        yield Stage(stack)


def installed(module: str) -> bool:
    """Whether a peer is there; says so if not."""
    if importlib.util.find_spec(module) is not None:
        return True
    click.echo(f"  {module} is not installed, so it is left out: `make bench` has it")
    return False


def answering(kinds: Sequence[str]) -> tuple[str, ...]:
    """Those databases that answer; says which do not."""
    return tuple(kind for kind in kinds if kind not in _SERVERS or _answers(kind))


def _answers(kind: str) -> bool:
    try:
        with databases.administration(kind):
            return True
    except OperationalError:
        host = databases.server_url(kind).host
        click.echo(f"no {kind} server answers at {host}: its figures are left out\n")
        return False


def short(kind: str) -> str:
    """What a database is called in tables."""
    return _SERVERS.get(kind, kind)
