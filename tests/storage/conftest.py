"""One site a database for all storage tests of a process, and a clean slate for each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import sqlalchemy as sa

from flask_courier.state import state_of
from flask_courier.storage.uow import Database
from tests import databases
from tests.site import Site, make_site


@pytest.fixture(scope="session")
def storage_sites(
    worker_id: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Site]]:
    """The site on the database of this name, made when it is first asked for.

    Its database is its own: other tests drop tables.
    """
    with ExitStack() as stack:
        made: dict[str, Site] = {}

        def url_of(name: str) -> str:
            if name == "sqlite":
                return databases.sqlite_url(tmp_path_factory.mktemp("storage"))
            return stack.enter_context(databases.fresh_database(name, f"storage_{worker_id}"))

        def site_on(name: str) -> Site:
            if name not in made:
                made[name] = make_site(url_of(name))
                stack.callback(engine_of(made[name]).dispose)
            return made[name]

        yield site_on


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
