"""Links to the application's pages, built from PUBLIC_URL and from nothing a client sends."""

from __future__ import annotations

from urllib.parse import urlsplit


def absolute(public_url: str, path: str) -> str:
    """The absolute URL of ``path`` (which begins with a slash) under ``public_url``."""
    return public_url.rstrip("/") + path


def origin(url: str) -> str:
    """``scheme://host[:port]`` of ``url``, as browsers write it (RFC 6454 section 6.1)."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    port = "" if parts.port in (None, default) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"


def path_of(public_url: str) -> str:
    """The path that ``public_url`` puts before every route: empty, or ``/app``."""
    return urlsplit(public_url).path.rstrip("/")


def is_secure(public_url: str) -> bool:
    """Whether cookies may be limited to https."""
    return urlsplit(public_url).scheme == "https"
