"""The opening of an SMTP conversation: greeting, EHLO, STARTTLS and AUTH."""

from __future__ import annotations

import asyncio
import ssl
import time
from functools import partial

from flask_courier.testing.auth import Attempt, Exchange
from flask_courier.testing.faults import Event
from flask_courier.testing.records import Login
from flask_courier.testing.wire import Then, Wire

_BEFORE_TLS = {b"EHLO", b"STARTTLS", b"QUIT", b"NOOP", b"RSET"}
_ANY_TIME = {b"EHLO", b"HELO", b"QUIT", b"NOOP", b"RSET", b"VRFY", b"HELP"}
_BEFORE_LOGIN = _ANY_TIME | {b"STARTTLS", b"AUTH"}


class Opening(Wire):
    """What comes before the first mail, and the state that lasts from one mail to the next."""

    esmtp = False
    greeted = False
    exchange: Exchange | None = None
    _upgrading: asyncio.Task[None] | None = None

    def forget(self) -> None:
        """No transaction is open."""
        self.sender: str | None = None
        self.options: tuple[str, ...] = ()
        self.recipients: list[str] = []

    def event(
        self, verb: str, line: bytes = b"", recipients: tuple[str, ...] | None = None
    ) -> Event:
        """What a script gets to see of this moment."""
        named = tuple(self.recipients) if recipients is None else recipients
        return Event(verb, line, self.connection, self.sender, named)

    def reply(
        self,
        verb: str,
        line: bytes,
        reply: bytes,
        then: Then | None,
        *,
        recipients: tuple[str, ...] | None = None,
    ) -> None:
        """Answer a command, the script permitting."""
        if self.script.watches(verb):
            self.answer(self.event(verb, line, recipients), reply, then)
            return
        self.say(reply)
        if then is not None:
            then(reply[0] in b"23")

    def greet(self) -> None:
        """Say who is here, or that there are too many already."""
        self.forget()
        most = self.offer.max_connections
        if most is not None and len(self.live) > most:
            self.say(self.offer.reply(421, "4.7.0", "too many connections, try again later"))
            self.do(self.hang_up)
            return
        self.reply("BANNER", b"", f"220 {self.offer.hostname} ESMTP\r\n".encode(), None)

    def out_of_place(self, verb: bytes) -> bytes | None:
        """Why ``verb`` may not come now, as a reply."""
        encrypted = self.connection.tls_version is not None
        if self.offer.security == "starttls" and not encrypted and verb not in _BEFORE_TLS:
            return self.offer.reply(530, "5.7.0", "issue a STARTTLS command first")
        if verb in _ANY_TIME:
            return None
        if not self.greeted:
            return self.offer.reply(503, "5.5.1", "say EHLO first")
        if self.offer.login and self.connection.username is None and verb not in _BEFORE_LOGIN:
            return self.offer.reply(530, "5.7.0", "authentication required")
        return None

    def ehlo(self, line: bytes, refusal: bytes | None) -> None:
        """EHLO or HELO."""
        verb, _, name = line.partition(b" ")
        esmtp = verb.upper() == b"EHLO"
        reply = self.offer.greeting(encrypted=self.connection.tls_version is not None)
        if not esmtp:
            reply = self.offer.hello()
        if not name.strip():
            refusal = refusal or self.offer.reply(501, "5.5.4", "EHLO needs a name")

        def then(happens: bool) -> None:  # noqa: FBT001 - the one thing it is told
            if happens:
                self.forget()
                self.greeted, self.esmtp = True, esmtp
                self.connection.client_name = name.strip().decode("utf-8", "replace")

        self.reply("EHLO", line, refusal or reply, None if refusal else then)

    def starttls(self, line: bytes, refusal: bytes | None) -> None:
        """STARTTLS (RFC 3207)."""
        context = None if self.connection.tls_version else self.offer.tls
        if context is None:
            refusal = self.offer.reply(503, "5.5.1", "STARTTLS is not offered")

        def then(happens: bool) -> None:  # noqa: FBT001 - the one thing it is told
            if happens and context is not None:
                self.upgrading = True
                self.do(partial(self._begin_tls, context))

        ready = self.offer.reply(220, "2.0.0", "ready to start TLS")
        self.reply("STARTTLS", line, refusal or ready, None if refusal else then)

    def _begin_tls(self, context: ssl.SSLContext) -> None:
        self._upgrading = self.loop.create_task(self._upgrade(context))

    async def _upgrade(self, context: ssl.SSLContext) -> None:
        try:
            secured = await self.loop.start_tls(self.transport, self, context, server_side=True)
        except OSError as error:
            self.connection.tls_error = str(error) or type(error).__name__
            self.transport.abort()
            self.connection_lost(error)
            return
        self.transport = secured or self.transport
        self.note_tls()
        # What was said in the clear counts for nothing (RFC 3207 section 4.2).
        self.greeted = self.esmtp = False
        self.forget()
        self.go_on()

    def auth(self, line: bytes, refusal: bytes | None) -> None:
        """AUTH (RFC 4954), up to its verdict or its first challenge."""
        if self.offer.login is None or self.connection.username is not None or self.sender:
            refusal = refusal or self.offer.reply(503, "5.5.1", "AUTH is not possible now")
        words = line.split()
        mechanism = words[1].decode("ascii", "replace").upper() if len(words) > 1 else ""
        if mechanism not in self.offer.mechanisms:
            refusal = refusal or self.offer.reply(504, "5.5.4", "mechanism not recognised")
        if refusal is not None:
            self.say(refusal)
            return
        self.log_in(Exchange(mechanism), words[2] if len(words) > 2 else None)

    def log_in(self, exchange: Exchange, line: bytes | None) -> None:
        """One more line of a login, if there is one."""
        step = exchange.take(line)
        if isinstance(step, bytes):
            self.exchange = exchange
            self.say(step)
            return
        self.exchange = None
        if step is None:
            self.say(self.offer.reply(501, "5.5.2", "that login cannot be read"))
            return
        self._judge(step)

    def _judge(self, attempt: Attempt) -> None:
        pair = (attempt.username, attempt.password)

        def then(happens: bool) -> None:  # noqa: FBT001 - the one thing it is told
            login = Login(*pair, attempt.mechanism, happens, time.monotonic())
            self.connection.logins.append(login)
            if happens:
                self.connection.username = attempt.username

        reply = self.offer.reply(235, "2.7.0", "welcome")
        if pair != self.offer.login:
            reply = self.offer.reply(535, "5.7.8", "user name or password is wrong")
        self.reply("AUTH", b"", reply, then)
