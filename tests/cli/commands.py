"""``flask courier …`` as an operator runs it: in this process, or in one of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import jinja2
from flask import Flask

from tests.site import Site, make_site

ROOT = Path(__file__).parents[2]
TEMPLATES = {"own/m.subject.txt": "Hello", "own/m.txt": "hello"}
NOBODY = uuid.UUID(int=7)


def create_app() -> Flask:
    """The application that ``flask`` finds in a process of its own."""
    app = make_site(
        os.environ["TEST_DATABASE_URL"],
        create=False,
        COURIER_SMTP_URI=os.environ["TEST_SMTP_URI"],
        COURIER_WORKER="external",
        COURIER_SMTP_CONNECTIONS=1,
    ).app
    app.jinja_env.loader = jinja2.DictLoader(TEMPLATES)
    return app


@contextmanager
def flask(
    url: str, smtp_uri: str, *arguments: str, stderr: int | IO[Any] = subprocess.PIPE
) -> Iterator[subprocess.Popen[str]]:
    """``flask …`` in a process of its own."""
    environment = {
        **os.environ,
        "FLASK_APP": "tests.cli.commands",
        "TEST_DATABASE_URL": url,
        "TEST_SMTP_URI": smtp_uri,
    }
    with subprocess.Popen(
        [sys.executable, "-m", "flask", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def queue(site: Site, to: str = "ada@example.com") -> uuid.UUID:
    """Queue a mail that only the application of ``create_app`` can render; answer its id."""
    with site.app.app_context():
        message_id = site.courier.send("own/m", to=to)
        site.db.session.commit()
    return message_id


def run(site: Site, *arguments: object) -> tuple[int, str]:
    """``flask courier …`` in this process: its exit code and what it prints."""
    result = site.app.test_cli_runner().invoke(args=["courier", *map(str, arguments)])
    return result.exit_code, result.output


def run_json(site: Site, *arguments: object) -> tuple[int, Any]:
    """The same with ``--json``: its exit code and the document."""
    result = site.app.test_cli_runner().invoke(args=["courier", *map(str, arguments), "--json"])
    return result.exit_code, json.loads(result.stdout)
