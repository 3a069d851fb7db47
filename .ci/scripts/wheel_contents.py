"""Check that a wheel holds the whole package and nothing else: ``wheel_contents.py WHEEL``."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = "flask_courier/"


def package_files() -> set[str]:
    """Every file of the package that belongs to the project: tracked, or new and not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", PACKAGE]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return {name for name in listed.splitlines() if (ROOT / name).is_file()}


def main(wheel: str) -> int:
    """Compare the wheel with the package on disk and print what differs."""
    names = set(zipfile.ZipFile(wheel).namelist())
    shipped = {name for name in names if ".dist-info/" not in name}
    expected = package_files()

    faults = [f"{name} is not in the wheel" for name in sorted(expected - shipped)]
    faults += [
        f"{name} is in the wheel, but is no file of the package"
        for name in sorted(shipped - expected)
    ]
    for kind in ("py.typed", "openapi.json", "templates/", "static/", "translations/"):
        if not any(name.startswith(PACKAGE + kind) for name in shipped):
            faults.append(f"the wheel holds no {PACKAGE}{kind}")
    if not any(name.endswith("/licenses/LICENSE") for name in names):
        faults.append("the wheel holds no LICENSE")

    print(
        "\n".join(faults) or f"{wheel}: {len(shipped)} files, all of the package and nothing else"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
