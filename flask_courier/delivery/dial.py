"""A TCP connection to the SMTP server, made here so that its TLS name may differ from its host.

Addresses are tried as "happy eyeballs" asks (RFC 8305): both families in turn, the next one after a
quarter of a second, the first that answers wins.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Iterable
from itertools import chain, zip_longest
from typing import NamedTuple

from flask_courier.core.replies import Phase, Trouble
from flask_courier.delivery.envelope import Timeouts
from flask_courier.delivery.fault import Fault

#: Seconds between two addresses (RFC 8305 section 8).
_STAGGER = 0.25

# The name has no such record, or none at all; not every system tells the two apart.
_NO_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}


class Address(NamedTuple):
    """Where to connect to."""

    family: int
    #: As ``socket.connect`` takes it.
    place: tuple[str | int | bytes, ...]

    @property
    def host(self) -> str:
        """The IP address."""
        return str(self.place[0])


async def dial(host: str, port: int, timeouts: Timeouts) -> tuple[socket.socket, str]:
    """A connected, non-blocking socket, and the IP address it reached.

    :raises Fault: in phase DIAL, with what the resolver or the addresses said.
    """
    deadline = asyncio.get_running_loop().time() + timeouts.dial
    return await connect_first(await _look_up(host, port, timeouts), timeouts, deadline)


async def connect_first(
    addresses: Iterable[Address], timeouts: Timeouts, deadline: float
) -> tuple[socket.socket, str]:
    """The first of ``addresses`` that a connection stands to; the others are given up.

    :param deadline: ``loop.time()`` at which it ends.
    :raises Fault: if there is none.
    """
    loop = asyncio.get_running_loop()
    waiting = list(interleaved(addresses))
    running: dict[asyncio.Task[socket.socket], Address] = {}
    failed: list[tuple[Address, OSError]] = []
    try:
        while waiting or running:
            if waiting:
                address = waiting.pop(0)
                running[asyncio.create_task(_connect(address, timeouts.address))] = address
            left = deadline - loop.time()
            if left <= 0:
                raise Fault(
                    Phase.DIAL,
                    f"no connection within {timeouts.dial:g} seconds",
                    trouble=Trouble.TIMED_OUT,
                )
            done, _ = await asyncio.wait(
                running,
                timeout=min(left, _STAGGER) if waiting else left,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                error = task.exception()
                if error is None:
                    return task.result(), running.pop(task).host
                address = running.pop(task)
                if not isinstance(error, OSError):
                    raise error
                failed.append((address, error))
        raise _no_connection(failed)
    finally:
        await _give_up(running)


def interleaved(addresses: Iterable[Address]) -> Iterable[Address]:
    """``addresses`` with their families in turn, the family of the first one first."""
    families: dict[int, list[Address]] = {}
    for address in addresses:
        families.setdefault(address.family, []).append(address)
    return filter(None, chain.from_iterable(zip_longest(*families.values())))


async def _look_up(host: str, port: int, timeouts: Timeouts) -> list[Address]:
    loop = asyncio.get_running_loop()
    look_up = loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.wait_for(look_up, timeouts.dial)
    except asyncio.TimeoutError as error:
        text = f"no connection: the host name was not resolved within {timeouts.dial:g} seconds"
        raise Fault(Phase.DIAL, text, trouble=Trouble.LOOK_UP) from error
    except socket.gaierror as error:
        trouble = Trouble.NO_SUCH_HOST if error.errno in _NO_NAME else Trouble.LOOK_UP
        raise Fault(Phase.DIAL, f"no connection: {error.strerror}", trouble=trouble) from error
    except UnicodeError as error:
        # A label that is too long for the DNS, or for IDNA.
        text = "no connection: this cannot be a host name"
        raise Fault(Phase.DIAL, text, trouble=Trouble.NO_SUCH_HOST) from error
    except RuntimeError as error:
        # asyncio resolves in a pool of threads, which takes no work once the interpreter ends.
        text = "no connection: this process is about to end"
        raise Fault(Phase.DIAL, text, trouble=Trouble.LOOK_UP) from error
    return [Address(family, place) for family, _, _, _, place in found]


async def _connect(address: Address, timeout: float) -> socket.socket:
    """:raises OSError: with an ``errno``."""
    sock = socket.socket(address.family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        loop = asyncio.get_running_loop()
        await asyncio.wait_for(loop.sock_connect(sock, address.place), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except asyncio.TimeoutError as error:
        sock.close()
        raise TimeoutError(errno.ETIMEDOUT, "no answer") from error
    except BaseException:
        sock.close()
        raise
    return sock


async def _give_up(running: Iterable[asyncio.Task[socket.socket]]) -> None:
    tasks = list(running)
    for task in tasks:
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, socket.socket):
            # It connected in the same instant as the winner.
            result.close()


def _no_connection(failed: list[tuple[Address, OSError]]) -> Fault:
    # Somebody who refuses is nearer than somebody who is silent.
    numbers = {error.errno for _, error in failed}
    silent = errno.ETIMEDOUT in numbers and errno.ECONNREFUSED not in numbers
    # asyncio says whom it called, and not what was wrong.
    said = [
        (address.host, os.strerror(error.errno) if error.errno else str(error))
        for address, error in failed
    ]
    if len({words for _, words in said}) == 1:
        text = said[0][1]
    else:
        text = "; ".join(f"{host}: {words}" for host, words in said)
    return Fault(
        Phase.DIAL,
        f"no connection: {text or 'the host name has no address'}",
        trouble=Trouble.TIMED_OUT if silent else Trouble.REFUSED,
    )
