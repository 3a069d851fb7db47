"""The settings about URLs: where the site is, where its pages hang, where people go next."""

from __future__ import annotations

import re

from flask_courier.core.characters import has_blank
from flask_courier.core.hosts import HostFault, bracketed, is_loopback, read_host_port
from flask_courier.core.settings import read_text, refusal

#: Path segments that need no encoding (RFC 3986 section 2.3), and are no "." or "..".
_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|\Z))[A-Za-z0-9._~-]+)*")
_DEFAULT_PORTS = {"http": 80, "https": 443}
#: First segments of the routes below each prefix.
_ACCOUNT_ROUTES = (
    "recovery",
    "verification",
    "email",
    "email-undo",
    "not-me",
    "sign-in",
    "invitation",
)
_LOG_ROUTES = ("messages", "health", "test")


def read_public_url(name: str, value: object) -> str:
    """The address of the site, without a slash at the end or a port that goes without saying."""
    scheme, rest = _split_http(name, _read_visible(name, value))
    if "?" in rest or "#" in rest:
        raise refusal(f"{name} must end before any '?' or '#': links are built by adding to it.")
    authority, slash, path = rest.partition("/")
    host, port = _host_and_port(name, authority)
    path = (slash + path).rstrip("/")
    if not _PATH.fullmatch(path):
        raise refusal(
            f"{name} has a path that is not plain: use letters, digits, '-', '_', '~' and '.'"
            " between its slashes."
        )
    shown = "" if port in (None, _DEFAULT_PORTS[scheme]) else f":{port}"
    return f"{scheme}://{bracketed(host)}{shown}{path}"


def is_cleartext(public_url: str) -> bool:
    """Whether links to ``public_url`` would cross a network without TLS."""
    scheme, _, rest = public_url.partition("://")
    located = read_host_port(rest.partition("/")[0])
    return scheme == "http" and not (
        not isinstance(located, HostFault) and is_loopback(located.host)
    )


def read_onward_url(name: str, value: object) -> str:
    """Where a browser is sent next: a path on this host, or an http or https URL."""
    text = _read_visible(name, value)
    # A browser reads "//host" as another site.
    if text.startswith("/") and not text.startswith("//"):
        return text
    if text.startswith("/"):
        raise refusal(
            f"{name} begins with '//', which is another site: write one slash, or https://."
        )
    _, rest = _split_http(name, text, otherwise="be a path like /login, or ")
    _host_and_port(name, re.split(r"[/?#]", rest, maxsplit=1)[0])
    return text


def read_prefix(name: str, value: object) -> str:
    """The path that a blueprint's routes hang below: ``/account``."""
    text = read_text(name, value)
    if text == "/" or not text.startswith("/") or not _PATH.fullmatch(text):
        raise refusal(
            f"{name} must be a path like /account: a slash first and none at the end, then"
            " letters, digits, '-', '_', '~' and '.'."
        )
    return text


def collide(account_prefix: str, log_prefix: str) -> bool:
    """Whether one set of routes would take requests that are meant for the other."""
    taken_by_account = (f"{account_prefix}/{route}/" for route in _ACCOUNT_ROUTES)
    taken_by_log = (f"{log_prefix}/{route}/" for route in _LOG_ROUTES)
    return (
        account_prefix == log_prefix
        or f"{log_prefix}/".startswith(tuple(taken_by_account))
        or f"{account_prefix}/".startswith(tuple(taken_by_log))
    )


def _read_visible(name: str, value: object) -> str:
    text = read_text(name, value)
    # A browser reads a backslash as a slash, so "/\host" would be another site.
    if has_blank(text) or "\\" in text:
        raise refusal(
            f"{name} contains whitespace, a backslash or an invisible character: remove it."
        )
    return text


def _split_http(name: str, text: str, *, otherwise: str = "") -> tuple[str, str]:
    scheme, separator, rest = text.partition("://")
    if not separator or scheme.lower() not in _DEFAULT_PORTS:
        raise refusal(f"{name} must {otherwise}begin with https:// or http://.")
    return scheme.lower(), rest


def _host_and_port(name: str, authority: str) -> tuple[str, int | None]:
    if "@" in authority:
        raise refusal(f"{name} must not contain a user name or password.")
    located = read_host_port(authority)
    if isinstance(located, HostFault):
        raise refusal(
            f"{name} has no valid host and port: write it like https://www.acme.example, an"
            " international name in its ASCII form (xn--…)."
        )
    return located.host, located.port
