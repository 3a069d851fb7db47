"""The site and its worker, each in a process of its own, as they would run on a server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from example_app.demo.terminal import StepFailedError, without_tokens
from example_app.mail_server import HOST

_ROOT = Path(__file__).parents[2]
#: Seconds that a process may take to start, and to end.
_PATIENCE = 20.0
_LAST_LINES = 12


class Child:
    """One ``flask --app example_app …``, whose output goes to a file in ``folder``."""

    def __init__(self, name: str, *arguments: str, folder: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self._log = folder / f"{name}.log"
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - this project's own command
                [sys.executable, "-m", "flask", "--app", "example_app", *arguments],
                cwd=_ROOT,
                env=_environment(env),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches the demo alone, which then ends its children in order.
                start_new_session=True,
            )

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    @property
    def state(self) -> str:
        """``is running``, or how it ended."""
        return "is running" if self.is_running else f"ended with status {self.process.returncode}"

    def finish(self) -> None:
        """Wait until it is done.

        :raises StepFailedError: if it fails, or takes too long.
        """
        try:
            status = self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise StepFailedError(f"{self.name} takes more than {_PATIENCE:g} seconds") from None
        if status:
            raise StepFailedError(f"{self.name} ended with status {status}")

    def wait_for_port(self, port: int) -> None:
        """Wait until it answers on ``port``.

        :raises StepFailedError: if it ends, or takes too long.
        """
        deadline = time.monotonic() + _PATIENCE
        while not _answers(port):
            self._watch(0.05)
            if time.monotonic() > deadline:
                raise StepFailedError(f"{self.name} does not answer on port {port}")

    def stop(self) -> None:
        """Ask it to end, and insist if it does not."""
        self.process.terminate()
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def output(self) -> str:
        """All that it has said."""
        return self._log.read_text(errors="replace")

    def last_lines(self) -> list[str]:
        """The end of its output, without anything that could be a token."""
        lines = self.output().splitlines()[-_LAST_LINES:]
        return [without_tokens(line) for line in lines]

    def _watch(self, seconds: float) -> None:
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return
        raise StepFailedError(f"{self.name} ended with status {status} before it answered")


def _answers(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def _environment(ours: Mapping[str, str]) -> dict[str, str]:
    """This process's environment, with our settings in place of whatever was set for Flask."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("FLASK_")}
    return {**others, "FLASK_SKIP_DOTENV": "1", **ours}
