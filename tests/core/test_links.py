"""Links and origins, from PUBLIC_URL alone."""

from __future__ import annotations

import pytest

from flask_courier.core.links import absolute, is_secure, origin, path_of


@pytest.mark.parametrize(
    ("public_url", "expected"),
    [
        ("https://acme.example", "https://acme.example/account/recovery"),
        ("https://acme.example/", "https://acme.example/account/recovery"),
        ("https://acme.example/app", "https://acme.example/app/account/recovery"),
        ("https://acme.example/app/", "https://acme.example/app/account/recovery"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/account/recovery"),
    ],
)
def test_absolute(public_url: str, expected: str) -> None:
    """A link stands under PUBLIC_URL, its path included, with one slash between."""
    assert expected == absolute(public_url, "/account/recovery")


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://acme.example", "https://acme.example"),
        ("https://acme.example/app?x=1#y", "https://acme.example"),
        ("https://ACME.example:443/", "https://acme.example"),
        ("http://acme.example:80", "http://acme.example"),
        ("http://acme.example:443", "http://acme.example:443"),
        ("https://acme.example:8443", "https://acme.example:8443"),
        ("http://[2001:DB8::1]:5000/", "http://[2001:db8::1]:5000"),
        ("https://user:pass@acme.example/", "https://acme.example"),
        ("null", "://"),
        ("", "://"),
    ],
)
def test_origin(url: str, expected: str) -> None:
    """RFC 6454: scheme, host and a port that is not the scheme's own; never a user name."""
    assert expected == origin(url)


@pytest.mark.parametrize(
    ("public_url", "expected"),
    [
        ("https://acme.example", ""),
        ("https://acme.example/", ""),
        ("https://acme.example/app", "/app"),
        ("https://acme.example/app/", "/app"),
    ],
)
def test_path_of(public_url: str, expected: str) -> None:
    """The path of PUBLIC_URL ends without a slash, so that a route can follow."""
    assert expected == path_of(public_url)


@pytest.mark.parametrize(
    ("public_url", "secure"), [("https://acme.example", True), ("http://127.0.0.1:5000", False)]
)
def test_is_secure(public_url: str, *, secure: bool) -> None:
    """Cookies are limited to https where PUBLIC_URL is https."""
    assert secure is is_secure(public_url)
