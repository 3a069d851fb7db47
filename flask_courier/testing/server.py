"""``FaultServer``: an SMTP server for tests, as friendly or as unreliable as a test wants it."""

from __future__ import annotations

import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import final
from urllib.parse import quote

from flask_courier.testing.certificates import Certificate
from flask_courier.testing.conversation import Conversation
from flask_courier.testing.faults import Action, Choice, Event, Rule, Script
from flask_courier.testing.offer import EXTENSIONS, Offer, Security
from flask_courier.testing.records import Connection, Ledger, Login, ReceivedMessage
from flask_courier.testing.service import Service
from flask_courier.testing.wire import Wire

_HOST = "localhost"


@final
class FaultServer:
    """A real SMTP server on a loopback port, in a thread, that does what its script says.

    ::

        with FaultServer(login=("mailer", "secret")) as server:
            app = create_app(TESTING=True, **server.config)
            server.on("RCPT", "550 5.1.1 no such user", to="ada@example.com")
            server.on("DOT", DROP, times=1)
            ...
            assert server.wait_for(1)[0].subject == "Welcome"

    Without a script it takes every mail that RFC 5321 allows, and refuses what it does not. It
    offers PIPELINING, SIZE, 8BITMIME, SMTPUTF8 and ENHANCEDSTATUSCODES, and STARTTLS and AUTH
    (PLAIN, LOGIN) if it has them. It counts on a script's callables to be quick: they run on its
    thread. What one of them raises, ``stop`` raises again.

    :param security: ``"none"``, ``"starttls"`` (required before anything else) or ``"implicit"``.
    :param tls: a server's TLS context; without it, trustme makes a certificate for ``localhost``.
    :param login: user name and password; with them, mail is only taken after AUTH.
    :param mechanisms: what AUTH offers.
    :param without: extensions that are not offered, of those named above.
    :param port: 0 for any free one.
    :param max_size: the largest message, in bytes (RFC 1870).
    :param rate_limit: messages a second; above it the answer to the final dot is ``454 4.7.0``.
    :param max_connections: connections at a time; above it the greeting is ``421 4.7.0``.
    :param latency: seconds before each group of replies goes out, as over a long line.
    :param brief: keep of each mail its header only and no transcripts, for long runs.
    """

    def __init__(
        self,
        *,
        security: Security = "none",
        tls: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
        mechanisms: Iterable[str] = ("PLAIN", "LOGIN"),
        without: Iterable[str] = (),
        port: int = 0,
        max_size: int = 2**25,
        rate_limit: float | None = None,
        max_connections: int | None = None,
        latency: float = 0.0,
        brief: bool = False,
    ) -> None:
        if security not in ("none", "starttls", "implicit"):
            raise ValueError(f"security is none, starttls or implicit, and not {security!r}")
        left_out = frozenset(without)
        if not left_out.issubset(EXTENSIONS):
            raise ValueError(f"without= takes out of {', '.join(EXTENSIONS)}; got {set(left_out)}")
        self._certificate: Certificate | None = None
        if security != "none" and tls is None:
            self._certificate = Certificate(_HOST, "127.0.0.1")
            tls = self._certificate.context
        self._offer = Offer(
            security=security,
            tls=None if security == "none" else tls,
            login=login,
            mechanisms=tuple(mechanisms),
            extensions=frozenset(EXTENSIONS) - left_out,
            max_size=max_size,
            hostname="mail.fault-server.example",
            brief=brief,
            rate_limit=rate_limit,
            max_connections=max_connections,
            latency=latency,
        )
        self._ledger = Ledger()
        self._script = Script(self._ledger.changed)
        self._live: set[Wire] = set()
        self._service: Service | None = None
        self._lock = threading.Lock()
        #: Where it listens, once it has been started.
        self.port: int = port

    # ------------------------------------------------------------------ its life
    def start(self) -> None:
        """Listen; again on the same port after ``stop``, with everything remembered.

        :raises OSError: if the port cannot be had.
        """
        with self._lock:
            if self._service is None:
                self._service = Service(
                    self._converse,
                    self._live,
                    self.port,
                    self._offer.tls if self._offer.security == "implicit" else None,
                )
                self.port = self._service.port
                self._script.call_soon = self._service.call_soon

    def stop(self) -> None:
        """Hang up on everybody and stop listening: from now on, connections are refused."""
        with self._lock:
            service, self._service = self._service, None
        if service is not None:
            self._script.call_soon = lambda _: None
            service.stop()
            if service.errors:
                raise service.errors[0]

    def close(self) -> None:
        """Stop for good, and remove the certificate that was made."""
        try:
            self.stop()
        finally:
            if self._certificate is not None:
                self._certificate.remove()

    def __enter__(self) -> FaultServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _converse(self) -> Conversation:
        return Conversation(self._offer, self._script, self._ledger, self._live)

    # ------------------------------------------------------------------ how to reach it
    @property
    def uri(self) -> str:
        """The SMTP URI of a client that is allowed in."""
        scheme = "smtps" if self._offer.security == "implicit" else "smtp"
        tail = "?disable_starttls=true" if self._offer.security == "none" else ""
        login = ""
        if self._offer.login is not None:
            login = ":".join(quote(word, safe="") for word in self._offer.login) + "@"
        return f"{scheme}://{login}{_HOST}:{self.port}/{tail}"

    @property
    def ca_file(self) -> str | None:
        """The certificate to trust, if one was made on the fly."""
        return None if self._certificate is None else self._certificate.ca_file

    @property
    def config(self) -> dict[str, str]:
        """What an application's config needs to deliver here."""
        config = {"COURIER_SMTP_URI": self.uri}
        if self.ca_file is not None:
            config["COURIER_SMTP_CA_FILE"] = self.ca_file
        return config

    # ------------------------------------------------------------------ the script
    def on(
        self,
        verbs: str | Iterable[str],
        action: Action,
        *,
        to: str | None = None,
        connection: int | None = None,
        when: Callable[[Event], bool] | None = None,
        nth: int | None = None,
        every: int | None = None,
        times: int | None = None,
        body_bytes: int = 1,
    ) -> Rule:
        """Write a rule: when one of ``verbs`` comes, ``action`` happens instead.

        Rules are asked in the order they were written; the first that strikes has its way. What is
        given besides must all agree, and ``nth``, ``every`` and ``times`` count only what does.

        :param verbs: of ``VERBS``, one or several.
        :param action: a ``Fault``; a text, for that reply; bytes, for just them; a list, for one
            of these each time, in turn; or a callable that gets the ``Event`` and answers one of
            them. None in a list or from a callable is the friendly answer.
        :param to: a recipient, or ``"@example.com"`` for a domain; of RCPT the one it names.
        :param connection: only on the connection of this number; the first is 1.
        :param when: a callable that gets the ``Event`` and says whether this is a case.
        :param nth: only the n-th time; the first is 1.
        :param every: every n-th time.
        :param times: at most so often.
        :param body_bytes: for BODY: once so many bytes of a payload have come.
        """
        choice = Choice(to, connection, when, nth, every, times, body_bytes)
        return self._script.add(verbs, action, choice)

    def forgive(self) -> None:
        """Take the whole script out, and let everything go that it holds."""
        for rule in self._script.clear():
            rule.release()

    # ------------------------------------------------------------------ what came
    @property
    def messages(self) -> list[ReceivedMessage]:
        """Every mail that was accepted, in the order of the final dots."""
        return list(self._ledger.messages)

    @property
    def connections(self) -> list[Connection]:
        """Every connection, in the order they came."""
        return list(self._ledger.connections)

    @property
    def logins(self) -> list[Login]:
        """Every login that was tried, in the order they came."""
        found = [login for connection in self.connections for login in list(connection.logins)]
        return sorted(found, key=lambda login: login.at)

    @property
    def replies(self) -> Counter[int]:
        """How often each reply code was said."""
        return Counter(dict(self._ledger.replies))

    def wait_for(self, count: int, timeout: float = 10.0) -> list[ReceivedMessage]:
        """Wait until ``count`` mails were accepted in all; answer them.

        :param timeout: seconds.
        :raises TimeoutError: if there are fewer by then; says what was answered instead.
        """
        if self._ledger.wait(lambda: len(self._ledger.messages) >= count, timeout):
            return self.messages
        said = ", ".join(f"{code} x{times}" for code, times in sorted(self.replies.items()))
        raise TimeoutError(
            f"{len(self._ledger.messages)} of {count} mails were accepted within {timeout:g} "
            f"seconds; {len(self._ledger.connections)} connections, replies: {said or 'none'}"
        )

    def wait_until(self, reached: Callable[[FaultServer], bool], timeout: float = 10.0) -> None:
        """Wait until ``reached(server)`` is true; it is asked whenever something happened here.

        :raises TimeoutError: if it is not true by then.
        """
        if not self._ledger.wait(lambda: reached(self), timeout):
            raise TimeoutError(f"this did not come true within {timeout:g} seconds")

    def forget(self) -> None:
        """Forget mails, replies and the connections that have ended; the script stays."""
        self._ledger.forget()

    # ------------------------------------------------------------------ what it can take
    @property
    def rate_limit(self) -> float | None:
        """Messages a second, or None for any number; may change at any time."""
        return self._offer.rate_limit

    @rate_limit.setter
    def rate_limit(self, limit: float | None) -> None:
        self._offer.rate_limit = limit

    @property
    def max_connections(self) -> int | None:
        """Connections at a time, or None for any number; may change at any time."""
        return self._offer.max_connections

    @max_connections.setter
    def max_connections(self, most: int | None) -> None:
        self._offer.max_connections = most

    @property
    def latency(self) -> float:
        """Seconds before each group of replies goes out; may change at any time."""
        return self._offer.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._offer.latency = seconds
