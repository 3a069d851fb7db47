"""A client that says exactly what a test tells it to."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from flask_courier.testing import FaultServer

DEADLINE = 20.0
MAIL = b"MAIL FROM:<acme@acme.example>\r\n"
RCPT = b"RCPT TO:<ada@example.com>\r\n"
ENVELOPE = MAIL + RCPT + b"DATA\r\n"


class Client:
    """One connection; the greeting is read by whoever made it."""

    def __init__(self, server: FaultServer) -> None:
        self.socket = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
        self._file = self.socket.makefile("rb")

    def send(self, data: bytes) -> None:
        """Send ``data`` in one segment."""
        self.socket.sendall(data)

    def read(self) -> bytes:
        """The next reply with all its lines, or what came before the end of the connection."""
        reply = b""
        while line := self._file.readline():
            reply += line
            if line[3:4] != b"-":
                break
        return reply

    def ask(self, data: bytes) -> bytes:
        """Send ``data`` and read one reply."""
        self.send(data)
        return self.read()

    def codes(self, count: int) -> list[int]:
        """The codes of the next ``count`` replies."""
        return [int(self.read()[:3]) for _ in range(count)]

    def read_to_end(self) -> bytes:
        """Everything up to the end of the connection."""
        return self._file.read()

    def close(self) -> None:
        """Hang up."""
        self._file.close()
        self.socket.close()


@contextlib.contextmanager
def connected(server: FaultServer, *, ehlo: bool = True) -> Iterator[Client]:
    """A client of ``server`` that has said EHLO, or only connected."""
    client = Client(server)
    try:
        if ehlo:
            assert client.read().startswith(b"220 ")
            assert client.ask(b"EHLO client.example\r\n").startswith(b"250")
        yield client
    finally:
        client.close()
