"""The README is run, and compared with the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from flask_courier.cli import courier_commands
from flask_courier.cli.group import DONE, NOT_CONFIGURED, NOT_POSSIBLE, UNREACHABLE
from flask_courier.core.config import KEYS, CourierConfig, Key
from flask_courier.core.smtp_uri import parse_smtp_uri
from tests.readme import (
    APPLICATION,
    FIXTURES,
    LANGUAGE,
    LOG_ACCESS,
    POLICY,
    QUICKSTART,
    README,
    REMIND,
    ROOT,
    SIGN_UP,
    TESTING,
    Reader,
)


def test_quickstart_runs_in_debug(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The four lines make an application with both blueprints."""
    monkeypatch.setenv("FLASK_DEBUG", "1")

    app = Reader(monkeypatch, tmp_path).run(QUICKSTART)["app"]

    assert ["courier", "courier_log"] == list(app.blueprints)


def test_application_with_users_starts_as_printed(reader: Reader) -> None:
    """The application with users starts outside debug and testing, with our tables on its db."""
    app = reader.names["create_app"]()

    assert not app.debug
    assert "courier_message" in reader.names["db"].metadata.tables


def test_sign_up_sends_what_it_says(reader: Reader) -> None:
    """Signing up queues a verification mail and the application's own, committed together."""
    reader.run(SIGN_UP)
    app = reader.start()

    with app.app_context():
        reader.names["sign_up"]("ada@example.com", "a long enough password")
        table = reader.names["db"].metadata.tables["courier_message"]
        kinds = reader.names["db"].session.scalars(table.select().with_only_columns(table.c.kind))

        assert {"verification", "welcome"} == set(kinds)


def test_reminder_is_queued_once_for_its_time(reader: Reader) -> None:
    """The mail of the example with a key is due a day ahead, and is queued once."""
    reader.run(REMIND)
    app = reader.start()
    starts = datetime(2030, 5, 2, 18, tzinfo=timezone(timedelta(hours=2)))

    with app.app_context():
        user = reader.names["User"](id=7, email="ada@example.com")
        for _ in range(2):
            reader.names["remind"](user, "knots", starts)
        table = reader.names["db"].metadata.tables["courier_message"]
        rows = reader.names["db"].session.execute(table.select()).mappings().all()

        assert [("reminder", datetime(2030, 5, 1, 16), "reminder-knots-7")] == [  # noqa: DTZ001
            (row["kind"], row["next_attempt_at"], row["idempotency_key"]) for row in rows
        ]


def test_log_access_lets_admins_in(reader: Reader) -> None:
    """The function in the README decides who sees the delivery log."""
    reader.run(LOG_ACCESS)
    client = reader.start().test_client()
    for is_admin, status in ((True, 200), (False, 404)):
        reader.names["current_user"] = SimpleNamespace(is_authenticated=True, is_admin=is_admin)

        assert status == client.get("/courier/").status_code


def test_language(reader: Reader) -> None:
    """Account pages are in the language that the site's own session says."""
    reader.run(LANGUAGE)
    client = reader.start().test_client()
    headers = {"Accept-Language": "fr"}
    before = client.get("/account/recovery", headers=headers).headers["Content-Language"]
    with client.session_transaction() as session:
        session["language"] = "de"
    after = client.get("/account/recovery", headers=headers).headers["Content-Language"]
    assert ("fr", "de") == (before, after)


def test_policy_refuses_what_it_says(reader: Reader) -> None:
    """The policy in the README is the one that a new password meets."""
    objection = reader.run(POLICY)["objection"]

    assert "Not that one." == objection("correct horse battery staple")
    assert objection("another one") is None


def test_testing_block_passes(reader: Reader) -> None:
    """The README's test passes as printed."""
    reader.run(TESTING)["test_recovery"]()


def test_fixtures_block_passes(tmp_path: Path) -> None:
    """The README's tests with the package's fixtures pass as printed, beside its application."""
    (tmp_path / "test_site.py").write_text(f"{APPLICATION}\n{FIXTURES}", encoding="utf-8")
    plugin = ("-p", "flask_courier.testing.plugin", "-p", "no:cacheprovider")

    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *plugin, str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert 0 == result.returncode, result.stdout + result.stderr
    assert f"{FIXTURES.count('def test_')} passed" in result.stdout


def default_text(key: Key) -> str:
    """A key's default as the README writes it."""
    plain = key.default_text == "none" or isinstance(key.default, timedelta)
    text = key.default_text if plain else f"`{key.default_text}`"
    return text if key.testing_default is None else f"{text} (testing: `{key.testing_default}`)"


def test_configuration_table_is_the_code() -> None:
    """The table has one row for each key, with its default and what it does."""
    table = README.split("<!-- configuration -->")[1].split("<!-- /configuration -->")[0]

    rows = table.strip().splitlines()[2:]

    assert [f"| `{key.name}` | {default_text(key)} | {key.doc} |" for key in KEYS] == rows


def test_every_field_of_the_configuration_has_a_key() -> None:
    """What ``CourierConfig`` holds beside its keys is what Flask's own keys say."""
    names = [field.name for field in fields(CourierConfig)]

    assert [*(key.field for key in KEYS), "secret_keys", "debug", "testing"] == names


def test_routes_table_is_the_url_map(reader: Reader) -> None:
    """Every route of ours is in the table, and nothing else is."""
    app = reader.start()
    rules = {
        re.sub(r"<uuid:message_id>", "<id>", rule.rule)
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("courier") and not rule.endpoint.endswith("static")
    }
    told = set(
        re.findall(r"`(/(?:account|courier|[.]well-known)[^`?]*)`", README.split("## Routes")[1])
    )
    told.add("/courier/messages/<id>/preview")

    assert rules == {path for path in told if "…" not in path}


def test_command_table_is_the_command_line() -> None:
    """Every command is in the table, and nothing else is."""
    table = README.split("| `flask courier …` | what |")[1].split("```")[0]
    told = re.findall(r"^\| `(\w+)", table, re.MULTILINE)

    assert list(courier_commands.commands) == told


def test_exit_codes_are_those_of_the_commands() -> None:
    """The numbers that the README gives commands to end with are theirs."""
    said = README.split("## The command line")[1].split("|")[0]

    assert ["0", "1", "2", "3", "4"] == re.findall(r"\b\d\b", said)
    assert (0, 1, 3, 4) == (DONE, NOT_POSSIBLE, UNREACHABLE, NOT_CONFIGURED)


PROVIDER_URIS = re.findall(r"^\| [^|]+ \| `(smtps?://[^`]+)` \|$", README, re.MULTILINE)


@pytest.mark.parametrize("uri", PROVIDER_URIS)
def test_provider_uris_are_read(uri: str) -> None:
    """Each provider's URI in the README is one the parser reads, with user and password."""
    parsed = parse_smtp_uri(uri)

    assert parsed.username is not None
    assert parsed.password is not None
