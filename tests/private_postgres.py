"""A PostgreSQL server that belongs to one test, which may stop it as it likes.

It lives in a temporary folder and listens on a free loopback port. Where the server's programs are
not installed the test skips and says so; with ``CI`` set it fails.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

#: PostgreSQL refuses to run as root.
_ACCOUNT = "postgres"
#: Below the ports that systems give to outgoing connections: none takes ours while we are stopped.
_FIRST_PORT, _PORTS = 20_000, 10_000

_SETTINGS = """
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
shared_buffers = 16MB
max_connections = 60
"""
_FAST = """
fsync = off
full_page_writes = off
"""


class PrivatePostgres:
    """A server in ``folder``; see :func:`private_postgres`."""

    def __init__(self, programs: Path, folder: Path, *, durable: bool, settings: str) -> None:
        self._programs = programs
        self._data = folder / "data"
        self._log = folder / "log"
        self._port = _free_port()
        self._run(
            "initdb", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )
        with (self._data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write(f"{_SETTINGS}port = {self._port}\n{'' if durable else _FAST}{settings}\n")

    @property
    def url(self) -> str:
        """For SQLAlchemy; the same after each start."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self._port}/postgres"

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self._port

    def start(self) -> None:
        """Start it, and wait until it answers; also after a stop of any kind."""
        self._run("pg_ctl", "-w", "-t", "60", "-l", str(self._log), "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop it, and wait until it has.

        :param mode: ``smart`` waits for clients, ``fast`` hangs up on them, ``immediate`` is a
            crash: the next start recovers what was committed.
        """
        self._run("pg_ctl", "-w", "-t", "60", "-m", mode, "stop")

    @property
    def is_running(self) -> bool:
        """Whether it has been started and not stopped."""
        return (self._data / "postmaster.pid").exists()

    def _run(self, program: str, *arguments: str) -> None:
        # No pipe: the server inherits it from pg_ctl, and keeps it open.
        with tempfile.TemporaryFile("w+") as output:
            ended = subprocess.run(
                [self._programs / program, "-D", self._data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._data.parent,
                check=False,
                **_as_account(),
            )
            output.seek(0)
            assert ended.returncode == 0, output.read()


@contextmanager
def private_postgres(*, durable: bool = False, settings: str = "") -> Iterator[PrivatePostgres]:
    """A server that has been started; stopped at the end, and its folder removed.

    :param durable: whether commits would survive a power cut, too; no stop loses any.
    :param settings: more lines of ``postgresql.conf``.
    """
    programs = _programs()
    if os.geteuid() == 0 and not _account_exists():
        _give_up("PostgreSQL does not run as root, and there is no user postgres")
    with tempfile.TemporaryDirectory(prefix="courier_postgres_") as name:
        if os.geteuid() == 0:
            shutil.chown(name, _ACCOUNT, _ACCOUNT)
        server = PrivatePostgres(programs, Path(name), durable=durable, settings=settings)
        try:
            server.start()
            yield server
        finally:
            if server.is_running:
                server.stop("immediate")


def _programs() -> Path:
    """Where the server's programs are: what pg_config says, else the newest that Debian has."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name)
    )
    if (config := shutil.which("pg_config")) is not None:
        said = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=True)
        folders.append(Path(said.stdout.strip()))
    whole = [
        folder
        for folder in folders
        if all((folder / program).exists() for program in ("initdb", "pg_ctl", "postgres"))
    ]
    if not whole:
        _give_up("PostgreSQL's initdb and pg_ctl are not installed")
    return whole[-1]


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        raise AssertionError(reason)
    pytest.skip(reason)


def _account_exists() -> bool:
    return any(_ACCOUNT == entry.pw_name for entry in pwd.getpwall())


def _as_account() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {}
    return {"user": _ACCOUNT, "group": _ACCOUNT, "extra_groups": []}


def _free_port() -> int:
    """A loopback port that nobody listens on; other test processes begin to look elsewhere."""
    for step in range(100):
        port = _FIRST_PORT + (os.getpid() * 7 + step) % _PORTS
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free loopback port among a hundred")
