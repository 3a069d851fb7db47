"""Starts application servers, puts load on them, and counts what became of it."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
#: How many processes serve, and how many clients ask.
PROCESSES = 3
CLIENTS = 6
#: Seconds that a server may take to start, on a busy machine.
START = 60.0
#: Seconds that a server gives its processes to end by themselves; what takes longer is killed.
GRACEFUL = 30
#: Seconds within which they must have ended.
END = 20.0


class _Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket: no port that another test could take."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=30)
        self._path = path

    def connect(self) -> None:
        """Dial the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def post(path: str, target: str) -> int:
    """Post nothing to ``target``; answer the status."""
    connection = _Connection(path)
    try:
        connection.request("POST", target, body=b"")
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


@dataclass
class Load:
    """Clients that post one mail after the other until the server hangs up."""

    path: str
    #: What was asked for and answered: the mail's name, and the status.
    answers: dict[str, int] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin, in threads."""
        self._threads = [
            threading.Thread(target=self._post, args=(number,)) for number in range(CLIENTS)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End, and wait for the last answers."""
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _post(self, client: int) -> None:
        turn = 0
        while not self._ended.is_set():
            name = f"user{client}-{turn}"
            try:
                self.answers[name] = post(self.path, f"/mail/{name}")
            except (OSError, http.client.HTTPException):
                # The server is going away, which is what the test wants; the mail may be queued.
                return
            turn += 1


@dataclass
class Server:
    """A running application server."""

    process: subprocess.Popen[bytes]
    path: str
    log: Path

    def wait_until_it_answers(self) -> None:
        """Wait for the first answer."""
        deadline, pause = time.monotonic() + START, threading.Event()
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with suppress(OSError, http.client.HTTPException):
                post(self.path, "/nothing/here")
                return
            pause.wait(0.05)
        raise AssertionError(f"no answer in {START} seconds: {self.log.read_text()}")

    def terminate(self) -> int:
        """SIGTERM to its first process, as a supervisor does; answer the return code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(END)


@contextmanager
def serving(
    command: Sequence[str], url: str, smtp_uri: str, *, queues_at_import: bool
) -> Iterator[Server]:
    """A server until the end of the block; ``{socket}`` in its command is where it listens."""
    # Short: the path of a Unix socket has room for about a hundred bytes.
    with tempfile.TemporaryDirectory(prefix="courier_") as folder:
        path, log = f"{folder}/http", Path(folder, "log")
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TEST_DATABASE_URL": url,
            "TEST_SMTP_URI": smtp_uri,
            "TEST_QUEUES_AT_IMPORT": "yes" if queues_at_import else "no",
        }
        with (
            log.open("wb") as output,
            subprocess.Popen(
                [part.replace("{socket}", path) for part in command],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # A group of its own, so that none of its processes outlives the test.
                start_new_session=True,
            ) as process,
        ):
            try:
                yield Server(process, path, log)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def gunicorn(kind: str, *options: str) -> list[str]:
    """Gunicorn, with worker processes of this kind."""
    threads = ("--threads", "4") if kind == "gthread" else ()
    return [
        *(sys.executable, "-m", "gunicorn", "tests.servers.app:create_app()"),
        *("--workers", str(PROCESSES), "--worker-class", kind, *threads),
        *("--bind", "unix:{socket}", "--no-control-socket"),
        *("--graceful-timeout", str(GRACEFUL)),
        *options,
    ]


def uwsgi(*options: str) -> list[str]:
    """uWSGI, which has a Python of its own inside."""
    return [
        *("uwsgi", "--plugin", "python3", "--need-app", "--master", "--processes", str(PROCESSES)),
        *("--enable-threads", "--http-socket", "{socket}"),
        # Its own idea of SIGTERM kills processes that are busy, and runs no hook of Python's there.
        *("--hook-master-start", "unix_signal:15 gracefully_kill_them_all"),
        *("--pythonpath", str(ROOT), "--pythonpath", sysconfig.get_path("purelib")),
        *("--module", "tests.servers.app:create_app()"),
        *("--worker-reload-mercy", str(GRACEFUL)),
        *options,
    ]
