"""What imports cannot show: each fence reads the syntax tree and names what it finds.

A fence is a function from a module to its violations. Each is shown a planted violation first, and
then the real tree.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

MODULE_LINES = 300
FUNCTION_LINES = 40
#: What a fence's signature reads as: so all of them are found, planted for or not.
SIGNATURE = {"module": "Module", "return": "list[int]"}

#: What users import from, and packages that stand for one module to the rest of the house.
USERS_DOORS = {"flask_courier/__init__.py", "flask_courier/testing/__init__.py"}
OUR_DOORS = {"flask_courier/cli/__init__.py", "flask_courier/storage/outbox/__init__.py"}
DOOR = "'''Say.'''\nfrom flask_courier.cli.group import name\n__all__ = ['name']"
#: Who may swallow any exception at all, and why. A handler that ends in a bare ``raise`` swallows
#: nothing and needs no leave.
BROAD_EXCEPTS = {
    "flask_courier/delivery/carrier.py": "one message may raise anything; the others go on",
    "flask_courier/delivery/check_templates.py": "a loader may raise anything; the check says what",
    "flask_courier/delivery/housekeeper.py": "the next round, or a lease, makes good what fails",
    "flask_courier/delivery/intake.py": "one message may raise anything; the others go on",
    "flask_courier/delivery/listener.py": "hooks of the host's engine may raise anything",
    "flask_courier/delivery/pool.py": "a mail that is announced may raise anything in its own turn",
    "flask_courier/delivery/recorder.py": "a result outlives whatever the database says to it",
    "flask_courier/delivery/render.py": "a template may raise anything, and is told of",
    "flask_courier/delivery/thread.py": "it hands what a job raised to whoever awaits the job",
    "flask_courier/delivery/worker.py": "it outlives whatever one message or one claim does",
    "flask_courier/web/challenge.py": "a receiver of the host may raise anything; the flow is done",
    "flask_courier/web/log/access.py": "log_access may raise anything; the page stays closed",
}

CLOCKS = {
    "datetime.now", "datetime.utcnow", "datetime.today", "date.today",
    "time.time", "time.time_ns", "time.localtime", "time.gmtime", "time.strftime",
}  # fmt: skip
RANDOM_MODULES = {"random", "secrets"}
RANDOM_CALLS = {
    "os.urandom", "os.getrandom", "uuid.uuid1", "uuid.uuid3", "uuid.uuid4", "uuid.uuid5",
    "uuid.uuid6", "uuid.uuid7", "uuid.uuid8",
}  # fmt: skip


class Module(NamedTuple):
    """One parsed file, named by its path from the root of the repository."""

    path: str
    source: str

    @property
    def nodes(self) -> Iterator[ast.AST]:
        """Every node of its syntax tree."""
        return ast.walk(ast.parse(self.source))


Fence = Callable[[Module], "list[int]"]


def dotted(node: ast.AST) -> str:
    """The name that an expression spells (``a.b.c``), or an empty string."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return ""


def imported(node: ast.AST) -> set[str]:
    """The modules and members that a statement imports, with their dots."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module is not None and node.level == 0:
        return {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return set()


def ends_with(name: str, endings: set[str]) -> bool:
    """Whether the last two parts of a dotted name are among ``endings``."""
    return ".".join(name.split(".")[-2:]) in endings


def lines(module: Module, guilty: Callable[[ast.AST], bool]) -> list[int]:
    """The lines of the nodes that are guilty, sorted."""
    found = {getattr(node, "lineno", 0) for node in module.nodes if guilty(node)}
    return sorted(found)


def commits(module: Module) -> list[int]:
    """Only ``storage/uow.py`` commits: a caller's transaction is never ended under it."""

    def guilty(node: ast.AST) -> bool:
        return isinstance(node, ast.Attribute) and node.attr == "commit"

    return [] if module.path == "flask_courier/storage/uow.py" else lines(module, guilty)


def wall_clock(module: Module) -> list[int]:
    """Only ``core/clock.py`` reads the wall clock."""

    def guilty(node: ast.AST) -> bool:
        return ends_with(dotted(node), CLOCKS) or bool(
            imported(node) & {"time.time", "time.time_ns"}
        )

    return [] if module.path == "flask_courier/core/clock.py" else lines(module, guilty)


