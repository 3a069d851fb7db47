"""An SMTP server that says what a test tells it to, right or wrong, and hangs up when told to.

A script maps a verb to what is said when it comes: ``BANNER`` for the greeting, ``DOT`` for the end
of the message; ``BODY`` and ``BEFORE_DOT`` can only hang up, at its first byte and in
its middle. What ends with ``DROP`` hangs up afterwards; ``DROP`` alone hangs up without a word.
A list is one saying for each time, the last one for all later times. Everything else is answered
as a friendly server would.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.smtp_server import served

DROP = "\0drop"
EHLO = "250-mail.acme.example\r\n250-AUTH PLAIN LOGIN\r\n250 8BITMIME"
PIPELINING = EHLO.replace("250 8BITMIME", "250-8BITMIME\r\n250 PIPELINING")

Saying = str | Callable[[bytes], str]
_FRIENDLY: dict[str, Saying] = {
    "BANNER": "220 mail.acme.example ESMTP",
    "EHLO": EHLO,
    "AUTH": "235 2.7.0 welcome",
    "DATA": "354 go ahead",
    "QUIT": "221 2.0.0 bye" + DROP,
}
_LONGEST = 2**24


@dataclass
class Dialogue:
    """What one connection brought."""

    commands: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    #: Bytes of payloads so far.
    received: int = 0
    #: Set when the connection has ended.
    ended: threading.Event = field(default_factory=threading.Event)

    @property
    def verbs(self) -> list[str]:
        """The first word of each command."""
        return [command.split()[0].decode() for command in self.commands]


@dataclass
class ScriptedServer:
    """Where it listens, and what each connection brought."""

    script: dict[str, Saying | list[Saying]]
    port: int = 0
    dialogues: list[Dialogue] = field(default_factory=list)
    #: ``user:password@`` of the URI.
    login: str = ""
    #: Bytes of a payload after which ``BEFORE_DOT`` hangs up.
    enough: int = 2**20
    _said: dict[str, int] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """The SMTP URI of a client that stays in the clear."""
        return f"smtp://{self.login}localhost:{self.port}/?disable_starttls=true"

    def saying(self, verb: str, heard: bytes) -> str:
        """What is said when ``verb`` comes this time."""
        sayings = self.script.get(verb, _FRIENDLY.get(verb, "250 2.0.0 OK"))
        if isinstance(sayings, list):
            turn = self._said[verb] = self._said.get(verb, -1) + 1
            sayings = sayings[min(turn, len(sayings) - 1)]
        return sayings if isinstance(sayings, str) else sayings(heard)

    async def converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        dialogue = Dialogue()
        self.dialogues.append(dialogue)
        try:
            await self._converse(dialogue, reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            dialogue.ended.set()
            writer.close()

    async def _converse(
        self, dialogue: Dialogue, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        verb, saying = "BANNER", self.saying("BANNER", b"")
        while await _say(writer, saying):
            if (verb, saying[:3]) == ("DATA", "354"):
                payload = await self._read_payload(dialogue, reader)
                if payload is None:
                    return
                dialogue.payloads.append(payload)
                verb, saying = "DOT", self.saying("DOT", payload)
                continue
            line = await reader.readline()
            if not line:
                return
            dialogue.commands.append(line.rstrip(b"\r\n"))
            verb = dialogue.verbs[-1].upper()
            saying = self.saying(verb, line)

    async def _read_payload(self, dialogue: Dialogue, reader: asyncio.StreamReader) -> bytes | None:
        """All lines up to the one with the dot, which end with CRLF and with nothing else."""
        if self.script.get("BODY") == DROP:
            await reader.readexactly(1)
            return None
        payload = bytearray(b"\r\n")
        while not payload.endswith(b"\r\n.\r\n"):
            line = await reader.readline()
            if not line:
                return None
            payload += line
            dialogue.received += len(line)
            if self.script.get("BEFORE_DOT") == DROP and dialogue.received > self.enough:
                return None
        return bytes(payload[2:])


async def _say(writer: asyncio.StreamWriter, saying: str) -> bool:
    """Say it; False if the connection is to end."""
    text = saying.removesuffix(DROP)
    if text:
        writer.write(text.encode("utf-8", "surrogateescape") + b"\r\n")
        await writer.drain()
    return text == saying


@contextmanager
def scripted_smtp(**script: Saying | list[Saying]) -> Iterator[ScriptedServer]:
    """A server on a loopback port until the end of the block."""
    server = ScriptedServer(script)

    def protocol() -> asyncio.BaseProtocol:
        reader = asyncio.StreamReader(limit=_LONGEST)
        return asyncio.StreamReaderProtocol(reader, server.converse)

    with served(protocol) as port:
        server.port = port
        yield server
