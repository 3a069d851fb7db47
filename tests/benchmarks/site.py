"""The application that the benchmarks measure: accounts, mail templates of 2 kB, a queue."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask
from jinja2 import FileSystemLoader
from werkzeug.security import generate_password_hash

from tests.site import Site, make_site

TEMPLATES = Path(__file__).parent / "templates"
#: What the templates of a recovery mail are given, for those who render without a courier.
CONTEXT = {
    "link": "https://acme.example/account/recover/" + "x" * 64,
    "code": "12345678",
    "link_lifetime": "30 minutes",
    "code_lifetime": "10 minutes",
    "site": "acme.example",
    "address": "person1@example.com",
    "public_url": "https://acme.example",
}
#: Holds the configuration as JSON, for ``flask --app tests.benchmarks.site courier worker``.
ENVIRONMENT = "COURIER_BENCHMARK"
#: Rows that stay when the queue is emptied: who works, and whether the server is well.
_KEPT = ("courier_transport", "courier_worker")


def smtp_uri(port: int) -> str:
    """The sink, or the proxy before it."""
    return f"smtp://127.0.0.1:{port}/?disable_starttls=true"


def open_site(config: Mapping[str, Any], *, create: bool = True) -> Site:
    """The application with this configuration; ``url`` is its database."""
    values = {"TESTING": False, **config}
    site = make_site(values.pop("url"), create=False, **values)
    site.app.jinja_loader = FileSystemLoader(TEMPLATES)
    if create:
        with site.app.app_context():
            site.db.create_all()
    return site


def create_app() -> Flask:
    """The application for the command line."""
    return open_site(json.loads(os.environ[ENVIRONMENT]), create=False).app


def address(number: int) -> str:
    """The address of one account."""
    return f"person{number}@example.com"


def use_wal(site: Site) -> None:
    """Switch a SQLite file to write-ahead logging, for good."""
    with site.app.app_context(), site.db.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")


def add_accounts(site: Site, count: int) -> None:
    """Add accounts as a site has them, each with a name and the hash of a password."""
    # One hash for all: what is stored is as long as ever, and hashing it takes as long as a mail.
    stored = generate_password_hash("the old password")
    rows = [
        {"email": address(n), "name": f"Person {n}", "password_hash": stored, "is_active": True}
        for n in range(1, count + 1)
    ]
    with site.app.app_context():
        site.db.session.execute(sa.insert(site.user), rows)
        site.db.session.commit()


def queue_recoveries(site: Site, count: int) -> None:
    """Ask for a recovery mail to each of ``count`` accounts, and commit."""
    with site.app.app_context():
        for number in range(1, count + 1):
            site.courier.request_recovery(address(number))
        site.db.session.commit()


def statuses(site: Site) -> dict[str, int]:
    """How many messages there are in each status."""
    with site.app.app_context():
        rows = site.db.session.execute(
            sa.text("SELECT status, count(*) FROM courier_message GROUP BY status")
        )
        return dict(rows.tuples().all())


def empty_queue(site: Site, *, only_limits: bool = False) -> None:
    """Delete every message and everything that is known of it; limits count from nothing again."""
    with site.app.app_context():
        for table in reversed(site.db.metadata.sorted_tables):
            ours = table.name.startswith("courier_") and table.name not in _KEPT
            if table.name == "courier_limit" if only_limits else ours:
                site.db.session.execute(table.delete())
        site.db.session.commit()
