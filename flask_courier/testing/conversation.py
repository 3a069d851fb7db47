"""SMTP as a ``FaultServer`` speaks it (RFC 5321), where no script says otherwise.

Commands that come in one segment are answered in their order (RFC 2920); what that RFC does not
allow, and a group where PIPELINING is not offered, is refused and hung up on, so that a client's
mistake shows.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace

from flask_courier.testing.faults import Rule
from flask_courier.testing.opening import Opening
from flask_courier.testing.records import ReceivedMessage

_PATH = r' ?<((?:"(?:[^"\\]|\\.)*"|[^">])*)>(?: +(.*))?'
_MAIL = re.compile(rf"MAIL FROM:{_PATH}", re.IGNORECASE)
_RCPT = re.compile(rf"RCPT TO:{_PATH}", re.IGNORECASE)
#: A parameter of MAIL, and the extension that allows it.
_PARAMETERS = {"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8"}
# RFC 2920 section 3.1, RFC 3207 section 4: whatever follows these must wait for their answer.
_LAST_IN_GROUP = {b"EHLO", b"HELO", b"DATA", b"VRFY", b"QUIT", b"NOOP", b"STARTTLS", b"AUTH"}
_END = b"\r\n.\r\n"


class Conversation(Opening):
    """One client, from the greeting to the end."""

    _scanned = 0
    _looked: set[Rule]

    def take_line(self, line: bytes) -> None:
        """One command, or one line of a login."""
        if self.exchange is not None:
            self._note(b"****")
            self.log_in(self.exchange, line)
            return
        verb = line.split(b" ", 1)[0].upper()
        self._note(b"AUTH ****" if verb == b"AUTH" else line, verb)
        if self.buffer and (verb in _LAST_IN_GROUP or "PIPELINING" not in self.offer.extensions):
            self.say(self.offer.reply(503, "5.5.0", "this command must wait for its answer"))
            self.do(self.hang_up)
            return
        handler = _COMMANDS.get(verb)
        if handler is None:
            self.say(self.offer.reply(500, "5.5.2", "command not recognised"))
            return
        handler(self, line, self.out_of_place(verb))

    def _note(self, line: bytes, verb: bytes | None = None) -> None:
        if not self.offer.brief:
            self.connection.transcript.append(b"C: " + line)
            if verb is not None:
                self.ledger.hear(self.connection, verb.decode("ascii", "backslashreplace"))

    def mail(self, line: bytes, refusal: bytes | None) -> None:
        """MAIL (RFC 5321 section 4.1.1.2)."""
        if self.sender is not None:
            refusal = refusal or self.offer.reply(503, "5.5.1", "a transaction is open already")
        sender, options = _parse(_MAIL, line)
        refusal = refusal or self._refuse_options(options) or self._refuse_path(sender, options)

        def then(happens: bool) -> None:  # noqa: FBT001 - the one thing it is told
            if happens:
                self.sender, self.options = sender, options

        reply = refusal or self.offer.reply(250, "2.1.0", "OK")
        self.reply("MAIL", line, reply, None if refusal else then)

    def rcpt(self, line: bytes, refusal: bytes | None) -> None:
        """RCPT, for one recipient."""
        if self.sender is None:
            refusal = refusal or self.offer.reply(503, "5.5.1", "MAIL comes first")
        recipient, options = _parse(_RCPT, line)
        if recipient == "" or options:
            refusal = refusal or self.offer.reply(501, "5.5.4", "an address, and nothing after it")
        refusal = refusal or self._refuse_path(recipient, self.options)

        def then(happens: bool) -> None:  # noqa: FBT001 - the one thing it is told
            if happens:
                self.recipients.append(recipient or "")

        reply = refusal or self.offer.reply(250, "2.1.5", "OK")
        self.reply("RCPT", line, reply, None if refusal else then, recipients=(recipient or "",))

    def _refuse_options(self, options: tuple[str, ...]) -> bytes | None:
        for option in options:
            name, _, value = option.upper().partition("=")
            if _PARAMETERS.get(name) not in self.offer.extensions or not self.esmtp:
                return self.offer.reply(555, "5.5.4", "parameter not recognised")
            if name == "SIZE" and value.isdigit() and int(value) > self.offer.max_size:
                return self.offer.reply(552, "5.3.4", "the message is too large")
        return None

    def _refuse_path(self, address: str | None, options: tuple[str, ...]) -> bytes | None:
        if address is None:
            return self.offer.reply(501, "5.5.4", "an address stands in <angle brackets>")
        if not address.isascii() and "SMTPUTF8" not in map(str.upper, options):
            return self.offer.reply(553, "5.6.7", "this address needs SMTPUTF8")
        return None

    def data(self, line: bytes, refusal: bytes | None) -> None:
        """DATA, up to the go-ahead."""
        if not self.recipients:
            refusal = refusal or self.offer.reply(554, "5.5.1", "no valid recipients")

        def then(happens: bool) -> None:  # noqa: FBT001 - the one thing it is told
            if happens:
                self.in_body, self._scanned, self._looked = True, 0, set()
                # The end of the DATA line: so the first dot is at the start of a line, too.
                self.buffer[:0] = _END[:2]

        # A script may ask for a payload that nobody can get, as RFC 2920 section 3.1 lets servers.
        go = b"354 end data with <CR><LF>.<CR><LF>\r\n"
        self.reply("DATA", line, refusal or go, then)

    def take_body(self) -> bool:
        """A piece of the payload."""
        end = self.buffer.find(_END, max(0, self._scanned - len(_END)))
        if self.script.watches("BODY"):
            size = end if end >= 0 else len(self.buffer) - 2
            event = replace(self.event("BODY"), size=size)
            if self.answer(event, None, done=self._looked):
                return True
        if end < 0:
            self._scanned = len(self.buffer)
            return False
        wire = bytes(self.buffer[2 : end + 2])
        del self.buffer[: end + len(_END)]
        self.in_body = False
        self._take_message(wire)
        return True

    def _take_message(self, wire: bytes) -> None:
        now = time.monotonic()
        message = ReceivedMessage(
            sender=self.sender or "",
            recipients=tuple(self.recipients),
            wire=wire[: wire.find(b"\r\n\r\n") + 4] if self.offer.brief else wire,
            options=self.options,
            connection=self.connection.number,
            tls_version=self.connection.tls_version,
            username=self.connection.username,
            at=now,
        )

        def then(happens: bool) -> None:  # noqa: FBT001 - the one thing it is told
            if happens:
                self.ledger.keep(message)

        if not self.recipients:
            reply = self.offer.reply(554, "5.5.1", "no valid recipients")
        elif len(wire) > self.offer.max_size:
            reply = self.offer.reply(552, "5.3.4", "the message is too large")
        elif not self.offer.admits(now):
            reply = self.offer.reply(
                454, "4.7.0", "Throttling failure: Maximum sending rate exceeded."
            )
        else:
            reply = self.offer.reply(250, "2.0.0", "accepted")
        event = replace(self.event("DOT"), message=message) if self.script.watches("DOT") else None
        # Whatever is answered, the transaction is over (RFC 5321 section 4.1.1.4).
        self.forget()
        if event is None:
            self.say(reply)
            then(reply[0] in b"2")
        else:
            self.answer(event, reply, then)

    def rset(self, line: bytes, refusal: bytes | None) -> None:
        """RSET."""

        def then(happens: bool) -> None:  # noqa: FBT001 - the one thing it is told
            if happens:
                self.forget()

        reply = refusal or self.offer.reply(250, "2.0.0", "OK")
        self.reply("RSET", line, reply, None if refusal else then)

    def noop(self, line: bytes, refusal: bytes | None) -> None:
        """NOOP."""
        self.reply("NOOP", line, refusal or self.offer.reply(250, "2.0.0", "OK"), None)

    def vrfy(self, line: bytes, refusal: bytes | None) -> None:  # noqa: ARG002 - it tells nothing
        """VRFY, which tells nobody anything."""
        self.say(refusal or self.offer.reply(252, "2.5.0", "send some mail, I will try my best"))

    def quit(self, line: bytes, refusal: bytes | None) -> None:  # noqa: ARG002 - it is always fine
        """QUIT."""
        self.connection.said_quit = True

        def then(happens: bool) -> None:  # noqa: FBT001, ARG001 - whatever was said
            self.do(self.hang_up)

        self.reply("QUIT", line, self.offer.reply(221, "2.0.0", "bye"), then)


_COMMANDS: dict[bytes, Callable[[Conversation, bytes, bytes | None], None]] = {
    b"EHLO": Conversation.ehlo,
    b"HELO": Conversation.ehlo,
    b"STARTTLS": Conversation.starttls,
    b"AUTH": Conversation.auth,
    b"MAIL": Conversation.mail,
    b"RCPT": Conversation.rcpt,
    b"DATA": Conversation.data,
    b"RSET": Conversation.rset,
    b"NOOP": Conversation.noop,
    b"VRFY": Conversation.vrfy,
    b"QUIT": Conversation.quit,
}


def _parse(pattern: re.Pattern[str], line: bytes) -> tuple[str | None, tuple[str, ...]]:
    """The address, or None if there is none to read, and the parameters after it."""
    try:
        found = pattern.fullmatch(line.decode())
    except UnicodeDecodeError:
        return None, ()
    if found is None:
        return None, ()
    return found[1], tuple((found[2] or "").split())