def randomness(module: Module) -> list[int]:
    """Only ``core/ids.py`` draws random numbers."""

    def guilty(node: ast.AST) -> bool:
        names = imported(node)
        return (
            bool({name.split(".")[0] for name in names} & RANDOM_MODULES)
            or bool(names & RANDOM_CALLS)
            or ends_with(dotted(node), RANDOM_CALLS)
        )

    return [] if module.path == "flask_courier/core/ids.py" else lines(module, guilty)


def files_in_core(module: Module) -> list[int]:
    """Core opens no file; of ``pathlib`` it knows only the paths that cannot."""

    def guilty(node: ast.AST) -> bool:
        names = {name for name in imported(node) if name.split(".")[0] in {"pathlib", "io"}}
        opens = isinstance(node, ast.Call) and dotted(node.func) == "open"
        whole = isinstance(node, ast.Import) and bool(names)
        return opens or whole or not names <= {"pathlib", "pathlib.PurePath"}

    return lines(module, guilty) if module.path.startswith("flask_courier/core/") else []


def configuration(module: Module) -> list[int]:
    """Only ``extension.py`` reads the application's config, and nobody the environment."""

    def guilty(node: ast.AST) -> bool:
        environment = {"os.environ", "os.environb", "os.getenv"}
        if dotted(node) in environment or imported(node) & environment:
            return True
        reads = isinstance(node, ast.Attribute) and node.attr in {"config", "from_prefixed_env"}
        return reads and dotted(node).split(".")[-2] in {"app", "_app", "current_app"}

    return [] if module.path == "flask_courier/extension.py" else lines(module, guilty)


def status_writes(module: Module) -> list[int]:
    """Only the modules of ``storage/outbox`` give a message a status."""

    def guilty(node: ast.AST) -> bool:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return any(isinstance(t, ast.Attribute) and is_message_status(t) for t in targets)
        if isinstance(node, ast.Dict):
            return any(key is not None and names_status(key) for key in node.keys)
        if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] in {"values", "Message"}:
            return any(keyword.arg == "status" for keyword in node.keywords)
        return False

    def is_message_status(target: ast.Attribute) -> bool:
        # An answer's own HTTP status is no message's.
        own = dotted(target.value) == "self" and not module.path.startswith("flask_courier/storage")
        return target.attr == "status" and not own

    def names_status(key: ast.expr) -> bool:
        return dotted(key) in {"Message.status", "models.Message.status", "Message.status.key"}

    outbox = module.path.startswith("flask_courier/storage/outbox/")
    return [] if outbox else lines(module, guilty)


def broad_excepts(module: Module) -> list[int]:
    """An exception is caught by its name; only ``BROAD_EXCEPTS`` may swallow them all."""

    def guilty(node: ast.AST) -> bool:
        if not isinstance(node, ast.ExceptHandler):
            return False
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        broad = any(e is None or dotted(e) in {"Exception", "BaseException"} for e in caught)
        last = node.body[-1]
        return broad and not (isinstance(last, ast.Raise) and last.exc is None)

    return [] if module.path in BROAD_EXCEPTS else lines(module, guilty)


def external_links(module: Module) -> list[int]:
    """A link is built from PUBLIC_URL, never from the request's Host."""

    def guilty(node: ast.AST) -> bool:
        return isinstance(node, ast.keyword) and node.arg == "_external"

    return lines(module, guilty)


def root_imports(module: Module) -> list[int]:
    """The package's own modules import from where a name lives, not from the package root."""

    def guilty(node: ast.AST) -> bool:
        if isinstance(node, ast.Import):
            return any(alias.name == "flask_courier" for alias in node.names)
        return isinstance(node, ast.ImportFrom) and (
            node.module == "flask_courier" or node.level > 0
        )

    return [] if module.path == "flask_courier/__init__.py" else lines(module, guilty)


def flows_and_sql(module: Module) -> list[int]:
    """A flow knows of SQLAlchemy only the type of the session that it is handed."""

    def guilty(node: ast.AST) -> bool:
        names = {name for name in imported(node) if name.split(".")[0] == "sqlalchemy"}
        return not names <= {"sqlalchemy.orm", "sqlalchemy.orm.Session"} or (
            isinstance(node, ast.Import) and bool(names)
        )

    return lines(module, guilty) if module.path.startswith("flask_courier/flows/") else []


