"""Sites whose worker is a thread of the test's own process."""

from __future__ import annotations

import threading
from typing import Any

from flask import Flask

from flask_courier.delivery.thread import EmbeddedWorker
from tests.site import Site


def embedded(site: Site) -> EmbeddedWorker:
    """The site's worker."""
    return worker_of(site.app)


def worker_of(app: Flask) -> EmbeddedWorker:
    """The application's worker."""
    functions: list[Any] = app.before_request_funcs[None]
    owners = [getattr(function, "__self__", None) for function in functions]
    [worker] = [owner for owner in owners if isinstance(owner, EmbeddedWorker)]
    return worker


#: Threads that ran before the test began, of which it knows nothing.
others: set[threading.Thread] = set()


def worker_threads() -> list[threading.Thread]:
    """The worker threads that run since the test began."""
    return [
        thread
        for thread in threading.enumerate()
        if thread.name == "flask_courier.worker" and thread not in others
    ]
