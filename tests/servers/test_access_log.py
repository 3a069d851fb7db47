"""The access log of a real server holds no token."""

from __future__ import annotations

import secrets

from flask_courier.testing import FaultServer
from flask_courier.web.masking import MASK
from tests.servers.running import gunicorn, post, serving
from tests.site import Site


def test_gunicorn(site: Site, database_url: str) -> None:
    """A link that somebody opened is in gunicorn's log without its token."""
    token = f"{secrets.token_urlsafe(16)}.{secrets.token_urlsafe(32)}"
    command = gunicorn("gthread", "--access-logfile", "-")
    with (
        FaultServer() as smtp,
        serving(command, database_url, smtp.uri, queues_at_import=False) as server,
    ):
        server.wait_until_it_answers()
        post(server.path, f"/account/recovery/{token}")
        server.terminate()
        log = server.log.read_text()
    assert (True, False) == (f"POST /account/recovery/{MASK} HTTP" in log, token in log)
