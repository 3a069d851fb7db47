"""The example site, its mail server and its worker, and Chromium to look at them with."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from flask import Flask
from playwright.sync_api import BrowserContext, Page, Playwright, sync_playwright
from werkzeug.serving import make_server

from example_app import create_app
from example_app.mail_server import MailServer
from example_app.models import User, db
from tests.delivery.threads import worker_of
from tests.site import Site

T = TypeVar("T")

#: Where pictures of the pages are left for people to look at.
PICTURES = Path(__file__).parents[2] / ".cache" / "screenshots"
WIDTHS = {"phone": (320, 640), "desktop": (1280, 860)}
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class RunningSite:
    """The example site, up."""

    url: str
    app: Flask
    mail: MailServer

    def make_admin(self, address: str) -> None:
        """Let the member with this address see the delivery log."""
        with self.app.app_context():
            user = User.find(address)
            assert user is not None
            user.is_admin = True
            db.session.commit()


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    """Playwright, which keeps an event loop running in this thread as long as it lives."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="session")
def chromium() -> str:
    """Debian's Chromium; without it the test is skipped, and fails where that is not allowed."""
    found = shutil.which("chromium")
    if found is not None:
        return found
    reason = "no Chromium here; install Debian's package chromium"
    if os.environ.get("CI"):
        raise AssertionError(reason)
    pytest.skip(reason)


@pytest.fixture
def example(tmp_path: Path) -> Iterator[RunningSite]:
    """The example site on a free loopback port, delivering through its own mail server."""
    with MailServer() as mail:
        port = _free_port()
        url = f"http://127.0.0.1:{port}"
        app = create_app(
            {
                "SECRET_KEY": "a key for one test, long enough to be taken",
                "SQLALCHEMY_DATABASE_URI": f"sqlite:///{tmp_path / 'harbour.sqlite'}",
                "COURIER_SMTP_URI": mail.uri,
                "COURIER_SMTP_CA_FILE": mail.ca_file,
                "COURIER_DEFAULT_SENDER": "Harbour <hello@harbour.example>",
                "COURIER_PUBLIC_URL": url,
            }
        )
        server = make_server("127.0.0.1", port, app, threaded=True)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield RunningSite(url, app, mail)
        finally:
            server.shutdown()
            thread.join(10)
            server.server_close()
            worker_of(app).stop()


@contextmanager
def serving(make: Callable[[str], Site]) -> Iterator[Site]:
    """The site that ``make`` answers, up on a loopback port whose URL it is told."""
    server = make_server("127.0.0.1", 0, Flask("gate"), threaded=True)
    site = make(f"http://127.0.0.1:{server.server_port}")
    server.app = site.app
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def beside(work: Callable[[], T]) -> T:
    """Do ``work`` in a thread where no event loop runs, as one of Playwright's does in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def _free_port() -> int:
    server = make_server("127.0.0.1", 0, Flask("port"))
    port: int = server.server_port
    server.server_close()
    return port


@pytest.fixture
def browsers(
    playwright: Playwright, chromium: str, tmp_path: Path
) -> Iterator[Callable[..., BrowserContext]]:
    """Opens browsers, each a profile of its own."""
    opened: list[BrowserContext] = []

    def open_browser(*, cookies: bool = True, **options: Any) -> BrowserContext:
        profile = tmp_path / f"profile-{len(opened)}"
        (profile / "Default").mkdir(parents=True)
        if not cookies:
            blocked = {"profile": {"default_content_setting_values": {"cookies": 2}}}
            (profile / "Default" / "Preferences").write_text(json.dumps(blocked))
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=chromium, headless=True, args=_FLAGS, **options
        )
        opened.append(context)
        return context

    yield open_browser
    for context in opened:
        context.close()


@pytest.fixture
def picture() -> Callable[[Page, str], None]:
    """Leaves pictures of a page at phone and desktop width, light and dark."""
    PICTURES.mkdir(parents=True, exist_ok=True)

    def take(page: Page, name: str) -> None:
        before = page.viewport_size
        for width, (x, y) in WIDTHS.items():
            page.set_viewport_size({"width": x, "height": y})
            for scheme in ("light", "dark"):
                # A colour on its way from one scheme to the other is in neither.
                page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
                page.screenshot(path=PICTURES / f"{name}-{width}-{scheme}.png", full_page=True)
        page.emulate_media(color_scheme="light")
        if before is not None:
            page.set_viewport_size(before)

    return take
