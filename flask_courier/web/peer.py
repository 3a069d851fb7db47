"""Who is at the other end of a request, and by what name it came here."""

from __future__ import annotations

import ipaddress

from flask import request

_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
#: Forwarding headers, as WSGI (PEP 3333) names them.
_FORWARDING = (
    "HTTP_FORWARDED",
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_REAL_IP",
    "HTTP_VIA",
)


def requester() -> str | None:
    """Who asks, for the limits: an IPv4 address or an IPv6 /64; None if a proxy hides it.

    A private peer with a forwarding header is a proxy that nobody told Flask of: everybody would
    share its one limit.
    """
    address = _peer()
    if address is None:
        return None
    if is_forwarded() and (address.is_private or address.is_loopback):
        return None
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def is_forwarded() -> bool:
    """Whether a forwarding header came with the request."""
    return any(name in request.environ for name in _FORWARDING)


def is_loopback_request() -> bool:
    """Whether client and Host name are this machine, with nothing in between."""
    peer = _peer()
    if peer is None:
        return False
    return peer.is_loopback and is_loopback_name(host_name()) and not is_forwarded()


def is_loopback_name(host: str) -> bool:
    """Whether ``host`` names this machine and nothing else."""
    return host in _LOOPBACK_NAMES or host.endswith(".localhost")


def _peer() -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Who is at the other end; a dual-stack socket writes IPv4 addresses as IPv6 ones."""
    try:
        address = ipaddress.ip_address(request.remote_addr or "")
    except ValueError:
        return None
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


def host_name() -> str:
    """The host that the client named, without its port."""
    host = request.host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
