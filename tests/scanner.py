"""A mail scanner: it opens the links of a mail before anybody has read it.

What such programs are known to do is fetch every link, more than once, with HEAD and with GET,
follow what they find and run the scripts of the pages. Some keep cookies while they do, in a
sandboxed browser, and some post forms; one that does both at once and presses a button with the
cookie of the link is no longer to be told from a person, and is not defended against.
"""

from __future__ import annotations

from html.parser import HTMLParser
from typing import NamedTuple
from urllib.parse import urljoin, urlsplit

from werkzeug.wrappers import Response

from tests.site import PUBLIC_URL, Site
from tests.visitor import Visitor

#: Pages, so that a fault of ours is no endless test.
ENOUGH = 200
_SOURCES = {"a": "href", "link": "href", "img": "src", "script": "src", "iframe": "src"}


class Form(NamedTuple):
    """A form on a page."""

    method: str
    action: str
    fields: dict[str, str]
    #: The fields that a person would fill in.
    blanks: list[str]


class Scanner:
    """A client that goes everywhere.

    :param cookies: whether it keeps them.
    :param submits: whether it sends forms.
    :param address: what it writes where an address belongs: it has read the mail.
    """

    def __init__(self, site: Site, *, cookies: bool, submits: bool, address: str) -> None:
        self.visitor = Visitor(site, cookies=cookies)
        self.submits = submits
        self.address = address
        #: The paths that it fetched, and the paths that it posted a form to.
        self.fetched: list[str] = []
        self.posted: list[str] = []
        #: Every status that it was answered with.
        self.statuses: set[int] = set()
        self._waiting: list[str] = []

    def scan(self, link: str) -> None:
        """Open ``link``, and then all that it leads to."""
        self._waiting.append(link)
        while self._waiting:
            url = self._waiting.pop(0)
            if url not in self.fetched:
                assert len(self.fetched) < ENOUGH, self.fetched
                self.fetched.append(url)
                for method in ("HEAD", "GET", "GET"):
                    self._open(url, method)

    def _open(self, url: str, method: str, fields: dict[str, str] | None = None) -> None:
        with self.visitor.client.open(
            urlsplit(url)._replace(scheme="", netloc="").geturl(),
            method=method,
            data=fields,
            base_url=PUBLIC_URL,
        ) as answer:
            self.statuses.add(answer.status_code)
            self._read(url, answer)

    def _read(self, url: str, answer: Response) -> None:
        """Note where the page leads, and send its forms."""
        if answer.location:
            self._find(urljoin(url, answer.location))
        if answer.mimetype != "text/html":
            return
        page = _Page(url)
        page.feed(answer.get_data(as_text=True))
        for found in page.links:
            self._find(urljoin(url, found))
        for form in page.forms if self.submits else []:
            if form.action not in self.posted:
                self.posted.append(form.action)
                filled = {name: self._guess(name) for name in form.blanks}
                self._open(form.action, form.method.upper(), form.fields | filled)

    def _find(self, url: str) -> None:
        if url.startswith(f"{PUBLIC_URL}/"):
            self._waiting.append(url)

    def _guess(self, field: str) -> str:
        """Something that fits the name of a field."""
        guesses = {"email": self.address, "code": "00000000"}
        return guesses.get(field, "whatever a scanner writes")


class _Page(HTMLParser):
    """The links and the forms of a page."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url = url
        self.links: list[str] = []
        self.forms: list[Form] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link, a form, or a field of the form that began last."""
        values = {name: value or "" for name, value in attrs}
        source = values.get(_SOURCES.get(tag, ""))
        if source:
            self.links.append(source)
        if tag == "form":
            action = urljoin(self.url, values.get("action") or self.url)
            self.forms.append(Form(values.get("method") or "get", action, {}, []))
        if tag in {"input", "button"} and self.forms and values.get("name"):
            form, name = self.forms[-1], values["name"]
            form.fields[name] = values.get("value", "")
            if values.get("type") != "hidden" and not form.fields[name]:
                form.blanks.append(name)
