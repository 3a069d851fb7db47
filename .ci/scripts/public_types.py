"""Check that a type checker knows the type of every public name, as Pyright reports it.

``pyright --verifytypes`` counts every module without an underscore as public. Here public is what
``flask_courier`` and ``flask_courier.testing`` list in ``__all__``; mypy and Pyright, both strict,
watch the rest.
"""

from __future__ import annotations

import importlib
import json
import subprocess
from typing import Any

PUBLIC = ("flask_courier", "flask_courier.testing")
COMMAND = ("pyright", "--verifytypes", "flask_courier", "--ignoreexternal", "--outputjson")


def public_names() -> set[str]:
    """Where each public name is defined, and where it is offered."""
    names: set[str] = set()
    for module in map(importlib.import_module, PUBLIC):
        for name in module.__all__:
            value = getattr(module, name)
            home = getattr(value, "__module__", module.__name__)
            names |= {f"{module.__name__}.{name}", f"{home}.{getattr(value, '__name__', name)}"}
    return names


def faults(report: dict[str, Any], public: set[str]) -> list[str]:
    """Each public symbol, or member of one, whose type is unknown or ambiguous, and why."""
    return [
        f"{symbol['name']}: {' '.join(d['message'] for d in symbol['diagnostics'])}"
        for symbol in report["typeCompleteness"]["symbols"]
        if (not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"])
        and any(f"{symbol['name']}.".startswith(f"{name}.") for name in public)
    ]


def main() -> int:
    """Run Pyright and print what it does not know."""
    run = subprocess.run(COMMAND, capture_output=True, text=True, check=False)
    report = json.loads(run.stdout)
    public = public_names()
    if not report["typeCompleteness"]["symbols"]:
        raise SystemExit(f"Pyright found no symbol of flask_courier: {run.stdout}{run.stderr}")
    found = faults(report, public)
    print("\n".join(found) or f"{len(public)} public names: every type is known")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
