"""What pages of the delivery log cost with a million messages, beside a thousand."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from urllib.parse import urlencode

import click

from flask_courier.storage.search import Place
from flask_courier.web.log import filters
from tests.benchmarks.figures import Figure, Settings
from tests.benchmarks.stage import short, stage
from tests.log_rows import ATTEMPTS, NEEDLE, NEEDLE_SUBJECT, fill
from tests.observation import statements
from tests.site import make_site

_FEW = 1_000
_MANY = 1_000_000
_MANY_QUICK = 100_000
#: Requests of each page in a round.
_REQUESTS = 5

#: What is looked for; each as a query string.
_PAGES: Mapping[str, Mapping[str, str]] = {
    "list": {},
    "list, deep": {"deep": "yes"},
    "status=sent": {"status": "sent"},
    "status=sent, deep": {"status": "sent", "deep": "yes"},
    "status=abandoned": {"status": "abandoned"},
    "status=attention": {"status": "attention"},
    "-status:sent": {"q": "-status:sent"},
    "status:retrying": {"q": "status:retrying"},
    "to: whole address": {"q": f"to:{NEEDLE}"},
    "to: of much mail": {"q": "to:person.1@example1.com"},
    "to: beginning, rare": {"q": "to:rare"},
    "to: beginning, common": {"q": "to:person"},
    "to: domain": {"q": "to:@mail9.com"},
    "to: domain, none": {"q": "to:@nowhere.example"},
    "address typed as a word": {"q": NEEDLE},
    "word, common": {"q": "person"},
    "word, none": {"q": "zzzzzz"},
    "word, none, deep": {"q": "zzzzzz", "deep": "yes"},
    "subject:": {"q": "subject:invoice"},
    "subject: rare": {"q": f'subject:"{NEEDLE_SUBJECT}"'},
    "kind:": {"q": "kind:verification"},
    "kind: none": {"q": "kind:nothing"},
    "error:": {"q": "error:mailbox"},
    "code:": {"q": "code:552"},
    "code: enhanced": {"q": "code:5.1.1"},
    "id:": {"q": "id:0000"},
    "msgid:": {"q": "msgid:nobody@acme.example"},
    "after:": {"q": "after:-7d"},
    "before:": {"q": "before:-30d"},
    "after: before: word": {"q": "after:-60d before:-30d invoice"},
    "attempts:": {"q": "attempts:>1"},
    "-word": {"q": "-person"},
    "everything": {"q": "-to:person.7 kind:recovery attempts:>1 error:full after:-80d"},
    "JSON": {"json": "yes"},
    "live rows": {"fragment": "1"},
    "message": {"message": "yes"},
    "health": {"health": "yes"},
}


class _Log:
    """A site with a filled log, and who looks at it."""

    def __init__(self, url: str, count: int) -> None:
        self.site = make_site(url)
        self.site.courier.log_access(lambda _permission: True)
        now = datetime.now(timezone.utc)
        began = time.monotonic()
        fill(self.site, count, now=now)
        click.echo(
            f"  {count:,} messages and {int(count * ATTEMPTS):,} attempts in"
            f" {time.monotonic() - began:.0f} s"
        )
        self._client = self.site.client
        half = f"before:{(now - timedelta(days=45)).date()}"
        rows = self._client.get(
            f"/courier/?{urlencode({'q': half})}", headers={"Accept": "application/json"}
        ).get_json()["messages"]
        self._message: str = rows[0]["id"]
        self._middle = Place(uuid.UUID(self._message))

    def url(self, query: Mapping[str, str]) -> str:
        """The address of a page."""
        if "message" in query:
            return f"/courier/messages/{self._message}"
        if "health" in query:
            return "/courier/health"
        named = {name: text for name, text in query.items() if name not in ("deep", "json")}
        if "deep" in query:
            with self.site.app.test_request_context():
                named["after"] = filters.read(named).sealed(self._middle) or ""
        return f"/courier/?{urlencode(named)}"

    def rows(self, query: Mapping[str, str]) -> str | None:
        """As many rows as the page shows, as its address has it; None where it shows none."""
        if not {"message", "health", "fragment"}.isdisjoint(query):
            return None
        answer = self._client.get(self.url(query), headers={"Accept": "application/json"})
        return str(len(answer.get_json()["messages"])) if answer.get_json()["messages"] else None

    def get(self, query: Mapping[str, str]) -> float:
        """Milliseconds of a page."""
        url = self.url(query)
        headers = {"Accept": "application/json"} if "json" in query else {}
        began = time.perf_counter()
        answer = self._client.get(url, headers=headers)
        taken = (time.perf_counter() - began) * 1000
        if answer.status_code != 200:
            raise click.ClickException(f"{url} is answered with {answer.status}")
        return taken

    def count(self, query: Mapping[str, str]) -> int:
        """How many statements a page takes."""
        with statements(self.site) as seen:
            self.get(query)
        return len(seen)

    def close(self) -> None:
        """Give its connections back."""
        with self.site.app.app_context():
            self.site.db.engine.dispose()


def run(settings: Settings) -> list[Figure]:
    """Measure, print, and answer the worst ratio and count on each database."""
    many_rows = _MANY_QUICK if settings.quick else _MANY
    figures: list[Figure] = []
    for kind in settings.databases:
        click.echo(f"  {kind}")
        with stage() as scene:
            few, many = (_Log(scene.url(kind), count) for count in (_FEW, many_rows))
            try:
                figures += _compare(few, many, settings.rounds, short(kind))
            finally:
                few.close()
                many.close()
    return figures


def _compare(few: _Log, many: _Log, rounds: int, name: str) -> list[Figure]:
    width = max(map(len, _PAGES))
    columns = f"{'rows':>5} {'few':>8} {'many':>8} {'ratio':>6} {'statements':>10}"
    click.echo(f"  {'ms a page':{width}} {columns}")
    ratios: dict[str, float] = {}
    counts: dict[str, int] = {}
    for page, asked in _PAGES.items():
        # A thousand messages seldom fill the page of what is rare: rows are what most of a page's
        # time goes into, so that both are to have the same number of them.
        rows = few.rows(asked)
        query = asked if rows is None else {**asked, "n": rows}
        counts[page] = max(few.count(query), many.count(query))
        times: dict[_Log, list[float]] = {few: [], many: []}
        for _ in range(rounds * _REQUESTS):
            for log, found in times.items():
                found.append(log.get(query))
        little, much = (statistics.median(times[log]) for log in (few, many))
        ratios[page] = much / little
        click.echo(
            f"  {page:{width}} {rows or '-':>5} {little:8.1f} {much:8.1f} {much / little:6.2f}"
            f" {counts[page]:10}"
        )
    # Nobody's search: it sums up a day, whose hours a thousand messages leave almost empty.
    health = ratios.pop("health")
    worst = max(ratios, key=lambda page: ratios[page])
    most = max(counts, key=lambda page: counts[page])
    return [
        Figure("listing", f"{name}, slowest with many : few ({worst})", ratios[worst], "<= 1.5"),
        Figure("listing", f"{name}, health with many : few", health),
        Figure("listing", f"{name}, statements ({most})", counts[most], "<= 6", unit="at most"),
    ]
