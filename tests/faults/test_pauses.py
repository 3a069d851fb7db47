"""Workers that are stopped: for longer than their leases last, or for good by SIGTERM."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flask_courier.testing import FaultServer
from tests.databases import every_database
from tests.faults.workers import (
    LARGE,
    Crew,
    duplicates,
    queue,
    settle,
    statuses,
    unfinished,
    write_ahead,
)
from tests.site import Site

WORKERS = 4
#: Mails of a load, and how many of them are accepted before the workers are told to stop.
LOAD, BEFORE = 2_000, 100
#: Seconds that `flask courier worker` gives the mail on the wire, and some for a busy machine.
DRAIN, GRACE = 25.0, 10.0

_CHUNK = 64 * 1024
#: Bytes that the kernel keeps for a pipe: few, so that whoever sends a large mail has to wait.
_WINDOW = 16 * 1024


class SlowPipe:
    """Stands between workers and a server; in mid-payload its first connection reads no more."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        #: Set when the first connection has stopped to read.
        self.stuck = threading.Event()
        #: Lets it read on.
        self.go_on = threading.Event()
        self._sides: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _WINDOW)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)

    def close(self) -> None:
        """Hang up on everybody and take no more connections."""
        self.go_on.set()
        _hang_up(self._listener)
        self._threads[0].join()
        for side in self._sides:
            _hang_up(side)
        for thread in self._threads[1:]:
            thread.join()
        for side in (self._listener, *self._sides):
            side.close()

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        self._threads.append(threading.Thread(target=work, args=args, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._server_port))
            self._start(self._forward, client, server, 0 if self._sides else 2 * _CHUNK)
            self._start(self._forward, server, client)
            self._sides += [client, server]

    def _forward(self, source: socket.socket, target: socket.socket, stop: int = 0) -> None:
        """Pass on what comes; once ``stop`` bytes have come, wait."""
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                target.sendall(data)
                passed += len(data)
                if 0 < stop < passed:
                    self.stuck.set()
                    self.go_on.wait()
        _hang_up(source)
        _hang_up(target)


def _hang_up(side: socket.socket) -> None:
    with contextlib.suppress(OSError):
        side.shutdown(socket.SHUT_RDWR)


@contextmanager
def slow_pipe(port: int) -> Iterator[SlowPipe]:
    """A pipe to the server at this port."""
    pipe = SlowPipe(port)
    try:
        yield pipe
    finally:
        pipe.close()


def outcomes(site: Site) -> list[tuple[str, str]]:
    """Outcome and cause of each attempt, sorted."""
    return sorted((row["outcome"], row["cause"]) for row in site.rows("courier_attempt"))


@pytest.mark.slow
@pytest.mark.parametrize("database_name", ["sqlite", "postgresql"], indirect=True)
def test_a_worker_that_slept_past_its_lease_withdraws(
    site: Site, crews: Callable[..., Crew], database_name: str, database_url: str
) -> None:
    """Stopped in mid-payload past its lease, and woken, it sends no dot: there is one copy."""
    if database_name == "sqlite":
        write_ahead(site)
    with FaultServer(brief=True) as server, slow_pipe(server.port) as pipe:
        crew = crews(
            database_url, COURIER_SMTP_URI=f"smtp://127.0.0.1:{pipe.port}/?disable_starttls=true"
        )
        queue(site, 1, template="large")
        [sleeper] = crew.hire()
        assert pipe.stuck.wait(30)
        crew.signal(sleeper, signal.SIGSTOP)
        crew.hire()
        server.wait_for(1, 40.0)
        assert settle(lambda: {"sent": 1} == statuses(site))
        pipe.go_on.set()
        crew.signal(sleeper, signal.SIGCONT)
        assert settle(lambda: len(outcomes(site)) == 2)
        assert [("accepted", "accepted"), ("transport_fault", "lease_lost")] == outcomes(site)
        assert settle(lambda: not server.connections[0].is_open)
        assert (1, {"sent": 1}) == (len(server.messages), statuses(site))
        assert len(server.messages[0].options) == 1
        assert int(server.messages[0].options[0].removeprefix("SIZE=")) > LARGE


@pytest.mark.slow
@every_database
def test_workers_that_are_told_to_stop_leave_nothing_behind(
    site: Site, crews: Callable[..., Crew], database_name: str, database_url: str
) -> None:
    """SIGTERM under load: all end in time, nothing is left processing, and nothing comes twice."""
    if database_name == "sqlite":
        write_ahead(site)
    with FaultServer(brief=True, latency=0.02) as server:
        crew = crews(database_url, **server.config)
        queue(site, LOAD)
        crew.hire(WORKERS)
        server.wait_for(BEFORE, 40.0)
        hands = tuple(crew.hands)
        for hand in hands:
            crew.signal(hand, signal.SIGTERM)
        assert [0] * WORKERS == [crew.wait(hand, DRAIN + GRACE) for hand in hands]
        recipients = [message.recipients[0] for message in server.messages]
        found = statuses(site)
        assert {"sent": len(recipients), "queued": LOAD - len(recipients)} == found
        assert 0 == duplicates(recipients)
        waiting = [row for row in site.rows("courier_message") if row["status"] == "queued"]
        assert {0} == {row["claims"] for row in waiting}, "nothing was tried"
        assert found["queued"] == unfinished(site)
