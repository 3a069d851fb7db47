"""An SMTP server that accepts everything, as fast as Python can, and says when it did."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from tests.benchmarks.processes import greet

_GREETING = b"220 sink.example ESMTP\r\n"
_EHLO = b"250-sink.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SMTPUTF8\r\n"
_OK = b"250 2.0.0 OK\r\n"
_GO_ON = b"354 End with a dot\r\n"
_BYE = b"221 2.0.0 Bye\r\n"
_END = b"\r\n.\r\n"


class Book:
    """What was accepted since the last mark."""

    def __init__(self) -> None:
        self.followers: set[asyncio.StreamWriter] = set()
        #: The last mail, dot-stuffed as it came.
        self.last = b""
        self.clear()

    def clear(self) -> None:
        """Begin again."""
        self.accepted = 0
        self.sessions = 0
        self.first_at = 0
        self.last_at = 0
        self.recipients: set[bytes] = set()

    def accept(self, mail: bytes) -> None:
        """Note a mail whose 250 is written next."""
        now = time.monotonic_ns()
        self.accepted += 1
        self.first_at = self.first_at or now
        self.last_at = now
        self.last = mail
        for follower in self.followers:
            follower.write(b"%d\n" % now)

    def as_json(self) -> dict[str, Any]:
        """The same for the parent."""
        return {
            "accepted": self.accepted,
            "distinct": len(self.recipients),
            "sessions": self.sessions,
            "first_at": self.first_at,
            "last_at": self.last_at,
        }


class Session(asyncio.Protocol):
    """One SMTP session (RFC 5321), with pipelining (RFC 2920)."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._rest = b""
        self._in_data = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._book.sessions += 1
        transport.write(_GREETING)

    def data_received(self, data: bytes) -> None:
        """Answer every whole command and every whole mail in one write."""
        buffer = self._rest + data if self._rest else data
        start = 0
        replies: list[bytes] = []
        while (end := buffer.find(_END if self._in_data else b"\r\n", start)) >= 0:
            if self._in_data:
                self._in_data = False
                self._book.accept(buffer[start + 2 : end + 2])
                replies.append(_OK)
                start = end + len(_END)
            else:
                reply = self._answer(buffer[start:end])
                replies.append(reply)
                # After DATA the line's end stays: a mail of no lines ends with it and a dot.
                start = end if reply is _GO_ON else end + 2
        self._rest = buffer[start:]
        if replies:
            self._transport.write(b"".join(replies))
            if replies[-1] is _BYE:
                self._transport.close()

    def _answer(self, line: bytes) -> bytes:
        verb = line[:4].upper()
        if verb == b"DATA":
            self._in_data = True
            return _GO_ON
        if verb == b"RCPT":
            self._book.recipients.add(line)
        return {b"EHLO": _EHLO, b"QUIT": _BYE}.get(verb, _OK)


async def _serve() -> None:
    book = Book()
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        book.followers.add(writer)
        # Whoever has read this misses nothing from here on.
        writer.write(b"0\n")
        await reader.read()
        book.followers.discard(writer)
        writer.close()

    def obey() -> None:
        line = sys.stdin.readline()
        if not line:
            done.set()
            return
        question = json.loads(line)["do"]
        if question == "last":
            greet(mail=book.last.decode("latin-1"))
            return
        greet(**book.as_json())
        if question == "mark":
            book.clear()

    server = await loop.create_server(lambda: Session(book), "127.0.0.1", 0, backlog=512)
    reports = await asyncio.start_server(follow, "127.0.0.1", 0)
    loop.add_reader(sys.stdin.fileno(), obey)
    greet(port=server.sockets[0].getsockname()[1], reports=reports.sockets[0].getsockname()[1])
    await done.wait()
    server.close()
    reports.close()


if __name__ == "__main__":
    asyncio.run(_serve())
