"""The OpenAPI file as the package ships it."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

FILE = Path(str(files("flask_courier") / "openapi.json"))
DOCUMENT: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
#: Every reason that a problem can name.
REASONS: list[str] = DOCUMENT["components"]["schemas"]["Problem"]["properties"]["reason"]["enum"]
