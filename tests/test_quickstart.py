"""The four lines of the quickstart, as they are printed, in a process of their own."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from flask_courier.testing import form_data
from tests.delivery.mails import eventually
from tests.smtp_server import closed_port

QUICKSTART = """\
from flask import Flask
from flask_courier import Courier
app = Flask(__name__)
Courier(app)
"""
MISSING = """\
flask_courier cannot start:
  - Courier has no database: pass your Flask-SQLAlchemy object, as in Courier(app, db).
  - Courier has no accounts: pass user_model= (your mapped class) or accounts= (an AccountStore).
  - SECRET_KEY is not set: every token is signed with it; set it to what `python -c 'import secrets; print(secrets.token_hex())'` prints.
  - COURIER_SMTP_URI is not set: set it to the server's URI, like smtp://user:password@smtp.acme.example:587/.
  - COURIER_DEFAULT_SENDER is not set: set it to who mail comes from, like "Acme <no-reply@acme.example>".
  - COURIER_PUBLIC_URL is not set: set it to the site's address, which every link begins with, like https://www.acme.example.
"""  # noqa: E501 - the text as people see it
NOTICE = (
    "flask_courier quickstart: debug is on and no accounts were given, so nothing leaves this "
    "machine, every address that asks becomes an account, and the delivery log shows live links"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the four lines in ``app.py``."""
    (tmp_path / "app.py").write_text(QUICKSTART)
    return tmp_path


def environment(*, debug: bool) -> dict[str, str]:
    """What a developer's shell has, and nothing of this project's."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FLASK_", "COURIER_", "PYTEST_", "WERKZEUG_"))
    }
    return {**inherited, "FLASK_DEBUG": str(int(debug)), "PYTHONUNBUFFERED": "1"}


class Browser:
    """A browser without redirects of its own; remembers cookies."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.cookies: dict[str, str] = {}

    def request(
        self, method: str, path: str, fields: dict[str, str] | None = None
    ) -> tuple[int, str, str]:
        """Status, location and body of an answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}
        if fields is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        connection.request(method, path, urlencode(fields) if fields else None, headers)
        answer = connection.getresponse()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        text = answer.read().decode()
        connection.close()
        return answer.status, answer.headers.get("Location", ""), text

    def get(self, path: str) -> str:
        """The page at ``path``."""
        status, _, text = self.request("GET", path)
        assert status == 200, (status, text)
        return text

    def fill(self, path: str, **fields: str) -> tuple[int, str, str]:
        """Open a page, fill its form in and send it."""
        return self.request("POST", path, form_data(self.get(path), **fields))

    def answers(self) -> bool:
        """Whether somebody serves."""
        try:
            return self.request("GET", "/account/recovery")[0] == 200
        except OSError:
            return False


@contextmanager
def served(project: Path) -> Iterator[Browser]:
    """``flask run`` in the project, debug on."""
    with closed_port() as port:
        command = [sys.executable, "-m", "flask", "run", "--no-reload", "--port", str(port)]
        log = (project / "log.txt").open("w")
        with (
            log,
            subprocess.Popen(
                command,
                cwd=project,
                env=environment(debug=True),
                stdout=log,
                stderr=log,
            ) as process,
        ):
            try:
                browser = Browser(port)
                eventually(expected=True, look=browser.answers)
                yield browser
            finally:
                process.terminate()


def link_in_log(browser: Browser) -> str:
    """The live link of the newest mail, once the log shows it."""

    def found() -> list[str]:
        messages = re.findall(r'href="(/courier/messages/[^"]+)"', browser.get("/courier/"))
        pages = [browser.get(path) for path in messages[:1]]
        return [link for page in pages for link in re.findall(r'href="(http[^"]+)"', page)]

    eventually(expected=True, look=lambda: bool(found()))
    [link] = found()
    return link


def test_quickstart_journey(project: Path) -> None:
    """Ask for a recovery, find the live link in the delivery log, and set a password with it."""
    with served(project) as browser:
        asked = browser.fill("/account/recovery", email="ada@example.com")
        assert (303, "/account/recovery/code") == asked[:2]
        link = urlsplit(link_in_log(browser))
        assert f"127.0.0.1:{browser.port}" == link.netloc
        opened = browser.request("GET", link.path)
        assert (303, "/account/recovery/password") == opened[:2]
        password = "correct horse battery staple"
        done = browser.fill(opened[1], password=password, confirm=password)
        assert (200, "") == done[:2]
        assert 410 == browser.request("GET", link.path)[0]


def test_quickstart_says_so(project: Path) -> None:
    """The log page and the terminal say that this is the quickstart, and that nothing leaves."""
    with served(project) as browser:
        page = browser.get("/courier/")
    assert "Quickstart: nothing leaves this machine" in page
    assert NOTICE in (project / "log.txt").read_text()


def test_quickstart_keeps_its_files_to_itself(project: Path) -> None:
    """The key file is its owner's alone; it and the database are in the instance folder."""
    with served(project) as browser:
        browser.get("/courier/")
    key = project / "instance" / "flask_courier.key"
    assert (0o600, 32) == (stat.S_IMODE(key.stat().st_mode), len(key.read_bytes()))
    assert (project / "instance" / "flask_courier.sqlite").is_file()


def test_link_outlives_a_restart(project: Path) -> None:
    """A link that was shown before the server was restarted still works."""
    with served(project) as browser:
        browser.fill("/account/recovery", email="ada@example.com")
        path = urlsplit(link_in_log(browser)).path
    with served(project) as browser:
        assert 303 == browser.request("GET", path)[0]


def test_quickstart_is_closed_to_others(project: Path) -> None:
    """Whoever comes by another name, or through a proxy, is not shown the log."""
    with served(project) as browser:
        connection = HTTPConnection("127.0.0.1", browser.port, timeout=20)
        statuses = []
        for headers in ({"Host": "rebound.example"}, {"X-Forwarded-For": "192.0.2.1"}):
            connection.request("GET", "/courier/", headers=headers)
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
        connection.close()
    assert [404, 404] == statuses


def test_outside_debug_everything_is_missing(project: Path) -> None:
    """Outside debug the four lines stop with one error that names all that is missing."""
    done = subprocess.run(
        [sys.executable, "-c", "import app"],
        cwd=project,
        env=environment(debug=False),
        capture_output=True,
        text=True,
        check=False,
    )
    assert 1 == done.returncode
    assert MISSING == done.stderr.partition("ConfigError: ")[2]
    assert ["app.py"] == sorted(path.name for path in project.iterdir() if path.is_file())


def test_nothing_leaves(project: Path) -> None:
    """A delivered mail is recorded as kept in the log; its attempt names no host."""
    with served(project) as browser:
        browser.fill("/account/verification", email="ada@example.com")
        link_in_log(browser)
        [path] = re.findall(r'href="(/courier/messages/[^"]+)"', browser.get("/courier/"))
        page = browser.get(path)
    assert "kept in the delivery log; nothing left this machine" in page
    assert "Nothing left this machine" in page
