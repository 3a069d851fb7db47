"""The security checklist: each of its lines is a test that bears its number."""

from __future__ import annotations

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
LINES = {f"s{number:02}" for number in range(1, 36)}
NAME = re.compile(r"test_(s\d\d)_\w+")


def lines_in(source: str) -> set[str]:
    """The lines of the checklist that a module tests, each by a test that says what it shows."""
    named = [
        (NAME.fullmatch(node.name), ast.get_docstring(node))
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef)
    ]
    return {match[1] for match, docstring in named if match is not None and docstring}


def test_every_line_has_a_test() -> None:
    """No line of the checklist is without a test, and none is numbered that is not on it."""
    found = set[str]().union(*(lines_in(path.read_text("utf-8")) for path in TESTS.rglob("*.py")))
    assert (set(), set()) == (LINES - found, found - LINES)


def test_a_line_needs_a_test_with_a_sentence() -> None:
    """A number in a comment, in another name or over no sentence is no test of that line."""
    source = (
        "# test_s01_said()\ndef s02_not_a_test():\n    '''Fact.'''\n"
        "def test_s03_silent():\n    pass\ndef test_s04_told():\n    '''Fact.'''\n"
    )
    assert {"s04"} == lines_in(source)
