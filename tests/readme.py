"""The README, and somebody who types it in."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
(
    QUICKSTART,
    APPLICATION,
    SIGN_UP,
    REMIND,
    LANGUAGE,
    FLASK_SECURITY,
    LEGACY,
    HAND_WRITTEN,
    LOGIN,
    POLICY,
    ADDRESS,
    SECOND_FACTOR,
    SIGN_IN,
    HANDED_OUT,
    SIGNALS,
    LOG_ACCESS,
    TESTING,
    FIXTURES,
) = BLOCKS


class Reader:
    """Somebody who types the README's blocks into one module, one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        module = ModuleType("readme")
        monkeypatch.setitem(sys.modules, "readme", module)
        # Flask looks for the templates beside the module, and for the instance in this folder.
        module.__file__ = str(folder / "readme.py")
        monkeypatch.chdir(folder)
        monkeypatch.setenv("SECRET_KEY", "what secrets.token_hex() printed")
        self.names: dict[str, Any] = module.__dict__

    def run(self, block: str) -> dict[str, Any]:
        """Run a block; answer everything that has a name by now."""
        exec(compile(block, "README.md", "exec"), self.names)  # noqa: S102 - it is ours
        return self.names

    def start(self) -> Flask:
        """The README's application, with its tables."""
        app: Flask = self.names["create_app"](
            TESTING=True, COURIER_SMTP_URI=None, COURIER_SIGN_IN=True
        )
        with app.app_context():
            self.names["db"].create_all()
        return app
