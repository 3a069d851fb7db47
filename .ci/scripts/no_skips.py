"""Fail if a test was skipped that should have run: ``no_skips.py FOLDER`` reads its JUnit reports.

A skip stands if its reason says for what the test is not: "not for SQLAlchemy 2.1: ...".
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree as ET

REPORTS = ("test", "lowest", "python-3.10", "python-3.12", "python-3.13")
ALLOWED = "not for "


def faults(report: Path) -> list[str]:
    """What is wrong with one report: missing, empty, or with tests left out."""
    if not report.is_file():
        return [f"{report.stem}: there is no report, so these tests did not run"]
    cases = list(ET.parse(report).iter("testcase"))  # noqa: S314 - pytest wrote it a moment ago
    if not cases:
        return [f"{report.stem}: no test ran"]
    skips = [(case, skip) for case in cases for skip in case.iter("skipped")]
    return [
        f"{report.stem}: {case.get('classname')}::{case.get('name')}: {skip.get('message')}"
        for case, skip in skips
        if skip.get("type") == "pytest.skip" and not (skip.get("message") or "").startswith(ALLOWED)
    ]


def main(folder: str) -> int:
    """Print each test that did not run, with its reason."""
    found = [fault for name in REPORTS for fault in faults(Path(folder, f"{name}.xml"))]
    print("\n".join(found) or "none that should have run")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
