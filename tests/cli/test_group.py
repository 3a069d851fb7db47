"""What every command has: help, exit codes, and a sentence where the database fails."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from flask.cli import FlaskGroup

from flask_courier import ConfigError
from flask_courier.cli import courier_commands
from tests.cli.commands import NOBODY, run
from tests.databases import every_database
from tests.site import Site, make_site

COMMANDS = {
    "worker": ("--once",),
    "test": ("ada@example.com",),
    "list": (),
    "show": (NOBODY,),
    "retry": (NOBODY,),
    "resend": (NOBODY,),
    "cancel": (NOBODY,),
    "purge": (),
    "stats": (),
}


def test_group_lists_its_commands(site: Site) -> None:
    """``flask courier --help`` names each command with a sentence."""
    code, output = run(site, "--help")
    listed = output.split("Commands:\n")[1].split("\n\n")[0]
    names = {line.split()[0] for line in listed.splitlines()}
    assert 0 == code
    assert set(courier_commands.commands) == names >= set(COMMANDS)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS)])
def test_help_tells_the_exit_codes(site: Site, command: tuple[str, ...]) -> None:
    """Each command explains itself, ``--json`` and its exit codes."""
    code, output = run(site, *command, "--help")
    assert (0, "Usage: ") == (code, output[:7])
    assert "  3  the database or the SMTP server was out of reach, or refused" in output
    assert not command or "--json" in output


def test_unknown_command(site: Site) -> None:
    """An unknown command ends with 2."""
    code, output = run(site, "wroker")
    assert 2 == code
    assert "No such command 'wroker'" in output


@every_database
@pytest.mark.parametrize("name", COMMANDS)
def test_without_tables(sites: Callable[..., Site], name: str) -> None:
    """Without its tables each command says in one sentence how to make them, and ends with 3."""
    site = sites(create=False)
    with site.app.app_context():
        site.db.drop_all()
    try:
        code, output = run(site, name, *COMMANDS[name])
    finally:
        with site.app.app_context():
            site.db.create_all()
    assert 3 == code
    assert (1, "flask courier: the tables of") == (output.count("\n"), output[:28])
    assert "'flask db upgrade'" in output


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://ada:hush@127.0.0.1:1/site",
        "mysql+pymysql://ada:hush@127.0.0.1:1/site",
        "sqlite:////nowhere/site.sqlite",
    ],
)
@pytest.mark.parametrize("name", COMMANDS)
def test_without_database(sites: Callable[..., Site], name: str, url: str) -> None:
    """A database that is away is named as such, without its address or the login."""
    code, output = run(sites(url, create=False), name, *COMMANDS[name])
    assert 3 == code
    assert output.startswith("flask courier: the database cannot be reached")
    assert not any(word in output for word in ("127.0.0.1", "hush", "nowhere", "ada"))


def test_database_that_stays_locked(sites: Callable[..., Site], tmp_path: Path) -> None:
    """Where another transaction is in the way twice, the command says so."""
    site = sites(SQLALCHEMY_ENGINE_OPTIONS={"connect_args": {"timeout": 0.05}})
    blocker = sqlite3.connect(tmp_path / "site.sqlite", isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    try:
        code, output = run(site, "stats")
    finally:
        blocker.close()
    assert (3, "flask courier: another transaction was") == (code, output[:38])


def run_unstartable(*arguments: str) -> Result:
    """``flask …`` of an application whose configuration cannot work, in two ways."""
    flask = FlaskGroup(
        create_app=lambda: make_site("sqlite://", SECRET_KEY="short", COURIER_CODE_DIGITS=2).app
    )
    return CliRunner().invoke(flask, arguments)


@pytest.mark.parametrize("name", ["check", *COMMANDS])
def test_configuration_that_cannot_work(name: str) -> None:
    """Every problem is told, as other errors of a command line are, and the end is 4."""
    result = run_unstartable("courier", name)
    first, *problems = result.output.splitlines()
    assert (4, "Error: flask_courier cannot start:") == (result.exit_code, first)
    assert ["SECRET_KEY", "COURIER_CODE_DIGITS"] == [problem.split()[1] for problem in problems]


@pytest.mark.parametrize("command", [(), *((name,) for name in ("check", *COMMANDS))])
def test_help_tells_of_configuration_that_cannot_work(site: Site, command: tuple[str, ...]) -> None:
    """Each command says how it ends if the configuration cannot work."""
    _, output = run(site, *command, "--help")
    assert re.search("4 (if )?the configuration cannot work", " ".join(output.split()))


def test_configuration_that_cannot_work_elsewhere() -> None:
    """Outside a command line it is no error of one."""
    with pytest.raises(ConfigError) as caught:
        make_site("sqlite://", SECRET_KEY="short")
    assert ConfigError is caught.type
