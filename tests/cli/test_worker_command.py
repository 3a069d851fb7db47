"""``flask courier worker``: what is due now, or everything until a signal."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.cli.commands import flask, queue, run, run_json
from tests.delivery.mails import eventually, queue_own, queue_recovery, states
from tests.scripted_smtp import scripted_smtp
from tests.site import Site
from tests.smtp_server import MailServer

MakeSite = Callable[..., Site]


def uri(server: MailServer) -> str:
    """How a worker that needs no login reaches the server."""
    return f"smtp://localhost:{server.port}/?disable_starttls=true"


def test_once_with_nothing_to_do(site: Site) -> None:
    """``worker --once`` with an empty queue says so and ends with 0."""
    assert (0, "nothing was due\n") == run(site, "worker", "--once")


def test_once(sites: MakeSite) -> None:
    """``worker --once`` delivers what is due and says what came of it."""

    def answer(line: bytes) -> str:
        return "550 5.1.1 no such user" if b"eve" in line else "250 OK"

    with scripted_smtp(RCPT=answer) as server:
        site = sites(COURIER_SMTP_URI=server.uri)
        for name in ("ada", "bob", "eve"):
            queue_own(site, f"{name}@example.com")
        code, output = run(site, "worker", "--once")
    assert (0, "1 abandoned, 2 sent") == (code, output.splitlines()[-1])


def test_once_as_json_counts_what_had_no_attempt(site: Site) -> None:
    """``worker --once --json`` counts every outcome, also those that never reached a server."""
    queue_own(site)
    queue_recovery(site, "nobody@example.com")
    assert (0, {"sent": 1, "suppressed": 1}) == run_json(site, "worker", "--once")


def test_once_with_nothing_to_do_as_json(site: Site) -> None:
    """Without any message the JSON is an empty object."""
    assert (0, {}) == run_json(site, "worker", "--once")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_worker_until_a_signal(
    sites: MakeSite, database_url: str, cleartext: MailServer, number: signal.Signals
) -> None:
    """``worker`` delivers what comes; at a signal it finishes the mail on the wire and ends."""
    site = sites(COURIER_SMTP_URI=uri(cleartext))
    with flask(database_url, uri(cleartext), "courier", "worker") as process:
        queue(site)
        cleartext.wait_for(1)
        cleartext.at_dot.clear()
        cleartext.may_answer.clear()
        queue(site)
        assert cleartext.at_dot.wait(20)
        process.send_signal(number)
        cleartext.may_answer.set()
        output, errors = process.communicate(timeout=20)
    told = errors.splitlines()
    assert (0, "") == (process.returncode, output)
    assert "flask_courier worker: delivering; stop with Ctrl-C." == told[0]
    assert re.fullmatch(r"flask_courier worker: stopped after \d+ m?s?i?n?.*; 2 sent", told[-1])
    assert [("sent", None)] * 2 == states(site)


def test_two_workers_share_the_queue(
    sites: MakeSite, database_url: str, cleartext: MailServer
) -> None:
    """Two worker processes deliver every message once."""
    site = sites(COURIER_SMTP_URI=uri(cleartext))
    for number in range(30):
        queue(site, f"user{number}@example.com")
    command = (database_url, uri(cleartext), "courier", "worker")
    with flask(*command), flask(*command):
        eventually([("sent", None)] * 30, lambda: states(site))
    recipients = sorted(envelope.rcpt_tos[0] for envelope in cleartext.envelopes)
    assert sorted(f"user{number}@example.com" for number in range(30)) == recipients


def stopped(database_url: str, server: MailServer, *options: str) -> tuple[str, list[str]]:
    """What a worker prints that delivers one mail and is stopped: output, and lines of errors."""
    with flask(database_url, uri(server), "courier", "worker", *options) as process:
        server.wait_for(1)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=20)
    assert 0 == process.returncode
    return output, errors.splitlines()


def test_log_lines_without_a_terminal(
    sites: MakeSite, database_url: str, cleartext: MailServer
) -> None:
    """Where no logging is set up and no terminal is there, each event is one line of pairs."""
    message_id = queue(sites())
    _, told = stopped(database_url, cleartext)
    [attempt] = [line for line in told if " action=attempt " in line]
    assert re.match(r"time=\S+\+00:00 level=info logger=flask_courier.worker ", attempt)
    assert f" message_id={message_id} outcome=accepted phase=dot code=250 " in attempt
    assert "ada@example.com" not in "".join(told)


def test_json_of_a_worker(sites: MakeSite, database_url: str, cleartext: MailServer) -> None:
    """``--json`` makes each log line an object, and prints the counts at the end."""
    queue(sites())
    output, told = stopped(database_url, cleartext, "--json")
    actions = [json.loads(line)["action"] for line in told[1:-1]]
    assert {"sent": 1} == json.loads(output)
    own = [action for action in actions if not action.startswith("listen_")]
    assert ["worker_start", "attempt", "worker_stop"] == own


@dataclass
class Terminal:
    """What a pseudo-terminal was told, as a person sees it."""

    master: int
    slave: int
    raw: str = ""
    _more: threading.Condition = field(default_factory=threading.Condition)

    def read(self) -> None:
        """Take in what comes until the other side is closed."""
        while True:
            try:
                taken = os.read(self.master, 4096)
            except OSError:
                return
            with self._more:
                self.raw += taken.decode()
                self._more.notify_all()

    def wait_for(self, wanted: str) -> None:
        """Wait until it was told this."""
        with self._more:
            found = self._more.wait_for(lambda: wanted in self.raw, 20)
        assert found, self.raw


@contextmanager
def terminal(columns: int = 60) -> Iterator[Terminal]:
    """A pseudo-terminal so wide."""
    import fcntl
    import struct
    import termios

    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    shown = Terminal(master, slave)
    reader = threading.Thread(target=shown.read)
    reader.start()
    try:
        yield shown
    finally:
        os.close(slave)
        reader.join(20)
        os.close(master)


def test_live_line_on_a_terminal(sites: MakeSite, database_url: str, cleartext: MailServer) -> None:
    """On a terminal one line tells the counts, drawn in place, and a summary ends it."""
    queue(sites())
    with (
        terminal() as shown,
        flask(database_url, uri(cleartext), "courier", "worker", stderr=shown.slave) as process,
    ):
        shown.wait_for("sent 1  waiting 0  failed 0  0.")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        shown.wait_for("; 1 sent\r\n")
    assert 0 == process.returncode
    assert "action=" not in shown.raw
    assert max(map(len, draws(shown))) < 60


def draws(shown: Terminal) -> list[str]:
    """What was drawn in place on the line below the greeting, before the summary."""
    return shown.raw.split("\r\n")[1].split("\r")[:-1]


def test_warnings_stand_above_the_live_line(sites: MakeSite, database_url: str) -> None:
    """On a terminal a warning is a line of its own, and the live line goes on below it."""
    with scripted_smtp(RCPT="550 5.1.1 no such user") as server:
        queue(sites())
        with (
            terminal(columns=200) as shown,
            flask(database_url, server.uri, "courier", "worker", stderr=shown.slave) as process,
        ):
            shown.wait_for("failed 1")
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)
    [warning] = [line for line in shown.raw.split("\r\n") if "outcome=rejected" in line]
    last = warning.split("\r")[-1]
    assert last.startswith("time=")
    assert "sent 0" not in last


def test_live_line_is_as_narrow_as_its_terminal(
    sites: MakeSite, database_url: str, cleartext: MailServer
) -> None:
    """What finds no room on a narrow terminal is left out; nothing wraps."""
    queue(sites())
    with (
        terminal(columns=20) as shown,
        flask(database_url, uri(cleartext), "courier", "worker", stderr=shown.slave) as process,
    ):
        shown.wait_for("sent 1")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    drawn = {draw.strip() for draw in draws(shown)}
    assert "sent 1  waiting 0" in drawn
    assert max(map(len, drawn)) < 20
