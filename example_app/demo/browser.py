"""A browser without a screen: pages, links, forms and cookies, over real HTTP."""

from __future__ import annotations

import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from html.parser import HTMLParser

from example_app.demo.terminal import StepFailedError, without_tokens

#: Seconds that an answer may take.
_PATIENCE = 30.0


@dataclass
class Form:
    """A form: where it goes, what it holds, and what its button says."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    button: str = ""


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.texts: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.forms: list[Form] = []
        self._href: str | None = None
        self._within: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in ("a", "button", "h1"):
            self._within.append(tag)
        if tag == "a":
            self._href = attributes.get("href")
        elif tag == "form":
            self.forms.append(Form(attributes.get("action", "")))
        elif tag == "input" and self.forms and "name" in attributes:
            self.forms[-1].fields[attributes["name"]] = attributes.get("value", "")

    def handle_endtag(self, tag: str) -> None:
        if self._within and tag == self._within[-1]:
            self._within.pop()

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if not text:
            return
        self.texts.append(text)
        if "h1" in self._within:
            self.headings.append(text)
        elif "a" in self._within and self._href is not None:
            self.links.append((text, self._href))
        elif "button" in self._within and self.forms:
            self.forms[-1].button = text


class Page:
    """What a request was answered with."""

    def __init__(self, url: str, status: int, html: str) -> None:
        self.url, self.status, self.html = url, status, html
        self._reader = _Reader()
        self._reader.feed(html)
        #: Every piece of text between two tags.
        self.texts = self._reader.texts
        #: The text and the address of every link.
        self.links = self._reader.links
        self.heading = " ".join(self._reader.headings)

    def form(self, button: str) -> Form:
        """The form with this button.

        :raises StepFailedError: if there is none.
        """
        for form in self._reader.forms:
            if form.button == button:
                return form
        raise StepFailedError(f"expected the button “{button}”, saw {self}")

    def __str__(self) -> str:
        path = without_tokens(urllib.parse.urlsplit(self.url).path)
        return f"{self.status} “{self.heading}” at {path}"


class Browser:
    """One visitor.

    :param site: the URL of the site.
    :param cookies: False for a visitor who keeps none.
    """

    def __init__(self, site: str, *, cookies: bool = True) -> None:
        self._site = site
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if cookies:
            handlers.append(urllib.request.HTTPCookieProcessor())
        self._opener = urllib.request.build_opener(*handlers)
        self.page = Page(site, 0, "")

    def open(self, url: str) -> Page:
        """Go to ``url``, which may be a path."""
        return self._request(url, None)

    def follow(self, text: str) -> Page:
        """Follow the link with this text.

        :raises StepFailedError: if there is none.
        """
        for link_text, url in self.page.links:
            if link_text == text:
                return self.open(url)
        raise StepFailedError(f"expected the link “{text}”, saw {self.page}")

    def press(self, button: str, **fields: str) -> Page:
        """Fill in the form with this button, and send it.

        :raises StepFailedError: if there is no such form, or if it lacks a field.
        """
        form = self.page.form(button)
        for name in fields.keys() - form.fields.keys():
            raise StepFailedError(f"expected the field {name!r} above “{button}”, saw {self.page}")
        return self._request(form.action, {**form.fields, **fields})

    def expect(self, heading: str, *, status: int = 200) -> Page:
        """The page, if it is this one.

        :raises StepFailedError: if it is another.
        """
        if (self.page.status, self.page.heading) != (status, heading):
            raise StepFailedError(f"expected {status} “{heading}”, saw {self.page}")
        return self.page

    def expect_text(self, text: str) -> None:
        """See to it that the page shows this text by itself.

        :raises StepFailedError: if it does not.
        """
        if text not in self.page.texts:
            raise StepFailedError(f"expected “{text}”, saw {self.page}")

    def _request(self, url: str, fields: dict[str, str] | None) -> Page:
        data = None if fields is None else urllib.parse.urlencode(fields).encode()
        target = urllib.parse.urljoin(self.page.url, url)
        request = urllib.request.Request(target, data, {"Accept": "text/html"})  # noqa: S310 - the demo's own site
        if data is not None:
            request.add_header("Origin", self._site)
        try:
            answer = self._opener.open(request, timeout=_PATIENCE)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            self.page = Page(answer.url, answer.status, answer.read().decode())
        return self.page
