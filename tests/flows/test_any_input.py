"""Whatever is sent to whichever page: soon an answer below 500, and nothing written if refused."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from flask_courier.testing import form_data
from tests.databases import sqlite_url
from tests.observation import dump
from tests.purposes import link_of, open_house, signed_in
from tests.site import Site, make_site, path_of
from tests.visitor import ADA, FINAL, Visitor

#: Every page that takes a POST; a test holds this list against the routes.
PAGES = (
    *("/account/recovery", "/account/recovery/code", "/account/recovery/again"),
    *("/account/verification", "/account/verification/code", "/account/verification/again"),
    *("/account/sign-in", "/account/sign-in/code", "/account/sign-in/again"),
    *("/account/email", "/account/email/code", "/account/invitation/again"),
    *FINAL.values(),
)
LINKS = tuple(page.rpartition("/")[0] for page in FINAL.values())
FIELDS = ("email", "code", "token", "password", "confirm", "form_token", "other")
#: What the design counts, whatever comes: requests and guesses.
COUNTED = ("courier_limit",)
#: Seconds that an answer may take in the middle of the examples; a busy machine has bad moments.
SOON = 0.1

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=8,
)


class Known(NamedTuple):
    """A site that all examples share, and texts that mean something to it."""

    site: Site
    links: dict[str, str]
    texts: list[str]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Known]:
    """A site with an open link of every purpose."""
    url = sqlite_url(tmp_path_factory.mktemp("any"))
    site = open_house(lambda **config: make_site(url, **config))
    # There is an address change to take back, or one to confirm, not both.
    mails = {purpose: link_of(site, purpose) for purpose in FINAL if purpose != "email_undo"}
    texts = [text for mail in mails.values() for text in (mail.link, mail.token, mail.code) if text]
    yield Known(site, {purpose: mail.link for purpose, mail in mails.items()}, [ADA, *texts])
    with site.app.app_context():
        site.db.engine.dispose()


def texts(known: Known) -> st.SearchStrategy[str]:
    """Any text, and texts near those that mean something."""
    meant = st.sampled_from(known.texts)
    near = st.tuples(meant, st.text(max_size=3)).map("".join)
    return st.text() | meant | near


def check(known: Known, send: Callable[[], TestResponse], times: list[float]) -> TestResponse:
    """Send it; what is refused has written nothing."""
    before = dump(known.site, without=COUNTED)
    begun = time.perf_counter()
    answer = send()
    times.append(time.perf_counter() - begun)
    assert answer.status_code < 500
    if answer.status_code >= 400:
        assert before == dump(known.site, without=COUNTED)
    return answer


def opened(known: Known, visitor: Visitor, page: str) -> dict[str, str]:
    """The hidden fields of the page's own form, as far as it has one now."""
    for purpose, link in known.links.items():
        if FINAL[purpose] == page:
            visitor.get(path_of(link))
    text = visitor.get(page).text
    hidden = form_data(text) if 'method="post"' in text else {}
    return {name: value for name, value in hidden.items() if name in {"form_token", "token"}}


def test_every_page_is_listed(known: Known) -> None:
    """These tests know every page that takes a POST, and every link."""
    rules = [
        rule
        for rule in known.site.app.url_map.iter_rules()
        if rule.endpoint.startswith("courier.") and rule.endpoint != "courier.static"
    ]
    assert sorted(PAGES) == sorted(rule.rule for rule in rules if "POST" in (rule.methods or ()))
    assert sorted(f"{link}/<token>" for link in LINKS) == sorted(
        rule.rule for rule in rules if rule.arguments
    )


@pytest.mark.parametrize("page", PAGES)
def test_s25_json(known: Known, page: str) -> None:
    """Any JSON gets a JSON answer below 500, and an error is a problem with its reason."""
    times: list[float] = []

    @settings(max_examples=40)
    @given(data=st.data())
    def send(data: st.DataObject) -> None:
        fields = st.dictionaries(st.sampled_from(FIELDS), texts(known) | JSON)
        body = json.dumps(data.draw(fields | JSON))
        visitor = data.draw(st.sampled_from([Visitor, signed_in]))(known.site)
        answer = check(
            known,
            lambda: visitor.post(page, data=body, content_type="application/json"),
            times,
        )
        found: Any = answer.get_json()
        problem = answer.status_code >= 400
        assert (problem, problem) == ("reason" in found, "problem" in str(answer.mimetype))

    send()
    assert statistics.median(times) < SOON


@pytest.mark.parametrize("page", PAGES)
def test_form(known: Known, page: str) -> None:
    """Any form gets a page below 500."""
    times: list[float] = []

    @settings(max_examples=40)
    @given(data=st.data())
    def send(data: st.DataObject) -> None:
        pair = st.tuples(st.sampled_from(FIELDS), texts(known).map(encodable))
        fields = MultiDict(data.draw(st.lists(pair)))
        visitor = data.draw(st.sampled_from([Visitor, signed_in]))(known.site)
        if data.draw(st.booleans()):
            fields = MultiDict({**fields, **opened(known, visitor, page)})
        answer = check(known, lambda: visitor.post(page, data=fields), times)
        assert "text/html" == answer.mimetype

    send()
    assert statistics.median(times) < SOON


@pytest.mark.parametrize("page", PAGES)
@settings(max_examples=40)
@given(body=st.binary(), content_type=st.sampled_from(["application/json", "text/json"]))
def test_bytes(known: Known, page: str, body: bytes, content_type: str) -> None:
    """Any bytes that call themselves JSON get an answer below 500, and write nothing."""
    visitor = signed_in(known.site)
    check(known, lambda: visitor.post(page, data=body, content_type=content_type), [])


@pytest.mark.parametrize("link", LINKS)
@settings(max_examples=60)
@given(token=st.text(min_size=1))
def test_link(known: Known, link: str, token: str) -> None:
    """Any text in the place of a link's token is a dead link, or no address at all."""
    path = f"{link}/{encodable(token)}".partition("?")[0]
    answer = check(known, lambda: Visitor(known.site).get(path), [])
    assert answer.status_code in {200, 308, 401, 404, 405, 410}


@pytest.mark.parametrize("purpose", FINAL)
@settings(max_examples=60)
@given(cookie=st.text(st.characters(min_codepoint=1, max_codepoint=255)))
def test_cookie(known: Known, purpose: str, cookie: str) -> None:
    """Any cookie in the place of an opened link's is a dead link."""
    line = f"courier_{purpose}={cookie}".replace("\r", "").replace("\n", "")
    visitor = Visitor(known.site)
    answer = check(known, lambda: visitor.get(FINAL[purpose], headers={"Cookie": line}), [])
    assert 410 == answer.status_code


def encodable(text: str) -> str:
    """``text`` as UTF-8 can carry it."""
    return text.encode("utf-8", "replace").decode()
