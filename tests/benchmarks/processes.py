"""Processes of a benchmark: a JSON line in, a JSON line out; they end when their stdin does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

Handlers = Mapping[str, Callable[..., Mapping[str, Any]]]


class BrokenError(RuntimeError):
    """A process of the benchmark ended, hung, or did not do what it was asked to do."""


class Child:
    """A process that runs one module of this package and does what :meth:`ask` asks.

    :param module: its name inside ``tests.benchmarks``.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._name = module if module != "peers" else f"{module} {arguments[0]}"
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        )
        #: What it said when it was ready.
        self.greeting = self._read(60)

    def ask(self, do: str, *, patience: float = 120, **question: Any) -> dict[str, Any]:
        """Its answer.

        :param patience: seconds after which it is ended.
        :raises BrokenError: if it ended before it answered.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **question}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise BrokenError(f"{self._name} is gone, so it could not {do}") from error
        return self._read(patience)

    def close(self) -> None:
        """End it: its stdin closes, and it has ten seconds."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        end(self._process)
        self._process.stdout.close()

    def _read(self, patience: float) -> dict[str, Any]:
        # Killed, it closes its stdout, and the line that is waited for is empty.
        assert self._process.stdout is not None
        watchdog = threading.Timer(patience, self._process.kill)
        watchdog.daemon = True
        watchdog.start()
        line = self._process.stdout.readline()
        watchdog.cancel()
        if not line:
            end(self._process)
            raise BrokenError(
                f"{self._name} ended with {self._process.returncode} instead of an answer"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer


def end(process: subprocess.Popen[Any]) -> None:
    """Wait ten seconds for a process of ours to end, then end it."""
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def greet(**words: Any) -> None:
    """Tell the parent that this process is ready."""
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


def answer_questions(handlers: Handlers) -> None:
    """Do what stdin asks, until it closes."""
    for line in sys.stdin:
        question: dict[str, Any] = json.loads(line)
        greet(**handlers[question.pop("do")](**question))


def resident_bytes(pid: int) -> int | None:
    """The memory that a process has in RAM; None where the system does not say."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")