def floor_doors(module: Module) -> list[int]:
    """An ``__init__.py`` holds its docstring and nothing else; the doors of some hold names."""
    if Path(module.path).name != "__init__.py" or module.path in USERS_DOORS:
        return []
    body = ast.parse(module.source).body
    if not body or ast.get_docstring(ast.parse(module.source)) is None:
        return [1]
    if module.path in OUR_DOORS:
        return [statement.lineno for statement in body[1:] if not _is_a_name(statement)]
    return [statement.lineno for statement in body[1:]]


def _is_a_name(statement: ast.stmt) -> bool:
    """An import, or the list of what was imported."""
    if isinstance(statement, ast.Assign):
        return [ast.unparse(target) for target in statement.targets] == ["__all__"]
    return isinstance(statement, ast.ImportFrom)


def long_modules(module: Module) -> list[int]:
    """A module fits in ``MODULE_LINES`` lines."""
    count = len(module.source.splitlines())
    return [count] if count > MODULE_LINES else []


def long_functions(module: Module) -> list[int]:
    """A function's body, its docstring left out, fits in ``FUNCTION_LINES`` lines."""

    def guilty(node: ast.AST) -> bool:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            return False
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        return bool(body) and (body[-1].end_lineno or 0) - body[0].lineno >= FUNCTION_LINES

    return lines(module, guilty)


def mocks(module: Module) -> list[int]:
    """Tests run the real thing: nothing imports ``unittest.mock``."""

    def guilty(node: ast.AST) -> bool:
        return any(
            name.split(".")[:2] in (["unittest", "mock"], ["mock"]) for name in imported(node)
        )

    return lines(module, guilty)


class Plant(NamedTuple):
    """Source that a fence must catch, where, and at which lines."""

    fence: Fence
    path: str
    source: str
    caught: list[int]


WEB = "flask_courier/web/planted.py"
LONG = "def long():\n    '''Say.'''\n" + "    x = 1\n" * FUNCTION_LINES

PLANTS = [
    Plant(commits, WEB, "session.commit()", [1]),
    Plant(commits, WEB, "finish = db.session.commit", [1]),
    Plant(wall_clock, WEB, "import datetime as dt\ndt.datetime.now(dt.timezone.utc)", [2]),
    Plant(wall_clock, WEB, "x = datetime.utcnow", [1]),
    Plant(wall_clock, WEB, "import time\ntime.time()", [2]),
    Plant(wall_clock, WEB, "from time import time", [1]),
    Plant(randomness, WEB, "import secrets", [1]),
    Plant(randomness, WEB, "from random import random", [1]),
    Plant(randomness, WEB, "import os\nos.urandom(16)", [2]),
    Plant(randomness, WEB, "import uuid\nuuid.uuid4()", [2]),
    Plant(randomness, WEB, "from uuid import uuid4", [1]),
    Plant(files_in_core, "flask_courier/core/planted.py", "open('x')", [1]),
    Plant(files_in_core, "flask_courier/core/planted.py", "from pathlib import Path", [1]),
    Plant(files_in_core, "flask_courier/core/planted.py", "import pathlib", [1]),
    Plant(configuration, WEB, "current_app.config['X']", [1]),
    Plant(configuration, WEB, "self.app.config.get('X')", [1]),
    Plant(configuration, WEB, "import os\nos.environ['X']", [2]),
    Plant(configuration, WEB, "from os import getenv", [1]),
    Plant(status_writes, WEB, "message.status = 'sent'", [1]),
    Plant(status_writes, "flask_courier/storage/models.py", "self.status = 'sent'", [1]),
    Plant(status_writes, WEB, "update(Message).values(status='sent')", [1]),
    Plant(status_writes, WEB, "new = {Message.status: 'sent'}", [1]),
    Plant(status_writes, WEB, "Message(status='sent')", [1]),
    Plant(broad_excepts, WEB, "try:\n    x\nexcept Exception:\n    pass", [3]),
    Plant(broad_excepts, WEB, "try:\n    x\nexcept (KeyError, BaseException):\n    pass", [3]),
    Plant(broad_excepts, WEB, "try:\n    x\nexcept:\n    pass", [3]),
    Plant(external_links, WEB, "url_for('courier.form', _external=True)", [1]),
    Plant(root_imports, WEB, "from flask_courier import Courier", [1]),
    Plant(root_imports, WEB, "import flask_courier", [1]),
    Plant(root_imports, WEB, "from . import guard", [1]),
    Plant(flows_and_sql, "flask_courier/flows/planted.py", "import sqlalchemy as sa", [1]),
    Plant(flows_and_sql, "flask_courier/flows/planted.py", "from sqlalchemy import select", [1]),
    Plant(flows_and_sql, "flask_courier/flows/p.py", "from sqlalchemy.orm import Query", [1]),
    Plant(floor_doors, "flask_courier/web/__init__.py", "'''Say.'''\nimport flask", [2]),
    Plant(floor_doors, "flask_courier/web/__init__.py", "", [1]),
    Plant(floor_doors, "flask_courier/cli/__init__.py", "'''Say.'''\nx = 1", [2]),
    Plant(floor_doors, "flask_courier/storage/outbox/__init__.py", "", [1]),
    Plant(long_modules, WEB, "x = 1\n" * (MODULE_LINES + 1), [MODULE_LINES + 1]),
    Plant(long_functions, WEB, LONG + "    y = 1\n", [1]),
    Plant(mocks, "tests/planted.py", "from unittest import mock", [1]),
    Plant(mocks, "tests/planted.py", "import unittest.mock", [1]),
]

