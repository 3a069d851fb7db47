"""The log where others have a say in its looks: an application's own layout, and paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jinja2
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.browser.conftest import serving
from tests.browser.test_accessibility import violations
from tests.browser.test_log import MAILS, change, log
from tests.delivery.mails import queue_own
from tests.site import Site

pytestmark = pytest.mark.browser

Browsers = Callable[..., BrowserContext]
__all__ = ["log"]
#: Rules for bare elements, in no layer, as frameworks and resets have them.
RULES = """
* { box-sizing: border-box; margin: 0; padding: 0; letter-spacing: 0.02em; line-height: 1.3; }
html { font-size: 18px; }
body { font-family: serif; color: #222; background: #fffbe6; }
h1, h2, h3 { font-style: italic; text-transform: uppercase; }
a { color: #4b0082; text-decoration: underline; }
button { background: #063; color: #fff; border: 2px solid #000; padding: 8px; float: left; }
table { display: table; width: 98%; border-collapse: collapse; }
td, th { padding: 4px; border: 1px solid #888; text-align: center; }
ul, ol { list-style: square; } li { display: list-item; }
input { border: 3px solid #555; background: #eee; }
p, dl, dd, dt, pre, code, label { font-size: 17px; }
svg { fill: currentcolor; }
"""
LAYOUT = """<!doctype html><html lang="en"><head>
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{% block title %}{% endblock %}</title>
{% block metas %}{% endblock %}<style>{{ host_rules }}</style>{% block styles %}{% endblock %}
</head><body>
<header class="host"><h2>Acme</h2>
<nav aria-label="Acme"><ul><li><a href="/">Home</a></li></ul></nav>
<form><label for="host-q">Find</label><input id="host-q"><button type="button">Go</button></form>
</header><main>{% block content %}{% endblock %}</main>
<footer class="host">
<table><tbody><tr><th scope="row">a</th><td data-status="sent">b</td></tr></tbody></table>
<dl><dt>c</dt><dd>d</dd></dl><p><code>e</code> <kbd>f</kbd> <svg></svg></p></footer>
</body></html>"""
#: Every property of every element of the host's, as it is in force.
STYLES = """() => [...document.querySelectorAll(':root, body, .host, .host *')]
  .map(one => getComputedStyle(one))
  .map(style => [...style].map(name => style.getPropertyValue(name)))"""
WITHOUT_OURS = """() => {
  const ours = [...document.styleSheets].filter(one => (one.href || '').includes('/courier/'));
  for (const sheet of ours) sheet.disabled = true;
  return ours.length;
}"""


def framed(sites: Callable[..., Site], url: str, rules: str) -> Site:
    """A site whose layout is its own, with these rules, and some mail."""
    site = sites(COURIER_PUBLIC_URL=url, COURIER_BASE_TEMPLATE="host.html")
    present = site.app.jinja_env.loader
    assert present is not None
    layout = jinja2.DictLoader({"host.html": LAYOUT.replace("{{ host_rules }}", rules)})
    site.app.jinja_env.loader = jinja2.ChoiceLoader([layout, present])
    site.courier.log_access(lambda _permission: True)
    for recipient, subject, values in MAILS:
        queue_own(site, recipient, subject=subject)
        change(site, recipient, subject=subject, **values)
    return site


@pytest.fixture
def host(sites: Callable[..., Site]) -> Iterator[Callable[[str], str]]:
    """Answers the address of the log in a layout with these rules."""
    with serving(lambda url: framed(sites, url, RULES)) as site:
        yield lambda path: f"{site.app.config['COURIER_PUBLIC_URL']}/courier/{path}"


@pytest.mark.parametrize("path", ["", "health", "bulk", "message"])
def test_the_hosts_elements_are_left_alone(
    browsers: Browsers, host: Callable[[str], str], path: str
) -> None:
    """No property of an element of the application's changes with our style sheets."""
    page = browsers().new_page()
    page.goto(host(path if path != "message" else ""))
    if path == "message":
        page.get_by_role("link", name="mo@example.com").click()
    # How high our block is would be how high the body is.
    page.add_style_tag(content="main { height: 300px; overflow: hidden }")
    with_ours = page.evaluate(STYLES)

    assert page.evaluate(WITHOUT_OURS) >= 3
    assert with_ours == page.evaluate(STYLES)


def test_usable_under_the_hosts_rules(browsers: Browsers, host: Callable[[str], str]) -> None:
    """Under rules of the application's for every element, all is found, read and pressed."""
    page = browsers(bypass_csp=True).new_page()
    found: list[str] = []

    def look(name: str) -> None:
        found.extend(violations(page, name))
        page.set_viewport_size({"width": 320, "height": 640})

    page.goto(host(""))
    look("list")
    page.get_by_label("Search messages").fill("to:mo@example.com")
    page.get_by_role("button", name="Search").click()
    page.get_by_label("Select mo@example.com").check()
    page.get_by_role("button", name="Act on the selected").click()
    look("bulk")
    page.goto(host("health"))
    look("health")
    page.goto(host("?q=mo"))
    page.get_by_role("link", name="mo@example.com").click()
    look("message")
    page.locator("summary", has_text="Resend").click()
    page.get_by_role("dialog").get_by_role("button", name="Resend").click()
    expect(page.locator(".courier-notice")).to_contain_text("this is the new message")

    assert [] == found


def test_colours_are_the_hosts_to_set(browsers: Browsers, sites: Callable[..., Site]) -> None:
    """A property on ``.courier`` colours our pages, and ``color-scheme`` chooses their scheme."""
    rules = "html { color-scheme: dark } .courier { --courier-surface: rgb(1, 2, 3) }"
    with serving(lambda url: framed(sites, url, rules)) as site:
        page = browsers().new_page()
        page.goto(f"{site.app.config['COURIER_PUBLIC_URL']}/courier/")

        expect(page.locator(".courier-messages")).to_have_css("background-color", "rgb(1, 2, 3)")
        expect(page.locator(".courier-log")).to_have_css("color", "rgb(231, 234, 240)")


def visible(page: Page, selector: str) -> set[bool]:
    """Whether what the selector finds is shown; both, if some is and some is not."""
    return {one.is_visible() for one in page.locator(selector).all()}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("recipient", "texts"),
    [
        (None, "tbody :is(.courier-c-to, .courier-c-subject, .courier-badge)"),
        ("a.very.long", ":is(h1, h2, dd, .courier-headline, li):not(dialog *, details *)"),
    ],
    ids=["list", "message"],
)
def test_on_paper(
    browsers: Browsers, log: tuple[Site, str], recipient: str | None, texts: str, scheme: Any
) -> None:
    """Printed, the list and a message are dark on white, with all text and nothing to press."""
    page = browsers().new_page()
    page.goto(log[1])
    if recipient:
        page.get_by_role("link", name=recipient).click()
    page.emulate_media(media="print", color_scheme=scheme)
    controls = ":is(button, .courier-button, nav, input, iframe)"

    assert ({False}, {True}) == (visible(page, controls), visible(page, f"{texts}:not(nav *)"))
    expect(page.locator("html")).to_have_css("background-color", "rgb(255, 255, 255)")
    for one in page.locator(":is(.courier-panel, table):visible").all():
        expect(one).to_have_css("background-color", "rgb(255, 255, 255)")
    expect(page.locator("h1")).to_have_css("color", "rgb(26, 32, 44)")
