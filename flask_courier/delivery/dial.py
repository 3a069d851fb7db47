"""A TCP connection to the SMTP server, made here so that its TLS name may differ from its host."""

from __future__ import annotations

import asyncio
import os
import socket

#: Seconds for each address.
_TIMEOUT = 10.0


async def dial(host: str, port: int) -> tuple[socket.socket, str]:
    """A connected, non-blocking socket and the address it reached; each address in turn.

    :raises OSError: with what the last address said, or the resolver.
    """
    loop = asyncio.get_running_loop()
    trouble: OSError = OSError("the host name has no address")
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except RuntimeError as error:
        # asyncio resolves in a pool of threads, which takes no work once the interpreter ends.
        raise OSError("this process is about to end") from error
    for family, kind, protocol, _, address in found:
        sock = socket.socket(family, kind, protocol)
        sock.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        try:
            await asyncio.wait_for(loop.sock_connect(sock, address), _TIMEOUT)
        except asyncio.TimeoutError:
            sock.close()
            trouble = TimeoutError(f"no answer within {_TIMEOUT:.0f} seconds")
        except OSError as error:
            sock.close()
            # asyncio says whom it called, and not what was wrong.
            trouble = OSError(error.errno, os.strerror(error.errno)) if error.errno else error
        except BaseException:
            sock.close()
            raise
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock, str(address[0])
    raise trouble
