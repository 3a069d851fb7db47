"""The floors of the house are kept by import contracts, and each contract bites."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
VERDICT = re.compile(r"^(?P<name>.+) (?P<verdict>KEPT|BROKEN)(?: \(.*\))?$", re.MULTILINE)


class Plant(NamedTuple):
    """A violation: lines to add to files of the package, and the one contract they break."""

    contract: str
    lines: dict[str, str]


def plant(contract: str, **lines: str) -> Plant:
    """Name each file as its path from the package, ``__`` for the slash and without ``.py``."""
    return Plant(
        contract, {name.replace("__", "/") + ".py": line + "\n" for name, line in lines.items()}
    )


PLANTS = [
    plant("Floors", cli="import flask_courier.web.planted", web__planted=""),
    plant("Floors", web__planted="import flask_courier.cli"),
    plant("Floors", flows__planted="import flask_courier.delivery.planted", delivery__planted=""),
    plant("Floors", delivery__planted="import flask_courier.flows.planted", flows__planted=""),
    plant("Floors", new_top_level_room=""),
    plant("Core is pure", core__planted="import ssl"),
    plant("Core is pure", core__planted="import os"),
    plant("Core is pure", core__planted="from time import time"),
    plant("Core is pure", core__planted="import secrets"),
    plant("Core is pure", core__planted="from flask.globals import current_app"),
    plant(
        "Core is pure",
        core__planted="from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import logging",
    ),
    plant(
        "Core takes its clock and its randomness as values",
        core__planted="from flask_courier.core import clock",
    ),
    plant(
        "Core takes its clock and its randomness as values",
        core__planted="from flask_courier.core.ids import nonce",
    ),
    plant("No Flask below the door", signals="import click"),
    plant("No Flask below the door", delivery__planted="from flask import current_app"),
    plant("No Flask below the door", flows__planted="import flask_sqlalchemy"),
    plant("No Flask below the door", storage__planted="from wtforms import Form"),
    plant(
        "Views see neither SQL nor SMTP", web__planted="from flask_courier.storage import models"
    ),
    plant(
        "Views see neither SQL nor SMTP",
        web__planted="from flask_courier.storage.tokens import Token",
    ),
    plant(
        "Views see neither SQL nor SMTP", web__planted="from flask_courier.delivery import worker"
    ),
    plant("One door to SMTP", delivery__planted="from aiosmtplib.errors import SMTPException"),
    plant("One door to SMTP", testing__planted="import aiosmtplib"),
    plant("One door to signatures", storage__planted="from itsdangerous import Signer"),
    plant("One door to signatures", core__planted="from itsdangerous.exc import BadSignature"),
    plant("SQL lives in storage", cli="import sqlalchemy"),
    plant("SQL lives in storage", delivery__planted="from sqlalchemy.orm import Session"),
    plant("SQL lives in storage", state="import sqlalchemy.orm"),
    plant("Few may touch the outbox", state="from flask_courier.storage import outbox"),
    plant(
        "Few may touch the outbox",
        delivery__planted="from flask_courier.storage.outbox import claim",
    ),
    plant("Flows are strangers", flows__recovery="from flask_courier.flows import verification"),
    plant("Flows are strangers", flows__verification="from flask_courier.flows import recovery"),
    plant(
        "No circles",
        core__planted="import flask_courier.core.planted_too",
        core__planted_too="import flask_courier.core.planted",
    ),
]


@cache
def verdicts(folder: Path) -> dict[str, str]:
    """What import-linter says of the package and the pyproject.toml in ``folder``, by contract."""
    command = "from importlinter.cli import lint_imports; exit(lint_imports(no_cache=True))"
    run = subprocess.run(
        [sys.executable, "-c", command], cwd=folder, capture_output=True, text=True, check=False
    )
    found = {match["name"]: match["verdict"] for match in VERDICT.finditer(run.stdout)}
    assert found, run.stdout + run.stderr
    assert run.returncode == int("BROKEN" in found.values())
    return found


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A copy of the package and its contracts, to be spoiled."""
    shutil.copytree(
        ROOT / "flask_courier",
        tmp_path / "flask_courier",
        ignore=shutil.ignore_patterns("__pycache__", "templates", "static"),
    )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def broken(folder: Path) -> set[str]:
    """The contracts that the package in ``folder`` breaks."""
    return {name for name, verdict in verdicts(folder).items() if verdict == "BROKEN"}


def test_the_package_keeps_every_contract() -> None:
    """No import of the package goes up, sideways or through a closed door."""
    assert set() == broken(ROOT)


def test_every_contract_has_a_plant() -> None:
    """A contract without a planted violation below might forbid nothing."""
    assert {planted.contract for planted in PLANTS} == set(verdicts(ROOT))


@pytest.mark.parametrize("planted", PLANTS, ids=lambda planted: "; ".join(planted.lines.values()))
def test_a_violation_breaks_the_contract_named(house: Path, planted: Plant) -> None:
    """The planted lines break their own contract and no other."""
    for name, lines in planted.lines.items():
        with (house / "flask_courier" / name).open("a", encoding="utf-8") as file:
            file.write(lines)

    assert {planted.contract} | broken(ROOT) == broken(house)
