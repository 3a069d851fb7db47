"""Steps of a check that talk to the SMTP server, in the order in which mail needs them.

Nothing is sent: the last step says MAIL and takes it back.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from flask_courier.core.causes import CAUSES
from flask_courier.core.config import CourierConfig
from flask_courier.core.hosts import is_loopback
from flask_courier.core.replies import Phase, Trouble, masked
from flask_courier.core.reply_table import judge
from flask_courier.core.smtp_uri import Security
from flask_courier.core.steps import State, Step
from flask_courier.delivery import check_tls
from flask_courier.delivery.check_tls import Agreement
from flask_courier.delivery.envelope import SmtpSettings, Timeouts
from flask_courier.delivery.probe import Probe, Refusal, read_certificate, unverified

#: The steps, in order; with TLS from the first byte it comes before the banner.
NAMES = ("dns", "tcp", "ehlo", "tls", "auth", "sender")
_IMPLICIT = ("dns", "tcp", "tls", "ehlo", "auth", "sender")
#: Seconds, where a person waits for each answer.
PATIENCE = Timeouts(address=5.0, dial=10.0, handshake=10.0, command=10.0, quit=2.0)

_STEP_OF = {
    Phase.DIAL: "tcp",
    Phase.BANNER: "ehlo",
    Phase.EHLO: "ehlo",
    Phase.TLS: "tls",
    Phase.AUTH: "auth",
    Phase.MAIL: "sender",
}
_FEATURES = ("STARTTLS", "AUTH", "SIZE", "PIPELINING", "8BITMIME", "SMTPUTF8")
#: Causes whose meaning is all there is to say.
_SAY_IT_ALL = frozenset({"no_starttls", "no_auth"})
_NO_NAME = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
#: This machine has no way to such addresses, mostly no IPv6; that says nothing of the server.
_NO_ROUTE = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}


@dataclass(frozen=True)
class _Answer:
    """What came of a connection to one address."""

    address: str
    seconds: float
    #: Why there is none; 0 if it stands.
    error: int = 0

    def __str__(self) -> str:
        told = os.strerror(self.error) if self.error else _milliseconds(self.seconds)
        return f"{self.address}: {told}"


class SmtpCheck:
    """Looks at one SMTP server, once.

    :param now: for the age of certificates.
    :param note: called with each step when it is known.
    """

    def __init__(
        self,
        settings: SmtpSettings,
        config: CourierConfig,
        *,
        now: datetime,
        note: Callable[[Step], None],
        patience: Timeouts = PATIENCE,
    ) -> None:
        self._settings = replace(settings, timeouts=patience)
        self._patience = patience
        self._config = config
        self._now = now
        self._note = note
        self._uri = settings.uri
        self._left: list[str] = list(
            _IMPLICIT if self._uri.security is Security.IMPLICIT else NAMES
        )
        self._features: Mapping[str, str] = {}
        self._failed = ""

    async def run(self) -> bool:
        """Take all steps; answer whether mail can be handed over."""
        addresses = await self._find()
        good = bool(addresses) and await self._reach(addresses) and await self._converse()
        for name in tuple(self._left):
            self._say(name, State.SKIPPED, f"Not looked at, because {self._failed} failed.")
        return good

    async def _find(self) -> list[str]:
        """Step "dns": the addresses of the host; none if it failed."""
        host, port = self._uri.host, self._uri.port
        loop, begun = asyncio.get_running_loop(), time.monotonic()
        look_up = loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        try:
            found = await asyncio.wait_for(look_up, self._patience.dial)
        except (OSError, UnicodeError, asyncio.TimeoutError) as error:
            number = error.errno if isinstance(error, socket.gaierror) else None
            # What cannot be encoded as a name of the DNS cannot exist in it.
            unknown = number in _NO_NAME or isinstance(error, UnicodeError)
            trouble = Trouble.NO_SUCH_HOST if unknown else Trouble.LOOK_UP
            text = getattr(error, "strerror", None) or "no answer"
            self._fail(_refused(trouble, f"the resolver on {host}: {text}"), "dns")
            return []
        addresses = list(dict.fromkeys(str(place[0]) for *_, place in found))
        if addresses == [host]:
            self._say("dns", State.SKIPPED, "Nothing to look up: the URI holds an IP address.")
        else:
            took = _milliseconds(time.monotonic() - begun)
            self._say("dns", State.OK, f"{host} is {', '.join(addresses)} ({took}).")
        return addresses

    async def _reach(self, addresses: list[str]) -> bool:
        """Step "tcp": every address, since a worker may come to use any of them."""
        port, wait = self._uri.port, self._patience.address
        answers = await asyncio.gather(*(_connect(ip, port, wait) for ip in addresses))
        told = ", ".join(str(answer) for answer in answers)
        errors = {answer.error for answer in answers}
        if 0 not in errors:
            trouble = Trouble.TIMED_OUT if errors == {errno.ETIMEDOUT} else Trouble.REFUSED
            self._fail(_refused(trouble, f"port {port} at {told}"), "tcp")
            return False
        if errors <= {0} | _NO_ROUTE or is_loopback(self._uri.host):
            self._say("tcp", State.OK, f"Port {port} takes connections ({told}).")
        else:
            words = f"Port {port} takes connections, but not at every address ({told})."
            advice = (
                "Mail goes to the others, a little later. If it lasts, have the address taken out"
                " of the DNS, or the firewall opened for it."
            )
            self._say("tcp", State.WARNING, words, advice)
        return True

    async def _converse(self) -> bool:
        """The other steps, over two connections: one that only looks, and one as a worker's."""
        session = Probe(unverified(self._settings, self._config))
        refusal = await session.begin()
        certificate = None
        if refusal is None:
            self._features = await session.features()
            if self._uri.security is Security.STARTTLS:
                # It is not offered again on the connection that it has encrypted.
                self._features = {"STARTTLS": "", **self._features}
            certificate = session.certificate_bytes()
            await session.close()
            session = Probe(self._settings)
            refusal = await session.begin()
        if refusal is None:
            refusal = await session.try_sender(self._config.default_sender.address)
            await session.close()
        if refusal is None:
            self._pass_until(None, session)
            return True
        failed = _STEP_OF[refusal.phase]
        if failed == "tls" and not self._features and self._uri.security is Security.STARTTLS:
            await self._opens(Security.PLAINTEXT)
        # The host may have gone since it was reached.
        failed = failed if failed in self._left else self._left[0]
        self._pass_until(failed, session)
        if refusal.verify_code is not None:
            facts = None
            if certificate is not None:
                facts = await read_certificate(self._settings, self._config, certificate)
            self._note_step(
                check_tls.distrusted(
                    refusal.verify_code, refusal.text, facts, self._uri.tls_name, self._now
                )
            )
        else:
            self._fail(refusal, failed, advice=await self._other_scheme(refusal))
        return False

    def _pass_until(self, failed: str | None, session: Probe) -> None:
        while self._left and self._left[0] != failed:
            self._pass(self._left[0], session)

    def _pass(self, name: str, session: Probe) -> None:
        """Note that a step went well, as the session tells."""
        if name == "ehlo":
            self._say(name, State.OK, _greeting(self._features))
        elif name == "tls":
            offered = "STARTTLS" in self._features
            agreement = Agreement(session.tls_version, session.tls_cipher, session.not_after)
            self._note_step(check_tls.agreed(self._uri, agreement, self._now, offered=offered))
        elif name == "auth":
            if session.mechanism is None:
                self._say(name, State.SKIPPED, "COURIER_SMTP_URI has no user name and password.")
            else:
                self._say(name, State.OK, f"Logged in with AUTH {session.mechanism}.")
        else:
            domain = self._config.default_sender.address.rpartition("@")[2]
            words = f"The server takes mail from {domain}. Asked only; nothing was sent."
            self._say(name, State.OK, words)

    async def _other_scheme(self, refusal: Refusal) -> str:
        """What to do if the URI's scheme does not fit the port; empty if that is not it."""
        if refusal.code is not None:
            return ""
        if self._uri.security is not Security.IMPLICIT:
            if refusal.phase is Phase.BANNER and await self._opens(Security.IMPLICIT):
                return (
                    "This port wants TLS from the first byte: begin COURIER_SMTP_URI with"
                    " smtps:// instead of smtp://."
                )
        elif refusal.phase in (Phase.TLS, Phase.BANNER) and await self._opens(Security.PLAINTEXT):
            if "STARTTLS" in self._features:
                return (
                    "This port begins in the clear and then offers STARTTLS: begin"
                    " COURIER_SMTP_URI with smtp:// instead of smtps://."
                )
            return (
                "This port speaks SMTP in the clear and offers no encryption: ask the provider"
                " for the port that does, mostly 465 for smtps:// or 587 for smtp://."
            )
        return ""

    async def _opens(self, security: Security) -> bool:
        """Whether the server can be greeted with another kind of connection; nobody logs in."""
        session = Probe(unverified(self._settings, self._config, security))
        if await session.begin() is not None:
            return False
        self._features = await session.features()
        await session.close()
        return True

    def _fail(self, refusal: Refusal, name: str, *, advice: str = "") -> None:
        cause, words = CAUSES[refusal.cause], [CAUSES[refusal.cause].meaning]
        # A server may quote what it was told.
        said = masked(" ".join(refusal.text.split()), (self._config.default_sender.address,))
        if refusal.code is not None:
            words.append(f'The server\'s answer: "{refusal.code} {said}".')
        elif said and refusal.cause not in _SAY_IT_ALL:
            words.append(f"{said[0].upper()}{said[1:]}.")
        self._say(name, State.FAILED, " ".join(words), advice or cause.advice)

    def _say(self, name: str, state: State, words: str, advice: str = "") -> None:
        self._note_step(Step(name, state, words, advice))

    def _note_step(self, step: Step) -> None:
        if step.state is State.FAILED:
            self._failed = step.name
        self._left.remove(step.name)
        self._note(step)


def _refused(trouble: Trouble, text: str) -> Refusal:
    return Refusal(Phase.DIAL, judge(Phase.DIAL, None, trouble).cause, None, text)


async def _connect(address: str, port: int, patience: float) -> _Answer:
    """Connect and hang up."""
    begun = time.monotonic()
    error = 0
    try:
        opened = asyncio.open_connection(address, port)
        _, writer = await asyncio.wait_for(opened, patience)
        writer.transport.abort()
    except asyncio.TimeoutError:
        error = errno.ETIMEDOUT
    except OSError as reason:
        error = reason.errno or errno.EIO
    return _Answer(address, time.monotonic() - begun, error)


def _greeting(features: Mapping[str, str]) -> str:
    offered = [f"{name} {features[name]}".strip() for name in _FEATURES if name in features]
    absent = [name for name in _FEATURES[2:] if name not in features]
    words = f"The server answers and offers {', '.join(offered) or 'nothing special'}."
    return f"{words} Not offered: {', '.join(absent)}." if absent else words


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
