"""SMTP sessions that look and ask, and carry no mail.

What a check says of a server comes from the session that delivers, so that it is what a worker will
meet. Besides, a server can be looked at without login and without verifying its certificate: such a
session says EHLO, STARTTLS and QUIT, and nothing that anybody must not hear.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, cast

from flask_courier.core.config import CourierConfig
from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Phase, Reply, Trouble, Verdict, printable
from flask_courier.core.reply_table import judge
from flask_courier.core.smtp_uri import Security
from flask_courier.delivery.envelope import SmtpSettings
from flask_courier.delivery.fault import Fault
from flask_courier.delivery.smtp import SmtpSession
from flask_courier.delivery.tls import make_context
from flask_courier.delivery.wire import MAIL, RSET, End, Step

_EHLO = Step(Phase.EHLO, (250,), "handshake")
#: OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which the standard library has no name.
_NO_CHECK_TIME = 0x200000
#: Characters of a name in a certificate, or of a parameter of EHLO, that are worth showing.
_LONGEST = 100


@dataclass(frozen=True)
class Refusal:
    """Why something was not done."""

    phase: Phase
    cause: str
    #: The server's reply code; None if it did not say anything that counts.
    code: int | None
    #: The server's words, or ours; credentials are masked.
    text: str
    #: OpenSSL's number for what is wrong with the certificate, if that is why.
    verify_code: int | None = None


@dataclass(frozen=True)
class Certificate:
    """What a certificate says of itself, whether or not anybody believes it."""

    #: Host names and IP addresses.
    names: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime


class Probe(SmtpSession):
    """A session for questions."""

    def __init__(self, settings: SmtpSettings) -> None:
        super().__init__(settings)
        self._verify_code: int | None = None

    async def begin(self) -> Refusal | None:
        """Open the session; None if that worked."""
        result: SendResult | None = await self.open()
        if result is None:
            return None
        code = result.code
        return Refusal(result.phase, result.cause, code, result.text, self._verify_code)

    async def features(self) -> Mapping[str, str]:
        """What EHLO offers, with its parameters: ``{"SIZE": "33554432"}``; keywords in capitals.

        EHLO may be said at any time and changes nothing here (RFC 5321 section 4.1.4).
        """
        offered = dict.fromkeys(self.extensions, "")
        if self._wire is not None:
            hello = f"EHLO {self._settings.local_name}\r\n"
            replies = await self._wire.ask(hello.encode(), (_EHLO,))
            for line in replies[0].text.split("\n")[1:] if replies else ():
                keyword, _, parameters = line.partition(" ")
                if keyword.upper() in offered:
                    offered[keyword.upper()] = _line(parameters)
        return offered

    async def try_sender(self, address: str) -> Refusal | None:
        """Ask whether mail from ``address`` would be taken, and take the question back.

        MAIL without a recipient is no mail: nothing is sent.

        :param address: as the configuration has it, in ASCII.
        """
        wire, command = self._wire, f"MAIL FROM:<{address}>\r\n"
        replies = await wire.ask(command.encode(), (MAIL,)) if wire else []
        if wire is None or not replies:
            ended = wire.ended if wire else None
            trouble, text, reply = ended or End(Trouble.DROPPED, "the connection is closed")
            return self._refused(reply, trouble, text)
        if replies[0].code >= 400:
            return self._refused(replies[0], None, replies[0].text)
        await wire.ask(b"RSET\r\n", (RSET,))
        return None

    def certificate_bytes(self) -> bytes | None:
        """The server's certificate (DER), verified or not; None in the clear."""
        tls = self._tls()
        return None if tls is None else tls.getpeercert(binary_form=True)

    def certificate(self) -> Certificate | None:
        """What the server's certificate says; None if it was not verified: OpenSSL's condition."""
        tls = self._tls()
        told = cast("Mapping[str, Any]", (tls and tls.getpeercert()) or {})
        return _certificate(told) if told else None

    def _refused(self, reply: Reply | None, trouble: Trouble | None, text: str) -> Refusal:
        # A reply out of step answers something else, and means nothing here.
        heard = None if trouble is Trouble.OUT_OF_STEP else reply
        verdict: Verdict = judge(Phase.MAIL, heard, trouble)
        code = None if reply is None else reply.code
        return Refusal(Phase.MAIL, verdict.cause, code, self._discretion.kept(text, None))

    def _tls(self) -> ssl.SSLObject | None:
        return self._transport.get_extra_info("ssl_object") if self._transport else None

    def _explained(self, phase: Phase, error: Exception) -> Fault:
        for reason in (error, error.__cause__):
            if isinstance(reason, ssl.SSLCertVerificationError):
                self._verify_code = reason.verify_code
        return super()._explained(phase, error)


def unverified(
    settings: SmtpSettings, config: CourierConfig, security: Security | None = None
) -> SmtpSettings:
    """The settings of a session that logs in nowhere and believes any certificate.

    :param security: another way to connect than the URI's.
    """
    uri = replace(
        settings.uri,
        username=None,
        password=None,
        verify=False,
        security=security or settings.uri.security,
    )
    certificate, key = config.smtp_client_cert, config.smtp_client_key
    context = make_context(uri, client_cert=certificate, client_key=key)
    return replace(settings, uri=uri, tls=context)


async def read_certificate(
    settings: SmtpSettings, config: CourierConfig, encoded: bytes
) -> Certificate | None:
    """What the server's certificate says; None if the server shows another one this time.

    OpenSSL takes apart only what it has verified, so it is verified against itself: ``encoded`` is
    the one authority of a further session without login.
    """
    plain = unverified(settings, config)
    if plain.tls is not None:
        plain.tls.load_verify_locations(cadata=encoded)
        plain.tls.verify_mode = ssl.CERT_REQUIRED
        plain.tls.verify_flags = ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
    session, facts = Probe(plain), None
    if await session.begin() is None:
        facts = session.certificate()
        await session.close()
    return facts


def _certificate(told: Mapping[str, Any]) -> Certificate:
    kinds = ("DNS", "IP Address")
    names = tuple(_line(value) for kind, value in told.get("subjectAltName", ()) if kind in kinds)
    return Certificate(
        names=names,
        issuer=_issuer(told.get("issuer", ())),
        not_before=_moment(told["notBefore"]),
        not_after=_moment(told["notAfter"]),
    )


def _issuer(parts: Iterable[Iterable[tuple[str, str]]]) -> str:
    said = {key: value for part in parts for key, value in part}
    wanted = ("organizationName", "commonName")
    return ", ".join(_line(said[key]) for key in wanted if said.get(key)) or "without a name"


def _line(text: str) -> str:
    """``text`` of the server or its certificate, as one line that can be shown."""
    return " ".join(printable(text).split())[:_LONGEST]


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), tz=timezone.utc)
