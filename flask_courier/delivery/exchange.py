"""Messages over a wire, one after another: MAIL, RCPT, DATA, the payload and its final dot.

With PIPELINING (RFC 2920) the three commands go out at once and a message costs two round trips,
without it four. Either way it is known exactly how far a message came.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

from flask_courier.core.replies import Phase, Reply, Trouble
from flask_courier.delivery.envelope import Envelope, stuffed
from flask_courier.delivery.fault import Fault
from flask_courier.delivery.wire import DATA, DOT, MAIL, RCPT, RSET, End, Step, Wire

#: Bytes of a payload that are written at a time; a smaller one goes out with its dot.
CHUNK = 64 * 1024

_ENDS_EARLY = re.compile(r"[\x00-\x1f\x7f<>]")
# RFC 5321 section 4.1.1.11: the server knows a parameter of MAIL by name at most.
_PARAMETER_REFUSED = {501, 504, 555}


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

    async def carry(
        self, envelope: Envelope, is_held: Callable[[], bool], ready: Callable[[], Awaitable[None]]
    ) -> Reply:
        """Carry one message and answer the reply that accepts it.

        :param ready: awaited when nothing but the final dot is missing.
        :param is_held: asked at the last moment before the final dot, after which nothing can be
            taken back (RFC 5321 section 4.1.1.4).
        :raises Fault: if it was not accepted, or nobody can know.
        """
        lines = envelope.lines()
        try:
            await self._announce(envelope, len(lines))
        except Fault as fault:
            code = fault.reply.code if fault.reply and fault.phase is Phase.MAIL else None
            if code not in _PARAMETER_REFUSED or not self._names_size:
                raise
            self._names_size = False
            await self._announce(envelope, len(lines))
        body = stuffed(lines)
        if len(body) <= CHUNK:
            final = body + b".\r\n"
        else:
            for start in range(0, len(body), CHUNK):
                await self._wire.push(body[start : start + CHUNK])
            final = b".\r\n"
        await ready()
        # Nothing is awaited from here to the dot.
        if not self._wire.is_open:
            # Without its dot the server drops the message (RFC 5321 section 4.1.1.10).
            raise self._broken(Phase.DATA)
        if not is_held():
            self._wire.abort()
            text = "this took too long, so the connection was closed before the final dot"
            raise Fault(Phase.DATA, text, trouble=Trouble.LEASE)
        replies = await self._wire.ask(final, (DOT,))
        if not replies:
            raise self._broken(Phase.DOT)
        self._needs_reset = False
        if replies[0].code >= 400:
            raise Fault(Phase.DOT, replies[0].text, reply=replies[0])
        return replies[0]

    async def _announce(self, envelope: Envelope, size: int) -> None:
        """Everything up to 354; the server then waits for the payload."""
        recipient = _command(b"RCPT TO", envelope.recipient)
        commands = [self._mail(envelope, size), recipient, b"DATA\r\n"]
        steps = [MAIL, RCPT, DATA]
        if self._needs_reset:
            commands.insert(0, b"RSET\r\n")
            steps.insert(0, RSET)
        self._needs_reset = True
        replies = await self._say(commands, steps)
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
