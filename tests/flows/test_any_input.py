"""Whatever is sent to whichever page: never a 500, and never an answer without a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from tests.databases import sqlite_url
from tests.site import Site, make_site
from tests.visitor import ADA, FINAL, NO_LIMITS, Visitor, mailed

KINDS = ("recovery", "verification")
PAGES = ("", "/code", "/confirm", "/password", "/a-token")
FIELDS = ("email", "code", "token", "password", "confirm", "form_token", "other")

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, list[str]]]:
    """A site that all examples share, and texts that mean something to it."""
    site = make_site(sqlite_url(tmp_path_factory.mktemp("any")), **NO_LIMITS)
    site.add_user()
    mails = [mailed(site, kind) for kind in KINDS]
    meant = [text for mail in mails for text in (mail.link, mail.token, mail.code)]
    yield site, [ADA, *meant]
    with site.app.app_context():
        site.db.engine.dispose()


def texts(meant: list[str]) -> st.SearchStrategy[str]:
    """Any text, and texts near those that mean something."""
    near = st.tuples(st.sampled_from(meant), st.text(max_size=3)).map("".join)
    return st.text() | st.sampled_from(meant) | near


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(data=st.data())
def test_json(known: tuple[Site, list[str]], kind: str, page: str, data: st.DataObject) -> None:
    """Any JSON gets a JSON answer below 500, and a problem carries its reason."""
    site, meant = known
    field = st.sampled_from(FIELDS)
    body: Any = data.draw(st.dictionaries(field, texts(meant) | JSON) | JSON)
    path, text = f"/account/{kind}{page}", json.dumps(body)
    answer = Visitor(site).post(path, data=text, content_type="application/json")
    assert answer.status_code < 500
    if answer.status_code not in {404, 405}:
        assert (answer.status_code >= 400) == ("reason" in answer.get_json())


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40)
@given(data=st.data())
def test_form(known: tuple[Site, list[str]], kind: str, page: str, data: st.DataObject) -> None:
    """Any form gets a page below 500."""
    site, meant = known
    pair = st.tuples(st.sampled_from(FIELDS), texts(meant).map(encodable))
    fields = MultiDict(data.draw(st.lists(pair)))
    answer = Visitor(site).post(f"/account/{kind}{page}", data=fields)
    assert (True, "text/html") == (answer.status_code < 500, answer.mimetype)


@settings(max_examples=200)
@given(body=st.binary(), content_type=st.sampled_from(["application/json", "text/json"]))
def test_bytes(known: tuple[Site, list[str]], body: bytes, content_type: str) -> None:
    """Any bytes that call themselves JSON get an answer below 500."""
    answer = Visitor(known[0]).post(FINAL["recovery"], data=body, content_type=content_type)
    assert answer.status_code < 500


@settings(max_examples=200)
@given(token=st.text(min_size=1))
def test_link(known: tuple[Site, list[str]], token: str) -> None:
    """Any text in the place of a link's token is a dead link, or no address at all."""
    path = f"/account/recovery/{encodable(token)}"
    answer = Visitor(known[0]).get(path.partition("?")[0])
    assert answer.status_code in {200, 308, 404, 410}


@settings(max_examples=200)
@given(cookie=st.text(st.characters(min_codepoint=1, max_codepoint=255)))
def test_cookie(known: tuple[Site, list[str]], cookie: str) -> None:
    """Any cookie in the place of an opened link's is a dead link."""
    headers = {"Cookie": f"courier_recovery={cookie}".replace("\r", "").replace("\n", "")}
    assert 410 == Visitor(known[0]).get(FINAL["recovery"], headers=headers).status_code


def encodable(text: str) -> str:
    """``text`` as UTF-8 can carry it."""
    return text.encode("utf-8", "replace").decode()