INNOCENT = [
    Plant(commits, "flask_courier/storage/uow.py", "session.commit()", []),
    Plant(wall_clock, "flask_courier/core/clock.py", "datetime.now(timezone.utc)", []),
    Plant(wall_clock, WEB, "import time\ntime.monotonic()\nself.now()", []),
    Plant(randomness, "flask_courier/core/ids.py", "import secrets", []),
    Plant(randomness, WEB, "import uuid\nuuid.UUID(text)", []),
    Plant(files_in_core, "flask_courier/core/p.py", "from pathlib import PurePath", []),
    Plant(configuration, "flask_courier/extension.py", "app.config['X']", []),
    Plant(configuration, WEB, "state.config.public_url", []),
    Plant(status_writes, "flask_courier/storage/outbox/p.py", "row.status = 'sent'", []),
    Plant(status_writes, WEB, "Entry(status=row.status)", []),
    Plant(status_writes, WEB, "self.status = 422", []),
    Plant(broad_excepts, WEB, "try:\n    x\nexcept BaseException:\n    undo()\n    raise", []),
    Plant(flows_and_sql, "flask_courier/flows/p.py", "from sqlalchemy.orm import Session", []),
    Plant(floor_doors, "flask_courier/cli/__init__.py", DOOR, []),
    Plant(long_functions, WEB, LONG, []),
]


def modules(*folders: str) -> list[Module]:
    """Every Python file of these folders."""
    return [
        Module(path.relative_to(ROOT).as_posix(), path.read_text("utf-8"))
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*.py"))
    ]


def name(fence: Fence) -> str:
    """The name of a fence."""
    return getattr(fence, "__name__", "")


def case(planted: Plant) -> str:
    """Name a case by its fence and the first words that it plants."""
    return f"{name(planted.fence)}: {planted.source[:60].strip()!r} in {planted.path}"


@pytest.mark.parametrize("planted", PLANTS, ids=case)
def test_a_fence_catches_what_is_planted(planted: Plant) -> None:
    """The fence names the line of the violation."""
    assert planted.caught == planted.fence(Module(planted.path, planted.source))


@pytest.mark.parametrize("planted", INNOCENT, ids=case)
def test_a_fence_lets_pass_what_is_allowed(planted: Plant) -> None:
    """The one door is open, and what only looks alike is left alone."""
    assert [] == planted.fence(Module(planted.path, planted.source))


@pytest.mark.parametrize("fence", dict.fromkeys(planted.fence for planted in PLANTS), ids=name)
def test_the_tree_is_inside_the_fence(fence: Fence) -> None:
    """No file of the package (of the tests, for mocks) is caught."""
    folders = ("tests", "example_app") if fence is mocks else ("flask_courier",)
    checked = modules(*folders)

    assert checked
    assert {} == {module.path: found for module in checked if (found := fence(module))}


def test_every_fence_is_shown_a_violation() -> None:
    """A fence that nothing was planted for might catch nothing."""
    fences = {
        found for found in globals().values() if getattr(found, "__annotations__", 0) == SIGNATURE
    }

    assert fences == {planted.fence for planted in PLANTS}


def test_leave_to_catch_everything_is_used() -> None:
    """A file that may swallow every exception exists; else its line in BROAD_EXCEPTS is stale."""
    assert [] == [path for path in BROAD_EXCEPTS if not (ROOT / path).is_file()]
