"""A real DNS server on a loopback port that knows a few text records."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.resolver
import dns.rrset

_DEADLINE = 20.0


def resolver(port: int) -> dns.resolver.Resolver:
    """A resolver that asks a server on this loopback port and nobody else."""
    asked = dns.resolver.Resolver(configure=False)
    asked.nameservers = ["127.0.0.1"]
    asked.port = port
    return asked


@contextmanager
def dns_server(texts: Mapping[str, list[str]]) -> Iterator[dns.resolver.Resolver]:
    """A server until the end of the block; answers who asks it.

    :param texts: text records by name, without the dot at the end. Any other name does not exist.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=_serve, args=(sock, texts), daemon=True)
        thread.start()
        try:
            yield resolver(sock.getsockname()[1])
        finally:
            # Nothing of the DNS is as short.
            sock.sendto(b"", sock.getsockname())
            thread.join(_DEADLINE)


@contextmanager
def silent_dns_server() -> Iterator[dns.resolver.Resolver]:
    """A server that answers nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        yield resolver(sock.getsockname()[1])


def _serve(sock: socket.socket, texts: Mapping[str, list[str]]) -> None:
    while True:
        wire, asker = sock.recvfrom(4096)
        if not wire:
            return
        sock.sendto(_answer(dns.message.from_wire(wire), texts).to_wire(), asker)


def _answer(query: Any, texts: Mapping[str, list[str]]) -> Any:
    answer: Any = dns.message.make_response(query, recursion_available=True)
    name = query.question[0].name
    found = texts.get(name.to_text(omit_final_dot=True))
    if found is None:
        answer.set_rcode(dns.rcode.NXDOMAIN)
    elif found:
        quoted = [f'"{text}"' for text in found]
        answer.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", *quoted))
    return answer
