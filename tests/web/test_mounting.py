"""Behind a prefix, on a subdomain and on a host of their own, the pages and links are found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.exceptions import NotFound
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_courier import ConfigError
from flask_courier.testing import form_data
from tests.site import PASSWORD, Site, path_of
from tests.visitor import ADA, NO_LIMITS, Visitor, delivered

Sites = Callable[..., Site]

ELSEWHERE = "https://accounts.acme.example"


def recover(site: Site, base_url: str, account: str) -> tuple[str, int]:
    """Recover with a browser at ``base_url``; answer the mail's link and the last status."""
    site.add_user(ADA)
    client = site.app.test_client()

    def send(page: Any, path: str, **fields: str) -> Any:
        assert f'action="{account}{path}"' in page.text
        data = form_data(page.text, **fields)
        return client.post(f"{account}{path}", data=data, base_url=base_url)

    page = client.get(f"{account}/recovery", base_url=base_url)
    assert 303 == send(page, "/recovery", email=ADA).status_code
    (mail,) = [mail for mail in delivered(site) if mail.kind == "recovery"]
    assert mail.link is not None
    opened = client.get(path_of(mail.link), base_url=base_url)
    page = client.get(opened.location, base_url=base_url)
    done = send(page, "/recovery/password", password=PASSWORD, confirm=PASSWORD)
    return mail.link, done.status_code


def test_application_root(sites: Sites) -> None:
    """Mounted at /app, a whole recovery stays below it, its cookie too."""
    config = {"APPLICATION_ROOT": "/app", "COURIER_PUBLIC_URL": "https://acme.example/app"}
    site = sites(**config, **NO_LIMITS)
    inner = site.app.wsgi_app
    site.app.wsgi_app = DispatcherMiddleware(NotFound(), {"/app": inner})  # type: ignore[method-assign]

    link, status = recover(site, "https://acme.example", "/app/account")

    assert 200 == status
    assert link.startswith("https://acme.example/app/account/recovery/")


def test_prefix(sites: Sites) -> None:
    """Below another prefix a whole recovery works."""
    site = sites(COURIER_ACCOUNT_URL_PREFIX="/my/login", **NO_LIMITS)

    link, status = recover(site, "https://acme.example", "/my/login")

    assert 200 == status
    assert link.startswith("https://acme.example/my/login/recovery/")


@pytest.fixture(params=["host_matching", "subdomain_matching"])
def routed(request: pytest.FixtureRequest, sites: Sites) -> Site:
    """A site whose application routes by host or by subdomain."""
    if request.param == "host_matching":
        app = Flask("tests.site", host_matching=True, static_host="www.acme.example")
    else:
        app = Flask("tests.site", subdomain_matching=True)
        app.config["SERVER_NAME"] = "acme.example"
    return sites(app=app, COURIER_PUBLIC_URL=ELSEWHERE, **NO_LIMITS)


def test_host(routed: Site) -> None:
    """The pages are on the host of PUBLIC_URL, and a whole recovery works there."""
    link, status = recover(routed, ELSEWHERE, "/account")

    assert 200 == status
    assert link.startswith(f"{ELSEWHERE}/account/recovery/")


@pytest.mark.parametrize("path", ["/account/recovery", "/courier/", "/.well-known/change-password"])
def test_other_hosts(routed: Site, path: str) -> None:
    """On the application's other hosts they are not."""
    routed.courier.log_access(lambda _permission: True)
    client = routed.app.test_client()

    found = [
        client.get(path, base_url=url).status_code // 100
        for url in (ELSEWHERE, "https://acme.example")
    ]

    assert found in ([2, 4], [3, 4])


def test_style_sheet(routed: Site) -> None:
    """The style sheet is on that host too."""
    client = routed.app.test_client()
    page = client.get("/account/recovery", base_url=ELSEWHERE).text
    path = page.split('rel="stylesheet" href="')[1].partition('"')[0]

    with client.get(path, base_url=ELSEWHERE) as answer:
        assert 200 == answer.status_code


def test_log_of_another_host(routed: Site) -> None:
    """A path like the log's on another host is the application's own business."""
    options: dict[str, Any] = (
        {"host": "www.acme.example"} if routed.app.url_map.host_matching else {}
    )
    if not options:
        options = {"subdomain": "www"}
    routed.app.add_url_rule("/courier/x", "own", lambda: "own", **options)

    answer = routed.app.test_client().get("/courier/x", base_url="https://www.acme.example")

    assert "own" == answer.text


def test_host_without_public_url(sites: Sites) -> None:
    """Routing by host needs a PUBLIC_URL, and the error says so."""
    app = Flask("tests.site", host_matching=True, static_host="www.acme.example")

    with pytest.raises(ConfigError, match=r"COURIER_PUBLIC_URL is not set.*host_matching"):
        sites(app=app, COURIER_PUBLIC_URL=None)


def test_subdomain_of_another_site(sites: Sites) -> None:
    """A PUBLIC_URL that is not below SERVER_NAME is refused, and the error says so."""
    app = Flask("tests.site", subdomain_matching=True)
    app.config["SERVER_NAME"] = "other.example"

    with pytest.raises(ConfigError, match=r"not below SERVER_NAME, 'other\.example'"):
        sites(app=app)


@pytest.mark.parametrize("url", [None, "/settings/password", "https://id.acme.example/password"])
def test_well_known_url(sites: Sites, url: str | None) -> None:
    """Password managers are sent to the page for a new password (W3C change-password URL)."""
    answer = Visitor(sites(COURIER_CHANGE_PASSWORD_URL=url)).get("/.well-known/change-password")

    assert (303, url or "/account/recovery") == (answer.status_code, answer.location)
