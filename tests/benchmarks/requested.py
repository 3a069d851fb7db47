"""A process with the application and, in it, a bare view: times requests to either.

``python -m tests.benchmarks.requested CONFIG`` where CONFIG is JSON for ``site.open_site``;
``accounts`` in it says how many there are.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from flask import redirect, request
from sqlalchemy import JSON, String
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.test import EnvironBuilder, run_wsgi_app
from werkzeug.wrappers import Response

from flask_courier.testing import form_data
from tests.benchmarks import measured
from tests.benchmarks import site as app_site
from tests.benchmarks.processes import BrokenError, answer_questions, greet
from tests.site import PUBLIC_URL, Site

_RECOVERY = "/account/recovery"
_BARE = "/bare"
#: Each client asks again after as many others.
_CLIENTS = 250
_LIFETIME = timedelta(minutes=30)


def add_bare_view(site: Site) -> None:
    """A view that checks nothing: it stores what a request for a mail stores, and redirects.

    Its row has what a queued message has, in as many bytes, without an index beside its key.
    """
    db = site.db

    class Bare(db.Model):  # type: ignore[name-defined]  # Flask-SQLAlchemy builds it
        id: Mapped[int] = mapped_column(primary_key=True)
        created_at: Mapped[datetime]
        kind: Mapped[str] = mapped_column(String(64))
        status: Mapped[str] = mapped_column(String(16))
        recipient: Mapped[str] = mapped_column(String(320))
        locale: Mapped[str | None] = mapped_column(String(35))
        context: Mapped[dict[str, Any]] = mapped_column(JSON)
        requester_key: Mapped[str] = mapped_column(String(64))
        lane: Mapped[int]
        attempts: Mapped[int]
        claims: Mapped[int]
        next_attempt_at: Mapped[datetime]
        expires_at: Mapped[datetime]

    @site.app.post(_BARE)
    def bare() -> Response:
        sent = request.get_json() if request.is_json else request.form
        now = datetime.now(timezone.utc).replace(tzinfo=None)
        row = Bare(
            created_at=now,
            kind="recovery",
            status="queued",
            recipient=sent["email"],
            context={},
            requester_key="0" * 64,
            lane=0,
            attempts=0,
            claims=0,
            next_attempt_at=now,
            expires_at=now + _LIFETIME,
        )
        db.session.add(row)
        db.session.commit()
        return redirect(_BARE, 303)


class Requested:
    """What the parent may ask for."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._accounts: int = config.pop("accounts")
        self._site = app_site.open_site(config, create=False)
        add_bare_view(self._site)
        with self._site.app.app_context():
            self._site.db.create_all()
        app_site.add_accounts(self._site, self._accounts)
        self._asked = 0

    def ask(
        self, page: str, sends: str, count: int, *, pause: float = 0, profiled: bool = False
    ) -> dict[str, Any]:
        """Make ``count`` requests, one after the other; answer how many ms each took.

        :param page: ``bare`` or ``recovery``.
        :param sends: ``json`` or ``form``; a form's token is fetched before.
        :param pause: seconds between two requests.
        """
        environs = [self._environ(page, sends) for _ in range(count)]
        found: list[float] = []
        gc.collect()
        with measured.profiling(wanted=profiled) as profile:
            for environ in environs:
                before = time.perf_counter()
                _body, status, _headers = run_wsgi_app(self._site.app, environ, buffered=True)
                found.append((time.perf_counter() - before) * 1000)
                if status[:3] not in ("202", "303"):
                    raise BrokenError(f"{page} by {sends} was answered with {status}")
                if pause:
                    time.sleep(pause)
        return {"ms": found, "profile": profile}

    def statuses(self) -> dict[str, Any]:
        """How many messages there are in each status."""
        return dict(app_site.statuses(self._site))

    def _environ(self, page: str, sends: str) -> dict[str, Any]:
        """A request for the next account, from the next client."""
        self._asked += 1
        fields = {"email": app_site.address(self._asked % self._accounts + 1)}
        path = _BARE if page == "bare" else _RECOVERY
        if sends == "json":
            builder = EnvironBuilder(path, PUBLIC_URL, method="POST", json=fields)
        else:
            builder = EnvironBuilder(path, PUBLIC_URL, method="POST", data=self._fill(fields))
            builder.headers["Origin"] = PUBLIC_URL
        builder.headers["Accept-Language"] = "en-GB,en;q=0.8"
        builder.environ_base = {"REMOTE_ADDR": f"192.0.2.{self._asked % _CLIENTS}"}
        try:
            return builder.get_environ()
        finally:
            builder.close()

    def _fill(self, fields: dict[str, str]) -> dict[str, str]:
        page = self._site.client.get(_RECOVERY, base_url=PUBLIC_URL)
        return form_data(page.text, **fields)


def main(config: dict[str, Any]) -> None:
    """Open the application and serve the parent."""
    requested = Requested(config)
    greet(pid=os.getpid())
    answer_questions({"ask": requested.ask, "statuses": requested.statuses})
    # An embedded worker's thread must not outlive what the parent wanted.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
