"""Bad input: a clear answer of the 4xx kind, nothing written, nothing sent, never a 500."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from werkzeug.test import TestResponse

from flask_courier.testing import form_data
from tests.observation import dump
from tests.site import PASSWORD, Site
from tests.visitor import ADA, FINAL, Mail, Visitor, mailed

KINDS = ("recovery", "verification")
ASK = ("/account/recovery", "/account/verification", "/account/sign-in")
CODE = tuple(f"{path}/code" for path in ASK)
POSTS = (*ASK, *CODE, *FINAL.values())
#: What the design counts, whatever comes: requests and guesses.
COUNTED = ("courier_limit",)
BAD_ADDRESSES = {
    "none": None,
    "empty": "",
    "blank": "   ",
    "no at": "ada",
    "no domain": "ada@",
    "no local part": "@example.com",
    "two": "ada@example.com, eve@example.com",
    "name": "Ada <ada@example.com>",
    "space": "ada@exam ple.com",
    "header": "ada@example.com\r\nBcc: eve@example.com",
    "inner line feed": "ada\n@example.com",
    "nul": "ada\0@example.com",
    "escape": "ada\x1b@example.com",
    "255 characters": "a" * 243 + "@example.com",
    "10 kB": "a" * 10_000 + "@example.com",
    "literal": "ada@[127.0.0.1]",
    "dots": "ada..lovelace@example.com",
    "right to left": "ada\u202e@example.com",
}
#: What only JSON can say.
NOT_TEXT: dict[str, Any] = {
    "surrogate": "ada\ud800@example.com",
    "null": None,
    "number": 5,
    "true": True,
    "list": [ADA],
    "object": {"email": ADA},
}
BAD_BODIES = {
    "empty": b"",
    "broken": b'{"email": ',
    "array": b'[{"email": "ada@example.com"}]',
    "text": b'"ada@example.com"',
    "number": b"5",
    "null": b"null",
    "not UTF-8": b'{"email": "\xff\xfe"}',
    "deep": b"[" * 30_000,
    "deep object": b'{"email":' * 3_000,
    "long number": b'{"email": ' + b"9" * 10_000 + b"}",
}
BAD_CODES: dict[str, Any] = {
    "none": None,
    "empty": "",
    "number": 12345678,
    "list": ["12345678"],
    "line feed": "1234\n5678",
    "nul": "1234\x005678",
    "10 kB": "1" * 10_000,
    "surrogate": "1234\ud8005678",
}
ODD_CODES = {
    "blank": "   ",
    "short": "1",
    "letters": "abcdefgh",
    "other digits": "\u0661\u0662\u0663\u0664\u0665\u0666\u0667\u0668",
    "slash": "/",
    "slashes": "////",
    "percent": "%",
    "half an escape": "%2",
    "escaped nul": "https://acme.example/account/recovery/%00",
    "escaped line feed": "https://acme.example/account/recovery/%0d%0a",
    "not UTF-8": "/%ff%fe",
    "2 kB": "1" * 2048,
    "SQL": "' OR 1=1 --",
}
LANGUAGES = {
    "none": "",
    "star": "*",
    "long": "a" * 2_000,
    "long tags": "-".join(["en"] * 200),
    "many": ",".join(["en;q=0.1"] * 500),
    "not a tag": "\"'<script>;q=nan",
    "not ASCII": "\u00e9",
}
BAD_PASSWORDS = {
    "missing": None,
    "empty": "",
    "short": "elevenchars",
    "1025 characters": "a" * 1025,
    "10 kB": "a" * 10_000,
    "nul": "long enough\0it is",
}


def table(cases: dict[str, Any]) -> Any:
    """Parametrize ``value`` by the values of ``cases``, each under its name."""
    return pytest.mark.parametrize("value", cases.values(), ids=cases.keys())


@pytest.fixture
def mails(site: Site) -> dict[str, Mail]:
    """An account with an open link of each kind."""
    site.add_user()
    return {kind: mailed(site, kind) for kind in KINDS}


def posted(visitor: Visitor, path: str, **fields: str | None) -> TestResponse:
    """Fill the form at ``path`` in, leaving out what is None, and send it."""
    data = form_data(visitor.get(path).text)
    data.update({name: value for name, value in fields.items() if value is not None})
    return visitor.post(path, data=data)


@pytest.fixture
def site(sites: Callable[..., Site]) -> Site:
    """A site with every page that takes a form from whoever comes."""
    return sites(COURIER_SIGN_IN=True)


def problem(answer: TestResponse) -> tuple[int, str | None, str]:
    """Status, content type and reason of a problem."""
    body = answer.get_json()
    assert body["status"] == answer.status_code
    assert body["detail"]
    return answer.status_code, answer.mimetype, body["reason"]


@table(BAD_ADDRESSES)
def test_address(site: Site, value: str | None) -> None:
    """A page shows its form again with a sentence about the address, and queues nothing."""
    before = dump(site, without=COUNTED)
    for path in (*ASK, *CODE):
        code = "11111111" if path in CODE else None
        answer = posted(Visitor(site), path, email=value, code=code)
        assert (422, True) == (answer.status_code, 'id="courier-email-errors"' in answer.text)
    assert before == dump(site, without=COUNTED)


@table({**BAD_ADDRESSES, **NOT_TEXT})
def test_address_in_json(site: Site, value: Any) -> None:
    """A JSON client is told that the address is wrong, and nothing is queued."""
    before = dump(site, without=COUNTED)
    for path in (*ASK, *CODE):
        answer = Visitor(site).post(path, json={"email": value, "code": "11111111"})
        assert (422, "application/problem+json", "invalid_input") == problem(answer)
        assert ["email"] == [*answer.get_json()["errors"]]
    assert before == dump(site, without=COUNTED)


@pytest.mark.parametrize("around", ["  {}  ", "{}\n", "\r\n{}\t"])
def test_white_space_around_an_address(site: Site, around: str) -> None:
    """White space around an address is no part of it."""
    assert 202 == Visitor(site).json("/account/recovery", email=around.format(ADA))[0]
    assert [ADA] == [row["recipient"] for row in site.rows("courier_message")]


@table(BAD_CODES)
def test_code(site: Site, value: Any) -> None:
    """What is no code at all is refused as bad input, before a guess is counted."""
    before = dump(site)
    for path in CODE:
        answer = Visitor(site).post(path, json={"email": ADA, "code": value})
        assert (422, "application/problem+json", "invalid_input") == problem(answer)
        assert ["code"] == [*answer.get_json()["errors"]]
    assert before == dump(site)


@table(ODD_CODES)
def test_odd_code(site: Site, mails: dict[str, Mail], value: str) -> None:
    """What could be a code or a link, and is none, is refused like any wrong code."""
    before = dump(site, without=COUNTED)
    for path in CODE:
        answer = Visitor(site).post(path, json={"email": ADA, "code": value})
        assert (422, "application/problem+json", "code_wrong") == problem(answer)
    assert before == dump(site, without=COUNTED)


@table({**BAD_PASSWORDS, **NOT_TEXT, "half a pair": "long enough it is \ud800"})
def test_password_in_json(site: Site, mails: dict[str, Mail], value: Any) -> None:
    """A password that will not do changes nothing, and the token stays good."""
    before, visitor, token = dump(site), Visitor(site), mails["recovery"].token
    answer = visitor.post(FINAL["recovery"], json={"token": token, "password": value})
    assert (422, "application/problem+json", "invalid_input") == problem(answer)
    assert (True, before) == ("password" in answer.get_json()["errors"], dump(site))
    assert 200 == visitor.redeem("recovery", token)


@table(BAD_PASSWORDS)
def test_s15_password(site: Site, mails: dict[str, Mail], value: str | None) -> None:
    """A page shows its form again with a sentence about the password, and changes nothing."""
    visitor = Visitor(site)
    page = visitor.follow(mails["recovery"].link)
    before = dump(site)
    answer = visitor.send(page, password=value or "", confirm=value or "")
    assert (422, True) == (answer.status_code, 'id="courier-password-errors"' in answer.text)
    assert before == dump(site)
    assert (value or "never in a page") not in answer.text


def test_s15_two_passwords(site: Site, mails: dict[str, Mail]) -> None:
    """Two passwords that differ change nothing."""
    visitor = Visitor(site)
    page = visitor.follow(mails["recovery"].link)
    before = dump(site)
    answer = visitor.send(page, password=PASSWORD, confirm=f"{PASSWORD}!")
    text = "The two passwords are not the same."
    assert (422, True, before) == (answer.status_code, text in answer.text, dump(site))


def test_s15_password_policy(site: Site, mails: dict[str, Mail]) -> None:
    """What the application has against a password is said in its words, and costs no link."""
    site.courier.password_policy(lambda password: f"Not {len(password)} characters, please.")
    token = mails["recovery"].token
    answer = Visitor(site).post(FINAL["recovery"], json={"token": token, "password": PASSWORD})
    errors = {"password": ["Not 28 characters, please."]}
    assert (422, errors) == (answer.status_code, answer.get_json()["errors"])
    site.courier.password_policy(lambda _password: None)
    assert 200 == Visitor(site).redeem("recovery", token)


@table(BAD_BODIES)
def test_body(site: Site, value: bytes) -> None:
    """A body that is no JSON object is refused, and nothing is written."""
    before = dump(site)
    for path in POSTS:
        answer = Visitor(site).post(path, data=value, content_type="application/json")
        assert (400, "application/problem+json", "body") == problem(answer)
    assert before == dump(site)


@pytest.mark.parametrize("kind", KINDS)
def test_empty_object(site: Site, kind: str) -> None:
    """An empty JSON object is answered with every field that is missing."""
    visitor = Visitor(site)
    answers = [visitor.json(path) for path in (f"/account/{kind}", f"/account/{kind}/code")]
    assert [(422, ["email"]), (422, ["code", "email"])] == [
        (status, sorted(body["errors"])) for status, body in answers
    ]


@pytest.mark.parametrize("size", [33_000, 100_000, 5_000_000])
def test_size(site: Site, size: int) -> None:
    """A body over 32 kB is refused, as JSON and as a form."""
    before, visitor = dump(site), Visitor(site)
    for path in POSTS:
        as_json = visitor.post(path, json={"email": "a" * size, "token": "a", "code": "1"})
        as_form = visitor.post(path, data={"email": "a" * size})
        assert (413, "application/problem+json", "payload_too_large") == problem(as_json)
        assert (413, True) == (as_form.status_code, "Send at most 32 kB." in as_form.text)
    assert before == dump(site)


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "image/png", "application/jsonp", "x", ""]
)
def test_content_type(site: Site, content_type: str) -> None:
    """Another content type is refused, in the kind of answer that was asked for."""
    before, visitor = dump(site), Visitor(site)
    body = {"data": b"email=ada@example.com", "content_type": content_type}
    for path in POSTS:
        as_json = visitor.post(path, **body, headers={"Accept": "application/json"})
        as_page = visitor.post(path, **body)
        assert (415, "application/problem+json", "unsupported_media_type") == problem(as_json)
        assert (415, True) == (as_page.status_code, "Send a form, or JSON" in as_page.text)
    assert before == dump(site)


def test_no_content(site: Site) -> None:
    """A POST without a body and without a content type is refused."""
    assert {415} == {Visitor(site).post(path).status_code for path in POSTS}


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary=x"])
def test_broken_multipart(site: Site, content_type: str) -> None:
    """A form that cannot be read is refused."""
    answer = Visitor(site).post("/account/recovery", data=b"--y\r\nno", content_type=content_type)
    assert (True, []) == (answer.status_code in {400, 422}, site.rows("courier_message"))


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_method(site: Site, method: str) -> None:
    """Other methods are not allowed, and the answer says which are."""
    for path in POSTS:
        answer = Visitor(site).client.open(path, method=method)
        allowed = sorted(answer.headers["Allow"].split(", "))
        assert (405, ["GET", "HEAD", "OPTIONS", "POST"]) == (answer.status_code, allowed)


@table(LANGUAGES)
def test_accept_language(site: Site, value: str) -> None:
    """Whatever a browser says about languages, the request is queued."""
    headers = {"Accept-Language": value}
    answer = Visitor(site).post("/account/recovery", json={"email": ADA}, headers=headers)
    assert (202, 1) == (answer.status_code, len(site.rows("courier_message")))
