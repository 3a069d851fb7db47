"""Hostile mail on the page of a message: shown, and nothing else.

Nothing of it runs, nothing is fetched, nobody is led elsewhere, and the page stays as wide as the
window; under our own policy and under Flask-Talisman's defaults.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import quote

import jinja2
import pytest
from flask import Flask
from flask_talisman import Talisman
from playwright.sync_api import BrowserContext, Page, Request, Route, expect
from werkzeug.serving import make_server

from tests.delivery.mails import queue_own
from tests.observation import update
from tests.scripted_smtp import scripted_smtp
from tests.site import Site

pytestmark = pytest.mark.browser

MakeSite = Callable[..., Site]
Browsers = Callable[..., BrowserContext]
VIEWS = ("text", "html", "source", "headers")
EVIL = "https://evil.example"
RUN = "top.hacked = parent.hacked = window.hacked = 1"
#: By what is tried with it.
HTML = {
    "script": f"<script>{RUN}</script></pre></iframe></title><script>{RUN}</script><!--",
    "events": (
        f"<body onload='{RUN}'><img src=x onerror='{RUN}'><input autofocus onfocus='{RUN}'>"
        f"<details open ontoggle='{RUN}'>x</details><a href='javascript:{RUN}'>x</a>"
    ),
    "form": (
        f"<form id=f action='{EVIL}/'><input name=a value=b><button autofocus>Go</button></form>"
        f"<input type=image form=f formaction='{EVIL}/i'><script>f.submit()</script>"
    ),
    "remote": (
        f"<img src='{EVIL}/a.gif'><link rel=stylesheet href='{EVIL}/b.css'>"
        f"<link rel=preload as=image href='{EVIL}/p'><link rel=dns-prefetch href='{EVIL}'>"
        f"<style>@import url({EVIL}/c.css); p {{ background: url({EVIL}/d.png) }}"
        f"@font-face {{ font-family: e; src: url({EVIL}/e) }} p {{ font-family: e }}</style>"
        f"<p style='background:url({EVIL}/f.png)'>x</p><video autoplay src='{EVIL}/g' poster='"
        f"{EVIL}/h'></video><iframe src='{EVIL}/i'></iframe><object data='{EVIL}/j'></object>"
        f"<embed src='{EVIL}/k'><img src='/courier/messages/retry'><table background='{EVIL}/l'>"
    ),
    "base": f"<base href='{EVIL}/' target=_top><img src=a.gif><a href=b>x</a>",
    "refresh": f"<meta http-equiv=refresh content='0;url={EVIL}/'>",
    "refresh here": "<meta http-equiv=refresh content='0;url=/courier/'>",
    "svg": (
        f"<svg onload='{RUN}'><script>{RUN}</script><use href='{EVIL}/a.svg#b'/><image href='"
        f"{EVIL}/c'/><animate onbegin='{RUN}' attributeName=x dur=1s /><foreignObject><iframe src='"
        f"javascript:{RUN}'></iframe></foreignObject></svg>"
    ),
    "wide": "<div style='width: 99999px; height: 9px; position: fixed'>" + "W" * 9_999 + "</div>",
    "nested": "<div>" * 100_000 + "deep",
    "big": "<p>" + "five million characters " * 220_000,
}
OVERRIDE = "\N{RIGHT-TO-LEFT OVERRIDE}"
TEXT = f"</pre><script>{RUN}</script>{OVERRIDE}desrever\x1b[2J\x07 " + "W" * 9_999


@dataclass
class Watched:
    """A page, and what it did that it should not have done."""

    page: Page
    #: Addresses elsewhere that were asked for.
    left: list[str] = field(default_factory=list)

    def stray(self) -> list[str]:
        """Whatever ran, was fetched or was refused by the policy of the page."""
        ran = self.page.evaluate("window.hacked === undefined ? [] : ['ran']")
        refused: list[str] = self.page.evaluate("window.refused")
        return [*self.left, *ran, *refused]

    def overflows(self) -> list[int]:
        """The widths at which the page is wider than the window."""
        too_wide = []
        for width in (320, 1280):
            self.page.set_viewport_size({"width": width, "height": 800})
            if self.page.evaluate("document.documentElement.scrollWidth") > width:
                too_wide.append(width)
        return too_wide


@contextmanager
def running(make: Callable[[str], Site]) -> Iterator[tuple[Site, str]]:
    """A site, up on a loopback port, and where it is."""
    gate = Flask("gate")
    server = make_server("127.0.0.1", 0, gate, threaded=True)
    url = f"http://127.0.0.1:{server.server_port}"
    site = make(url)
    site.courier.log_access(lambda _permission: True)
    server.app = site.app
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield site, url
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.fixture(params=["ours", "talisman"])
def hostile(request: pytest.FixtureRequest, sites: MakeSite) -> Iterator[tuple[Site, str]]:
    """A site whose pages have our own policy, or Flask-Talisman's default one."""

    def make(url: str) -> Site:
        site = sites(COURIER_PUBLIC_URL=url)
        if request.param == "talisman":
            Talisman(site.app, force_https=False)
        return site

    with running(make) as up:
        yield up


