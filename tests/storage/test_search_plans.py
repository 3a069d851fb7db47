"""How databases carry searches out: an index serves each of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import pytest
import sqlalchemy as sa

from flask_courier.core.search import parse
from flask_courier.core.search_values import Viewpoint
from flask_courier.state import state_of
from flask_courier.storage import search
from flask_courier.storage.search import Place
from tests.log_rows import NEEDLE, fill
from tests.site import Site

ROWS = 20_000
#: How each database says that it looks at every row of a table; SQLite, too, that it would take a
#: claim index, which is in another order, and sort all that waits.
_FULL = {
    "sqlite": r"^SCAN (?!.*USING .*INDEX)(courier_\w+)|ix_courier_message_(due|lease)",
    "postgresql": r"Seq Scan on (courier_\w+)",
}
SEARCHES = [
    "", "status:sent", "status:held", "-status:sent", "status:attention", "error:full", "code:550",
    f"to:{NEEDLE}", "to:rare", "to:@mail9.com", NEEDLE, "haystack", "subject:haystack",
    "msgid:a@b.example", "id:0123", "kind:recovery", "attempts:>1", "after:-1h",
    "after:-60d before:-30d invoice", "-person",
]  # fmt: skip

pytestmark = [
    # MariaDB's plans do not say how far a LIMIT lets them go.
    pytest.mark.parametrize("database_name", _FULL, indirect=True),
    pytest.mark.slow,
]


@pytest.fixture
def filled(site: Site) -> Site:
    """A log with some thousand messages."""
    fill(site, ROWS, now=datetime.now(timezone.utc))
    return site


def explained(site: Site, run: Any) -> Iterator[str]:
    """The lines of the plan of each statement that ``run`` executes."""
    with site.app.app_context():
        engine = site.db.engine
    seen: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        seen.append((statement, parameters))

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        run()
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN" if engine.dialect.name == "sqlite" else "EXPLAIN"
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            # Of some thousand rows it would rather read all, wherever an index serves too.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        for statement, parameters in seen:
            for row in connection.exec_driver_sql(f"{explain} {statement}", parameters):
                yield str(row[-1])


def test_no_search_reads_a_whole_table(filled: Site, database_name: str) -> None:
    """An index serves each search, on its first page and deep in the log, both ways."""
    viewpoint = Viewpoint(datetime.now(timezone.utc), timezone.utc, "")
    database = state_of(filled.app).database
    middle = database.transact(
        lambda session: search.find(
            session, parse("before:-45d", viewpoint), place=Place(), limit=1
        ).ids[0]
    )
    guilty = {}
    for text in SEARCHES:
        for place in (Place(), Place(middle), Place(middle, newer=True)):

            def look(text: str = text, place: Place = place) -> None:
                asked = parse(text, viewpoint)
                database.transact(
                    lambda session: search.find(session, asked, place=place, limit=50)
                )

            plan = list(explained(filled, look))
            if any(re.search(_FULL[database_name], line) for line in plan):
                guilty[text] = plan
    assert {} == guilty
