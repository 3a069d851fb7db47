"""Hosts as they stand in a URI: a name, an IPv4 address or an IPv6 address, and a port."""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass

_NAME_LIMIT = 253
_PORT_LIMIT = 65535
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


class HostFault(enum.Enum):
    """Why ``host[:port]`` cannot be read."""

    #: There is no host.
    EMPTY = "empty"
    #: An IPv6 address without brackets, with a zone, or with a mistake in it.
    IPV6 = "ipv6"
    #: Neither a host name nor an IPv4 address.
    NAME = "name"
    #: The port is not a number from 1 to 65535.
    PORT = "port"


@dataclass(frozen=True)
class HostPort:
    """A host, in lower case and without brackets, and the port if one was written."""

    host: str
    port: int | None


def read_host_port(text: str) -> HostPort | HostFault:
    """Read ``host[:port]`` of a URI (RFC 3986 section 3.2), IPv6 addresses in brackets.

    Names may hold an underscore and end with a dot: container networks have the one, and search
    lists are kept away with the other. Percent-encoding and non-ASCII names are not read.
    """
    if text.startswith("["):
        literal, closed, rest = text[1:].partition("]")
        host = _ipv6(literal) if closed and (not rest or rest.startswith(":")) else None
        fault = HostFault.IPV6
    else:
        name, colon, port_text = text.partition(":")
        if ":" in port_text:
            return HostFault.IPV6
        rest = colon + port_text
        host = _name_or_ipv4(name)
        fault = HostFault.NAME if name else HostFault.EMPTY
    if host is None:
        return fault
    port = _port(rest[1:]) if rest else None
    return HostFault.PORT if rest and port is None else HostPort(host, port)


def is_host_name(text: str) -> bool:
    """Whether ``text`` is a host name (RFC 1123 section 2.1): no address, no dot at the end."""
    labels = text.split(".")
    return (
        len(text) <= _NAME_LIMIT
        and all(_LABEL.fullmatch(label) for label in labels)
        # A top-level domain is never a number (RFC 3696 section 2): "10.0.0.300" is a slip.
        and not labels[-1].isdigit()
    )


def is_address_literal(text: str) -> bool:
    """Whether ``text`` is ``[192.0.2.1]`` or ``[IPv6:2001:db8::1]`` (RFC 5321 section 4.1.3)."""
    inner = text[1:-1]
    if text != f"[{inner}]":
        return False
    address = inner.removeprefix("IPv6:")
    return (_ipv4(inner) if address == inner else _ipv6(address)) is not None


def is_loopback(host: str) -> bool:
    """Whether ``host`` (no brackets) is this machine: what is sent there never leaves it."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def bracketed(host: str) -> str:
    """``host`` as a URI writes it: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def _ipv6(text: str) -> str | None:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        return None
    return None if "%" in text else str(address)


def _ipv4(text: str) -> str | None:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        return None


def _name_or_ipv4(text: str) -> str | None:
    is_name = is_host_name(text.removesuffix(".").replace("_", "x"))
    return text.lower() if is_name else _ipv4(text)


def _port(text: str) -> int | None:
    # int() alone would also take "٢٥", "+25" and "2_5".
    if re.fullmatch(r"[0-9]{1,5}", text) is None:
        return None
    return int(text) if 1 <= int(text) <= _PORT_LIMIT else None