@pytest.fixture
def watched(browsers: Browsers, hostile: tuple[Site, str]) -> Watched:
    """A browser that lets no request out of the site, and remembers those that tried."""
    context = browsers()
    context.add_init_script(
        "window.refused = [];"
        "addEventListener('securitypolicyviolation', event => refused.push(event.blockedURI))"
    )
    watched = Watched(context.new_page())

    def note(route: Route, request: Request) -> None:
        if request.url.startswith(hostile[1]):
            route.continue_()
        else:
            watched.left.append(request.url)
            route.abort()

    context.route("**/*", note)
    return watched


def deliver(site: Site, markup: str, text: str = TEXT) -> str:
    """A mail with this HTML part, delivered into the log; answer the path of its page."""
    queue_own(site, subject=f"Invoice {OVERRIDE}fdp <script>{RUN}</script>", text=_verbatim(text))
    newest = max(site.rows("courier_message"), key=lambda row: str(row["id"]))
    loader = site.app.jinja_env.loader
    assert isinstance(loader, jinja2.ChoiceLoader)
    added = jinja2.DictLoader({f"{newest['kind']}.html": _verbatim(markup)})
    site.app.jinja_env.loader = jinja2.ChoiceLoader([added, loader])
    _deliver(site)
    return f"/courier/messages/{newest['id']}"


def _deliver(site: Site) -> None:
    """Deliver what is due, in a thread: Playwright keeps an event loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(site.deliver).result()


def _verbatim(text: str) -> str:
    return "{% raw %}" + text + "{% endraw %}"


@pytest.mark.parametrize("trick", HTML)
def test_nothing_happens(hostile: tuple[Site, str], watched: Watched, trick: str) -> None:
    """In every tab the mail is shown, and nothing runs, is fetched, leads away or gets too wide."""
    site, url = hostile
    path = deliver(site, HTML[trick])
    for view in VIEWS:
        page, address = watched.page, f"{url}{path}?view={view}"
        page.goto(address)
        if view == "html":
            frame = page.locator("iframe")
            frame.scroll_into_view_if_needed()
            expect(page.frame_locator("iframe").locator("body")).to_be_attached()
        page.wait_for_load_state("networkidle")
        assert ([], []) == (watched.stray(), watched.overflows()), view
        assert address == page.url
        inside = [frame.url for frame in page.frames[1:] if frame.parent_frame == page.main_frame]
        assert ([f"{url}{path}/preview"] if view == "html" else []) == inside


def test_nothing_happens_in_the_list(hostile: tuple[Site, str], watched: Watched) -> None:
    """In the list, what a search echoes, the page of many and health nothing of it happens."""
    site, url = hostile
    deliver(site, HTML["script"])
    update(site, "courier_message", last_error=TEXT, status="abandoned", reason="rejected")
    for path in (
        "",
        f"?q={quote(TEXT[:150])}",
        f"?q={quote('foo:' + TEXT[:150])}",
        "bulk",
        "health",
    ):
        watched.page.goto(f"{url}/courier/{path}")
        watched.page.wait_for_load_state("networkidle")
        assert ([], []) == (watched.stray(), watched.overflows()), path
        assert not set(f"\x1b\x07{OVERRIDE}") & set(watched.page.content()), path


def test_a_click_leads_nowhere(hostile: tuple[Site, str], watched: Watched) -> None:
    """A link of the mail leads neither the frame nor the page away, and opens no window."""
    site, url = hostile
    links = "".join(
        f"<p><a target={target} href='{EVIL}/{target}'>{target}</a></p>"
        for target in ("_self", "_top", "_blank", "_parent")
    )
    path = deliver(site, links)
    page, address = watched.page, f"{url}{path}?view=html"
    windows = len(page.context.pages)
    for target in ("_top", "_parent", "_blank", "_self"):
        page.goto(address)
        page.frame_locator("iframe").get_by_text(target, exact=True).click()
        page.wait_for_load_state("networkidle")
        assert (address, windows, []) == (page.url, len(page.context.pages), watched.left), target


def test_styles_of_the_mail_are_shown(hostile: tuple[Site, str], watched: Watched) -> None:
    """The frame shows the inline styles and the data images of an honest mail."""
    site, url = hostile
    path = deliver(site, "<p style='color: rgb(1, 2, 3)'>hello</p>")
    watched.page.goto(f"{url}{path}?view=html")
    text = watched.page.frame_locator("iframe").get_by_text("hello")

    expect(text).to_have_css("color", "rgb(1, 2, 3)")


def test_reply_for_a_terminal(browsers: Browsers, sites: MakeSite) -> None:
    """An SMTP reply with escapes, bytes that are no text and a long line breaks nothing."""
    reply = (
        "550-5.7.1 \x1b[2J\x1b[31mred\x1b]0;title\x07 \udcff\udcfe\x9b \u202egnp.exe\u2066 "
        "<b>b</b>\r\n"
        "550 5.7.1 " + "W" * 900
    )
    with (
        scripted_smtp(RCPT=reply) as server,
        running(lambda url: sites(COURIER_PUBLIC_URL=url, COURIER_SMTP_URI=server.uri)) as (
            site,
            url,
        ),
    ):
        queue_own(site)
        _deliver(site)
        [row] = site.rows("courier_message")
        watched = Watched(browsers().new_page())
        watched.page.add_init_script("window.refused = []")
        watched.page.goto(f"{url}/courier/messages/{row['id']}")
        quoted = watched.page.locator("pre").first.inner_text()

        assert "red" in quoted
        assert "<b>b</b>" in quoted
        assert not set("\x1b\x07\x9b\u202e\u2066") & set(watched.page.content())
        assert ([], []) == (watched.stray(), watched.overflows())
