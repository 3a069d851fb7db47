"""``flask courier check``: how its steps are printed, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from tests.site import Site
from tests.smtp_server import PASSWORD, USERNAME, MailServer, closed_port

MakeSite = Callable[..., Site]
#: Columns of a terminal.
WIDTH = 80


def run(site: Site, *arguments: str) -> tuple[int, str]:
    """``flask courier check …``: its exit code and what it prints."""
    result = site.app.test_cli_runner().invoke(args=["courier", "check", *arguments])
    return result.exit_code, result.output


def states(output: str) -> dict[str, str]:
    """The state of each step in the JSON."""
    return {step["name"]: step["state"] for step in json.loads(output)["steps"]}


def test_good(mailing_site: Site) -> None:
    """A site that can send ends with 0, each step on a line of its own."""
    code, output = run(mailing_site)
    assert 0 == code
    assert "ok       auth           Logged in with AUTH PLAIN.\n" in output
    assert "failed" not in output.lower()


def test_good_as_json(mailing_site: Site) -> None:
    """The JSON says that all is good, and has for each step its name, state, words and advice."""
    code, output = run(mailing_site, "--json")
    told = json.loads(output)
    assert (0, True) == (code, told["ok"])
    assert {("name", "state", "words", "advice")} == {tuple(step) for step in told["steps"]}
    assert "ok" == states(output)["sender"]


def test_failed(mailing_site: Site, mail_server: MailServer) -> None:
    """A step that failed stands out, with what to do below it, and the end is 1."""
    mail_server.answers["AUTH"] = "535 5.7.8 no"
    code, output = run(mailing_site)
    assert 1 == code
    assert "FAILED   auth           User name or password was refused." in output
    assert f"\n{' ' * 24}-> Correct them in COURIER_SMTP_URI;" in output
    assert ", 1 failed, " in output.splitlines()[-1]


def test_failed_as_json(mailing_site: Site, mail_server: MailServer) -> None:
    """The JSON says what failed and what was skipped; the end is 1 all the same."""
    mail_server.answers["AUTH"] = "535 5.7.8 no"
    code, output = run(mailing_site, "--json")
    assert (1, False) == (code, json.loads(output)["ok"])
    assert ("failed", "skipped") == (states(output)["auth"], states(output)["sender"])


def test_warnings_only(site: Site) -> None:
    """Warnings end with 0."""
    code, output = run(site)
    assert (0, True) == (code, "warning  configuration  NOTHING LEAVES" in output)


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_database_out_of_reach(
    sites: MakeSite, mail_config: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    """Without its database it ends with 3, and has looked at the SMTP server all the same."""
    site = sites("sqlite:////nonexistent/site.sqlite", create=False, **mail_config)
    code, output = run(site, *arguments)
    assert 3 == code
    assert "Logged in with AUTH PLAIN." in output


def test_missing_tables(sites: MakeSite) -> None:
    """Without its tables it ends with 1."""
    code, output = run(sites(create=False))
    assert 1 == code
    assert "FAILED   tables         Tables that are missing: all 8." in output


def test_fits_a_terminal(sites: MakeSite) -> None:
    """No line is wider than a terminal of 80 columns."""
    with closed_port() as port:
        site = sites(COURIER_SMTP_URI=f"smtp://127.0.0.1:{port}/")
    _, output = run(site)
    assert [] == [line for line in output.splitlines() if len(line) > WIDTH]


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_no_credentials(
    sites: MakeSite, mail_config: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    """Neither user name nor password nor the sender's address is printed; its domain is."""
    _, output = run(sites(**mail_config), *arguments)
    secrets = (PASSWORD, USERNAME, quote(PASSWORD, safe=""), quote(USERNAME, safe=""), "no-reply@")
    assert [] == [secret for secret in secrets if secret in output]
    assert "acme.example" in output


def test_help(site: Site) -> None:
    """The help says what it does and how it ends."""
    code, output = run(site, "--help")
    assert 0 == code
    assert "Say whether mail would go out" in output
    assert "3 if the database is out of reach" in " ".join(output.split())
