"""The application that the servers run: a request queues a mail of the application's own."""

from __future__ import annotations

import os

import jinja2
from flask import Flask

from tests.site import Site, make_site

#: SQLite's locks are not fair: of nine writers one may be out of luck for longer than five seconds.
_PATIENT = {"connect_args": {"timeout": 60}}
TEMPLATES = {"own/m.subject.txt": "Hello", "own/m.txt": "hello"}


def add_templates(site: Site) -> None:
    """Let the site render what the servers' requests queue."""
    site.app.jinja_env.loader = jinja2.DictLoader(TEMPLATES)


def create_app() -> Flask:
    """What a server asks for, once in each process or, preloaded, in their parent."""
    url = os.environ["TEST_DATABASE_URL"]
    site = make_site(
        url,
        create=False,
        SQLALCHEMY_ENGINE_OPTIONS=_PATIENT if url.startswith("sqlite") else {},
        COURIER_SMTP_URI=os.environ["TEST_SMTP_URI"],
        COURIER_SMTP_CONNECTIONS=2,
        COURIER_WORKER="thread",
    )
    add_templates(site)

    def queue(name: str) -> str:
        site.courier.send("own/m", to=address(name))
        site.db.session.commit()
        return "queued"

    site.app.add_url_rule("/mail/<name>", view_func=queue, methods=["POST"])
    if os.environ["TEST_QUEUES_AT_IMPORT"] == "yes":
        # A worker begins here, with connections of its own; a parent is forked in its midst.
        with site.app.app_context():
            queue(f"import{os.getpid()}")
    return site.app


def address(name: object) -> str:
    """Whom the mail of this name goes to."""
    return f"{name}@example.com"
