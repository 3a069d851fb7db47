"""Print this package's dependencies at their lower bounds, or check that a pinned list has them.

``bounds.py`` prints one ``name==version`` a line; ``bounds.py FILE`` exits with 1 and names each
bound that FILE does not pin. Needs Python 3.11 (tomllib).
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


def pinned(line: str) -> str:
    """``name==version`` of a lone lower bound or a pin, the name folded as PEP 503 says."""
    match = re.fullmatch(r"([\w.-]+)[>=]=([\w.]+)", line)
    if match is None:
        raise SystemExit(f"{line!r} is no lone lower bound: write it as name>=version.")
    name = re.sub(r"[-_.]+", "-", match[1]).lower()
    return f"{name}=={match[2]}"


def main(arguments: list[str]) -> int:
    """Print the bounds, or compare them with the list named."""
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))["project"]
    bounds = {pinned(line) for line in project["dependencies"]}
    if not arguments:
        print("\n".join(sorted(bounds)))
        return 0

    lines = Path(arguments[0]).read_text("utf-8").splitlines()
    missing = bounds - {pinned(line) for line in lines if not line.startswith("#")}
    for bound in sorted(missing):
        print(f"{arguments[0]} lacks {bound}, which pyproject.toml allows: run `make locks`.")
    return 1 if missing else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
