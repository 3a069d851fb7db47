"""Messages over a wire, one after another: MAIL, RCPT, DATA, the payload and its final dot.

With PIPELINING (RFC 2920) the three commands go out at once, and those of the next message together
with the final dot, as section 3.1 allows: a message costs one round trip, the first two. Without it
it costs four. Either way it is known exactly how far a message came.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from flask_courier.core.replies import Phase, Reply, Trouble
from flask_courier.delivery.envelope import Envelope, stuffed
from flask_courier.delivery.fault import Fault
from flask_courier.delivery.wire import DATA, DOT, MAIL, RCPT, RSET, End, Step, Wire

#: Bytes of a payload that are written at a time; a smaller one goes out with its dot.
CHUNK = 64 * 1024

_ANNOUNCED = (MAIL, RCPT, DATA)
_ENDS_EARLY = re.compile(r"[\x00-\x1f\x7f<>]")
# RFC 5321 section 4.1.1.11: the server knows a parameter of MAIL by name at most.
_PARAMETER_REFUSED = {501, 504, 555}


class _Ahead(NamedTuple):
    """An envelope that was announced behind the dot of the one before."""

    envelope: Envelope
    lines: bytes
    steps: Sequence[Step]
    #: Those to the dot and to the steps, as far as they are here.
    replies: list[Reply]


def nobody() -> None:
    """No message follows."""


class Exchange:
    """What is remembered between two messages on one wire.

    :param extensions: the keywords of EHLO, in capitals.
    """

    def __init__(self, wire: Wire, extensions: frozenset[str], *, pipelining: bool) -> None:
        self._wire = wire
        self._pipelines = pipelining and "PIPELINING" in extensions
        self._names_size = "SIZE" in extensions
        self._takes_utf8 = "SMTPUTF8" in extensions
        # A transaction that ended before the final dot is still open on the server, which then
        # answers 503 to the next MAIL (RFC 5321 section 4.1.1.5).
        self._needs_reset = False
        self._ahead: _Ahead | None = None
        #: The server did not take a message that was announced behind a dot.
        self.is_wary = False

    async def carry(
        self,
        envelope: Envelope,
        is_held: Callable[[], bool],
        ready: Callable[[], Awaitable[None]],
        follow: Callable[[], Envelope | None] = nobody,
    ) -> Reply:
        """Carry one message and answer the reply that accepts it.

        :param ready: awaited when nothing but the final dot is missing.
        :param follow: asked for the envelope that is carried next, to announce it with the dot.
        :param is_held: asked at the last moment before the final dot, after which nothing can be
            taken back (RFC 5321 section 4.1.1.4).
        :raises Fault: if it was not accepted, or nobody can know.
        """
        lines = await self._take_up(envelope)
        if lines is None:
            lines = envelope.lines()
            await self._introduce(envelope, len(lines))
        body = stuffed(lines)
        if len(body) <= CHUNK:
            final = body + b".\r\n"
        else:
            for start in range(0, len(body), CHUNK):
                await self._wire.push(body[start : start + CHUNK])
            final = b".\r\n"
        await ready()
        ahead = follow() if self._pipelines and not self.is_wary else None
        # Nothing is awaited from here to the dot.
        if not self._wire.is_open:
            # Without its dot the server drops the message (RFC 5321 section 4.1.1.10).
            raise self._broken(Phase.DATA)
        if not is_held():
            self._wire.abort()
            text = "this took too long, so the connection was closed before the final dot"
            raise Fault(Phase.DATA, text, trouble=Trouble.LEASE)
        replies = await self._finish(final, ahead)
        if not replies:
            raise self._broken(Phase.DOT)
        self._needs_reset = self._ahead is not None
        if replies[0].code >= 400:
            raise Fault(Phase.DOT, replies[0].text, reply=replies[0])
        return replies[0]

    async def _finish(self, final: bytes, ahead: Envelope | None) -> list[Reply]:
        """The dot, and the announcement of what comes next; waits for the dot's reply alone."""
        if ahead is not None:
            lines = ahead.lines()
            # What cannot be announced is told when it is its turn.
            with contextlib.suppress(Fault):
                commands = b"".join([final, *self._announcement(ahead, len(lines))])
                replies = await self._wire.ask(commands, (DOT, *_ANNOUNCED), wanted=1)
                self._ahead = _Ahead(ahead, lines, _ANNOUNCED, replies)
                return replies
        return await self._wire.ask(final, (DOT,))

    async def _take_up(self, envelope: Envelope) -> bytes | None:
        """The lines of ``envelope`` if it has been announced already; None if it has to be."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return None
        if ahead.envelope is not envelope:
            # The server waits for another message; this one goes over another connection.
            self._wire.abort()
            return None
        await self._wire.rest()
        try:
            await self._weigh(ahead.steps, ahead.replies[1:])
        except Fault as fault:
            if fault.phase is not Phase.MAIL:
                raise
            # Perhaps it was not read where it stood: it is said again, in its own time.
            unheard = fault.trouble is Trouble.TIMED_OUT and bool(ahead.replies)
            self.is_wary = unheard or self._wire.is_open
            return None
        return ahead.lines

    async def _introduce(self, envelope: Envelope, size: int) -> None:
        try:
            await self._announce(envelope, size)
        except Fault as fault:
            code = fault.reply.code if fault.reply and fault.phase is Phase.MAIL else None
            if code not in _PARAMETER_REFUSED or not self._names_size:
                raise
            self._names_size = False
            await self._announce(envelope, size)

    async def _announce(self, envelope: Envelope, size: int) -> None:
        """Everything up to 354; the server then waits for the payload."""
        commands = self._announcement(envelope, size)
        steps: tuple[Step, ...] = _ANNOUNCED
        if self._needs_reset:
            commands, steps = [b"RSET\r\n", *commands], (RSET, *steps)
        self._needs_reset = True
        await self._weigh(steps, await self._say(commands, steps))

    def _announcement(self, envelope: Envelope, size: int) -> list[bytes]:
        recipient = _command(b"RCPT TO", envelope.recipient)
        return [self._mail(envelope, size), recipient, b"DATA\r\n"]

    async def _weigh(self, steps: Sequence[Step], replies: Sequence[Reply]) -> None:
        """Go on if everything that was announced is taken.

        :raises Fault: if it is not.
        """
        refused = next((at for at, reply in enumerate(replies) if reply.code >= 400), None)
        if refused is None:
            if len(replies) < len(steps):
                raise self._broken(steps[len(replies)].phase)
            return
        step, reply = steps[refused], replies[refused]
        if len(replies) == len(steps) and replies[-1].code < 400:
            await self._withdraw(is_empty=replies[-2].code >= 400)
        if step is RSET:
            # Nothing has been said of the message: a new connection may carry it.
            self._wire.abort()
            text = f"the server refused RSET: {reply.text}"
            raise Fault(Phase.MAIL, text, trouble=Trouble.OUT_OF_STEP)
        raise Fault(step.phase, reply.text, reply=reply)

    async def _say(self, commands: Sequence[bytes], steps: Sequence[Step]) -> list[Reply]:
        if self._pipelines:
            return await self._wire.ask(b"".join(commands), steps)
        replies: list[Reply] = []
        for command, step in zip(commands, steps, strict=True):
            answer = await self._wire.ask(command, (step,))
            replies += answer
            if not answer or answer[0].code >= 400:
                break
        return replies

    async def _withdraw(self, *, is_empty: bool) -> None:
        """Take DATA back, which was answered with 354 although something before was refused."""
        if not is_empty:
            # A recipient without a sender: a dot might deliver an empty message.
            self._wire.abort()
        elif await self._wire.ask(b".\r\n", (DOT,)):
            # The lone dot of RFC 2920 section 3.1; the message has no recipient.
            self._needs_reset = False

    def _mail(self, envelope: Envelope, size: int) -> bytes:
        parameters = b""
        if self._names_size:
            # RFC 1870 section 6.1: line ends count as two, dots of stuffing do not.
            parameters = b" SIZE=%d" % size
        if not (envelope.sender + envelope.recipient).isascii():
            if not self._takes_utf8:
                text = "the server does not support SMTPUTF8, which this address needs"
                raise Fault(Phase.RCPT, text, trouble=Trouble.NO_SMTPUTF8)
            parameters += b" SMTPUTF8"
        return _command(b"MAIL FROM", envelope.sender, parameters)

    def _broken(self, phase: Phase) -> Fault:
        trouble, text, reply = self._wire.ended or End(Trouble.DROPPED, "the connection is closed")
        # A reply that announces the end speaks for itself; one that does not fit says nothing.
        says_it = reply is not None and reply.code >= 400
        return Fault(phase, text, reply=reply, trouble=None if says_it else trouble)


def _command(verb: bytes, address: str, parameters: bytes = b"") -> bytes:
    """One line of the protocol.

    :raises Fault: if the address would end the line, or the address, early.
    """
    if _ENDS_EARLY.search(address):
        text = "5.1.3 the address holds a control character or an angle bracket; nothing was sent"
        raise Fault(Phase.RCPT, text, reply=Reply(553, text))
    return b"%b:<%b>%b\r\n" % (verb, address.encode("utf-8", "replace"), parameters)
