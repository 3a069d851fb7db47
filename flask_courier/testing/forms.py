"""What a browser would send back from one of our pages."""

from __future__ import annotations

from html.parser import HTMLParser


def form_data(page: str, **fields: str) -> dict[str, str]:
    """The fields of the first form that posts, hidden ones included, with ``fields`` filled in.

    ::

        page = client.get("/account/recovery").text
        client.post("/account/recovery", data=form_data(page, email="ada@example.com"))

    :param page: HTML.
    :raises ValueError: if no form on the page posts, or it has no such field.
    """
    parser = _PostForm()
    parser.feed(page)
    if parser.fields is None:
        raise ValueError("there is no form on this page that posts")
    unknown = sorted(fields.keys() - parser.fields.keys())
    if unknown:
        raise ValueError(
            f"the form has no field {unknown[0]!r}; it has {', '.join(sorted(parser.fields))}"
        )
    return {**parser.fields, **fields}


class _PostForm(HTMLParser):
    """Collects the named inputs of the first ``<form method="post">``."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] | None = None
        self._inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Enter a form that posts, and note its inputs."""
        values = dict(attrs)
        if tag == "form" and self.fields is None and (values.get("method") or "").lower() == "post":
            self.fields, self._inside = {}, True
        name = values.get("name")
        if tag == "input" and self._inside and self.fields is not None and name:
            self.fields[name] = values.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        """Leave the form."""
        if tag == "form":
            self._inside = False
