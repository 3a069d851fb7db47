"""Nobody but this site: what a page loads and where it leads, and what a forged host gets."""

from __future__ import annotations

import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from werkzeug.serving import make_server

from tests.purposes import every_purpose, link_of, open_house
from tests.site import PUBLIC_URL, Site, path_of
from tests.visitor import Visitor, delivered

#: Whatever a page of ours may name.
REFERENCE = re.compile(r"""(?:href|src|action|srcset|poster|data)\s*=\s*["']?([^"'\s>]+)""")
SCRIPT = re.compile(r"<script[^>]*>(.*?)</script>", re.DOTALL)
BODY = b'{"email": "ada@example.com"}'
#: What follows the method: an absolute URI of another host, in two schemes.
TARGETS = ("http://evil.example{}", "https://evil.example:8443{}", "//evil.example{}")


@every_purpose
def test_s10_nothing_foreign(sites: Callable[..., Site], purpose: str) -> None:
    """The page of a link names no other origin, holds no script, and is referred to by nobody."""
    site = open_house(sites)
    visitor = Visitor(site)
    opened = visitor.get(path_of(link_of(site, purpose).link))
    page = visitor.get(opened.location)
    found = [*REFERENCE.findall(page.text), opened.location]
    assert (True, []) == (
        len(found) >= 3,
        [url for url in found if not re.match(r"/(?!/)|#", url) and not url.startswith(PUBLIC_URL)],
    )
    assert ("", "no-referrer", "same-origin") == (
        "".join(SCRIPT.findall(page.text)),
        opened.headers["Referrer-Policy"],
        page.headers["Referrer-Policy"],
    )


@contextmanager
def running(site: Site) -> Iterator[int]:
    """The site behind a real server; answers its port."""
    server = make_server("127.0.0.1", 0, site.app)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def say(port: int, target: str) -> bytes:
    """Ask for a recovery with ``target`` in the request line; answer all that comes back."""
    head = (
        f"POST {target} HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\n"
        f"X-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: http\r\n"
        f"Content-Length: {len(BODY)}\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.encode() + BODY)
        answer = b""
        while received := connection.recv(65536):
            answer += received
    return answer


@pytest.mark.parametrize("target", TARGETS)
def test_s09_request_line(sites: Callable[..., Site], target: str) -> None:
    """A request line with another host's address changes neither host nor scheme of the link."""
    site = open_house(sites)
    with running(site) as port:
        answer = say(port, target.format("/account/recovery"))
    links = [mail.link or "" for mail in delivered(site)]
    # What begins with two slashes is a path to some servers, and then no page of ours.
    assert answer.split()[1] == (b"202" if links else b"404")
    assert bool(links) is not target.startswith("//")
    assert [] == [link for link in links if not link.startswith(f"{PUBLIC_URL}/account/recovery/")]
    assert b"evil" not in answer
