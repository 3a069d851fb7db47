"""One site a database for all storage tests of a process, and a clean slate for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from flask_courier.state import state_of
from flask_courier.storage.uow import Database
from tests import databases
from tests.site import Site, make_site


@pytest.fixture(scope="session")
def storage_sites(
    server_databases: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Site]]:
    """The site on the database of this name, made when it is first asked for."""
    made: dict[str, Site] = {}

    def site_on(name: str) -> Site:
        if name not in made:
            folder: Path = tmp_path_factory.mktemp("storage")
            url = databases.sqlite_url(folder) if name == "sqlite" else server_databases(name)
            made[name] = make_site(url)
        return made[name]

    yield site_on
    for site in made.values():
        engine_of(site).dispose()


@pytest.fixture
def site(database_name: str, storage_sites: Callable[[str], Site]) -> Iterator[Site]:
    """The site of the test's database; every row is deleted at the end."""
    site = storage_sites(database_name)
    yield site
    with engine_of(site).begin() as connection:
        for table in reversed(site.db.metadata.sorted_tables):
            connection.execute(table.delete())


@pytest.fixture
def database(site: Site) -> Database:
    """How storage reaches the test's database."""
    return state_of(site.app).database


@pytest.fixture
def engine(site: Site) -> sa.Engine:
    """The test database's engine, for connections beside those of storage."""
    return engine_of(site)


def engine_of(site: Site) -> sa.Engine:
    """The engine of a site."""
    with site.app.app_context():
        return site.db.engine
