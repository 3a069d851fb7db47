"""Processes of their own, with a site that delivers by itself: to be ended, forked or killed."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]

SETUP = """
    import os, sys, threading, time, atexit
    from flask_courier.delivery.thread import EmbeddedWorker
    from tests.delivery.mails import queue_own, queue_recovery, states, eventually
    from tests.delivery.threads import embedded, worker_threads
    from tests.site import make_site
    site = make_site(sys.argv[1], COURIER_WORKER="thread", COURIER_SMTP_URI=sys.argv[2])
"""


@contextmanager
def script(body: str, url: str, smtp_uri: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process with a threaded site; its output is read line by line."""
    code = textwrap.dedent(SETUP) + textwrap.dedent(body)
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, url, smtp_uri],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: subprocess.Popen[str]) -> str:
    """The next line it prints, once it has been sent one."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return process.stdout.readline().strip()
