"""Fixtures: databases, a site on one of them, and an SMTP server with TLS and AUTH."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from hypothesis import settings
from sqlalchemy import Pool, event

from tests import databases
from tests.readme import APPLICATION, Reader
from tests.site import Site, make_site
from tests.smtp_server import Authority, MailServer, make_authority, smtp_server

# A slow shared machine is not a finding.
settings.register_profile("courier", deadline=None)
settings.load_profile("courier")


@pytest.fixture(autouse=True)
def _push_request_context() -> None:
    """Take pytest-flask's test-long request context away: one context would serve all requests."""


@pytest.fixture(scope="session")
def server_databases(worker_id: str) -> Iterator[Callable[[str], str]]:
    """One database on each server for this test process, made when it is first asked for."""
    with ExitStack() as stack:
        urls: dict[str, str] = {}

        def url_of(name: str) -> str:
            if name not in urls:
                urls[name] = stack.enter_context(databases.fresh_database(name, worker_id))
            return urls[name]

        yield url_of


@pytest.fixture
def database_name(request: pytest.FixtureRequest) -> str:
    """Which database a test runs on; ``every_database`` makes it run on each."""
    name: str = getattr(request, "param", "sqlite")
    return name


@pytest.fixture
def database_url(
    database_name: str, server_databases: Callable[[str], str], tmp_path: Path
) -> Iterator[str]:
    """An empty database."""
    if database_name == "sqlite":
        yield databases.sqlite_url(tmp_path)
        return
    url = server_databases(database_name)
    yield url
    databases.empty(url)


@pytest.fixture
def sites(database_url: str) -> Iterator[Callable[..., Site]]:
    """Makes sites on the test's database; their connections are closed at the end."""
    made: list[Site] = []

    def make(url: str = database_url, **config: Any) -> Site:
        made.append(make_site(url, **config))
        return made[-1]

    yield make
    for site in made:
        with site.app.app_context():
            for engine in site.db.engines.values():
                engine.dispose()


@pytest.fixture
def site(sites: Callable[..., Site]) -> Site:
    """A site with a manual worker and ``log:`` delivery."""
    return sites()


@pytest.fixture
def app(site: Site) -> Flask:
    """The site's application, for pytest-flask's ``client``."""
    return site.app


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority for this test process."""
    return make_authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def mail_server(authority: Authority) -> Iterator[MailServer]:
    """An SMTP server that wants STARTTLS and AUTH."""
    with smtp_server(tls=authority.context("localhost")) as server:
        yield server


@pytest.fixture
def mail_config(mail_server: MailServer, authority: Authority) -> dict[str, Any]:
    """What a site needs to deliver through ``mail_server``."""
    return {"COURIER_SMTP_URI": mail_server.uri, "COURIER_SMTP_CA_FILE": str(authority.path)}


@pytest.fixture
def mailing_site(sites: Callable[..., Site], mail_config: dict[str, Any]) -> Site:
    """A site with a manual worker that delivers through ``mail_server``."""
    return sites(**mail_config)


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Reader]:
    """A reader in an empty folder who has typed in the application with users."""
    opened: list[Any] = []

    def note(connection: Any, _record: Any) -> None:
        opened.append(connection)

    event.listen(Pool, "connect", note)
    reader = Reader(monkeypatch, tmp_path)
    reader.run(APPLICATION)
    yield reader
    event.remove(Pool, "connect", note)
    for connection in opened:
        connection.close()
