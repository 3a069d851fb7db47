"""The OpenAPI file says what the code does; ``test_schemathesis`` holds its answers to it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from enum import Enum
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from flask_courier.core.actions import WHY_NOT, Action, Obstacle
from flask_courier.core.replies import Outcome
from flask_courier.core.status import Status
from flask_courier.core.steps import State
from flask_courier.flows.redemption import Death
from tests.everything import Everything
from tests.openapi import DOCUMENT, REASONS

ROOT = Path(__file__).parents[2]
#: What no program asks for: files, and the HTML part of a mail, for a frame.
NOT_JSON = {"courier.static", "courier_log.preview"}


def reasons(node: ast.AST) -> Iterator[str]:
    """The reasons that a call of ``Refused`` names, or that a variable ``reason`` may hold."""
    found: list[ast.expr] = []
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refused":
        found = [node.args[1]]
    elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "reason":
        value = node.value
        found = [value.body, value.orelse] if isinstance(value, ast.IfExp) else []
    for expression in found:
        if isinstance(expression, ast.Constant):
            yield str(expression.value)


def reasons_in_code() -> set[str]:
    """Every reason that the account pages and the log can answer with."""
    modules = (ROOT / "flask_courier" / "web").rglob("*.py")
    trees = [ast.parse(module.read_text("utf-8")) for module in modules]
    named = {reason for tree in trees for node in ast.walk(tree) for reason in reasons(node)}
    deaths = {f"link_{death.value}" for death in Death if death is not Death.FORGED}
    return named | deaths | {"link_invalid"} | {obstacle.value for obstacle in Obstacle}


def prefix_of(path: str) -> str:
    """Where the routes of a path are, if nothing is configured."""
    servers = DOCUMENT["paths"][path].get("servers", DOCUMENT["servers"])
    default: str = servers[0]["variables"]["prefix"]["default"]
    return default


def operations(item: dict[str, Any]) -> dict[str, Any]:
    """What a path has by method."""
    return {name: value for name, value in item.items() if name != "servers"}


def test_paths_are_the_routes(database_url: str) -> None:
    """Every route and method of the account pages and of the log is there, and no other."""
    everything = Everything(database_url)
    everything.close()
    app = everything.site.app
    routes = {
        (re.sub(r"<(?:uuid:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith(("courier.", "courier_log.")) and rule.endpoint not in NOT_JSON
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert routes == {
        (prefix_of(path) + path, method)
        for path, item in DOCUMENT["paths"].items()
        for method in operations(item)
    }


def test_reasons_are_those_of_the_code() -> None:
    """Every reason that the code can answer with is in the file, and nothing else is."""
    assert sorted(reasons_in_code()) == sorted(REASONS)


def reasons_of(operation: dict[str, Any], status: str) -> set[str]:
    """The reasons that an operation names for a status."""
    name = operation["responses"][status]["$ref"].rpartition("/")[2]
    content = DOCUMENT["components"]["responses"][name]["content"]["application/problem+json"]
    return set(content["schema"]["allOf"][1]["properties"]["reason"]["enum"])


@pytest.mark.parametrize("action", Action)
def test_obstacles_are_those_of_the_action(action: Action) -> None:
    """An action names what can be in its way, and nothing that cannot."""
    operation = DOCUMENT["paths"][f"/messages/{{message_id}}/{action}"]["post"]
    # Another transaction that is in the way is no conflict of the message.
    found = reasons_of(operation, "404") | reasons_of(operation, "409") | {Obstacle.BUSY}
    assert set(WHY_NOT[action]) == found


def test_obstacles_of_many() -> None:
    """Of each of many messages any obstacle can be told."""
    named = DOCUMENT["components"]["schemas"]["Result"]["properties"]["why_not"]["enum"]
    assert {*Obstacle, None} == set(named)


@pytest.mark.parametrize(
    ("schema", "member", "values"),
    [
        ("Done", "action", Action),
        ("Bulk", "action", Action),
        ("Results", "action", Action),
        ("CheckStep", "state", State),
    ],
)
def test_words_are_those_of_the_code(schema: str, member: str, values: type[Enum]) -> None:
    """Where a member is one of a few words, the file knows all of them."""
    found = DOCUMENT["components"]["schemas"][schema]["properties"][member]["enum"]
    assert [one.value for one in values] == found


@pytest.mark.parametrize(
    ("schema", "member", "values"),
    [("Choice", "possible", Action), ("Health", "messages", Status), ("Hour", "attempts", Outcome)],
)
def test_counts_are_of_every_word(schema: str, member: str, values: type[Enum]) -> None:
    """Where there is a number for each word, none is missing."""
    found = DOCUMENT["components"]["schemas"][schema]["properties"][member]
    assert {one.value for one in values} == set(found["required"]) == set(found["properties"])


def test_readme_names_every_reason() -> None:
    """The README's list of reasons is that of the code."""
    listed = (ROOT / "README.md").read_text("utf-8").split("with a `reason`:")[1].split("```")[0]
    assert reasons_in_code() == set(re.findall(r"`([a-z_]+)`", listed.split("\n\n")[0]))


def test_version() -> None:
    """The file is of this version of the package."""
    assert version("flask-courier") == DOCUMENT["info"]["version"]


def test_operations_have_names_of_their_own() -> None:
    """Clients that are generated from the file get one function for each operation."""
    names = [
        operation["operationId"]
        for item in DOCUMENT["paths"].values()
        for operation in operations(item).values()
    ]
    assert sorted(set(names)) == sorted(names)
