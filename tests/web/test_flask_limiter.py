"""Limits of the application's own, by Flask-Limiter, apply to our pages."""

from __future__ import annotations

import pytest
from flask import Blueprint
from flask_limiter import Limiter
from flask_limiter.util import get_remote_address

from tests.site import Site
from tests.visitor import ADA, Visitor


@pytest.fixture
def limited(site: Site) -> Site:
    """A site that lets each client ask our pages twice a minute."""
    limiter = Limiter(get_remote_address, app=site.app, storage_uri="memory://")
    blueprint = site.app.blueprints["courier"]
    assert isinstance(blueprint, Blueprint)
    limiter.limit("2/minute")(blueprint)
    return site


def test_page(limited: Site) -> None:
    """The third request is answered with our page."""
    pages = [Visitor(limited).get("/account/recovery") for _ in range(3)]

    assert [200, 200, 429] == [page.status_code for page in pages]
    assert "Too many requests" in pages[-1].text
    assert "default-src 'none'" in pages[-1].headers["Content-Security-Policy"]


def test_json(limited: Site) -> None:
    """And in JSON with our problem."""
    visitor = Visitor(limited)

    answers = [visitor.json("/account/recovery", email=ADA) for _ in range(3)]

    assert [202, 202, 429] == [status for status, _ in answers]
    assert "too_many_requests" == answers[-1][1]["reason"]
