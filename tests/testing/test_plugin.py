"""The pytest plugin, in test runs of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CONFTEST = """
import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from werkzeug.security import generate_password_hash
from flask_courier import Courier
from sqlalchemy import Column, DateTime, Integer, String

def make_app(**config):
    app = Flask(__name__)
    app.config.update(
        TESTING=True,
        SECRET_KEY="long enough for a test",
        SQLALCHEMY_DATABASE_URI="sqlite://",
        COURIER_DEFAULT_SENDER="Acme <no-reply@acme.example>",
        **config,
    )
    db = SQLAlchemy(app)

    class User(db.Model):
        id = Column(Integer, primary_key=True)
        email = Column(String(320), unique=True)
        password_hash = Column(String(255))
        email_verified_at = Column(DateTime)

    Courier(app, db, user_model=User)
    with app.app_context():
        db.create_all()
        db.session.add(User(email="ada@example.com", password_hash="x"))
        db.session.commit()
    return app
"""
APP = (
    CONFTEST
    + """
@pytest.fixture
def app():
    app = make_app()
    yield app
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()
"""
)
MAILING_APP = (
    CONFTEST
    + """
@pytest.fixture
def app(smtp_server):
    app = make_app(COURIER_PUBLIC_URL="https://acme.example", **smtp_server.config)
    yield app
    with app.app_context():
        app.extensions["sqlalchemy"].engine.dispose()
"""
)

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs pytest on a project of two files, with no plugin but ours."""

    def run_pytest(conftest: str, test: str, *options: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "conftest.py").write_text(conftest)
        (tmp_path / "test_it.py").write_text(test)
        plugin = ("-p", "flask_courier.testing.plugin", "-p", "no:cacheprovider")
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *plugin, *options, str(tmp_path)],
            cwd=tmp_path,
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    return run_pytest


def test_courier_outbox(run: Run) -> None:
    """The fixture delivers what a test looks for, and begins each test empty."""
    result = run(
        APP,
        """
from flask_courier.testing import form_data

def test_recovery(app, courier_outbox):
    client = app.test_client()
    page = client.get("/account/recovery").text
    client.post("/account/recovery", data=form_data(page, email="ada@example.com"))
    link = courier_outbox.to("ada@example.com")[-1].link
    assert client.get(link, follow_redirects=True).status_code == 200

def test_empty(courier_outbox):
    assert courier_outbox == []
""",
        "-Werror",
    )
    assert 0 == result.returncode, result.stdout + result.stderr
    assert "2 passed" in result.stdout


def test_smtp_server(run: Run) -> None:
    """The fixture's config brings an application's mail to it, over TLS and with a login."""
    result = run(
        MAILING_APP,
        """

def test_recovery(app, courier_outbox, smtp_server):
    app.test_client().post("/account/recovery", json={"email": "ada@example.com"})
    [mail] = courier_outbox
    [message] = smtp_server.wait_for(1)
    assert mail.link in message.text
    assert smtp_server.connections[0].tls_version and smtp_server.logins[0].accepted
""",
        "-Werror",
    )
    assert 0 == result.returncode, result.stdout + result.stderr


def test_without_an_app(run: Run) -> None:
    """A project without an ``app`` fixture is told to write one."""
    result = run("", "def test_it(courier_outbox): pass")
    assert 1 == result.returncode
    assert "courier_outbox needs a fixture named 'app'" in result.stdout


def test_app_that_asks_for_something_missing(run: Run) -> None:
    """A fixture missing further down is named as pytest names it."""
    conftest = "import pytest\n@pytest.fixture\ndef app(databse): pass\n"
    result = run(conftest, "def test_it(courier_outbox): pass")
    assert "fixture 'databse' not found" in result.stdout


def test_fixtures_are_listed_with_what_they_do(run: Run) -> None:
    """``pytest --fixtures`` shows both, documented."""
    result = run("", "", "--fixtures")
    assert "looking at it delivers what is due" in result.stdout
    assert "smtp_server" in result.stdout


def test_start_is_light(run: Run) -> None:
    """Nobody who does not ask for a fixture pays for Flask or SQLAlchemy when pytest starts."""
    result = run(
        "",
        """
import sys

def test_it():
    heavy = {"flask", "sqlalchemy", "aiosmtplib", "jinja2", "trustme"}
    assert not heavy & set(sys.modules)
""",
    )
    assert 0 == result.returncode, result.stdout + result.stderr


def test_entry_point() -> None:
    """The plugin is found wherever the package is installed."""
    [plugin] = entry_points(group="pytest11", name="flask_courier")
    assert "flask_courier.testing.plugin" == plugin.value
