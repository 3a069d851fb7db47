"""TLS as the SMTP URI asks for it, against servers that do it right and servers that do not."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from flask_courier.core.errors import ConfigError
from flask_courier.core.messages import SendResult
from flask_courier.core.replies import Phase
from flask_courier.core.smtp_uri import parse_smtp_uri
from flask_courier.delivery.envelope import SmtpSettings
from flask_courier.delivery.smtp import SmtpSession
from flask_courier.delivery.tls import make_context
from tests.scripted_smtp import DROP, scripted_smtp
from tests.smtp_server import Authority, MailServer, served, smtp_server

BOTH = pytest.mark.parametrize(
    ("scheme", "security"), [("smtp", "starttls"), ("smtps", "implicit")]
)


def settings_for(uri: str, authority: Authority | None = None, **files: str) -> SmtpSettings:
    """What a connection to ``uri`` needs."""
    parsed = parse_smtp_uri(uri)
    ca_file = str(authority.path) if authority else None
    return SmtpSettings(parsed, make_context(parsed, ca_file=ca_file, **files), "client.example")


def opened(settings: SmtpSettings) -> tuple[SmtpSession, SendResult | None]:
    """A session after it was opened, and closed; and what kept it from opening."""

    async def run() -> tuple[SmtpSession, SendResult | None]:
        session = SmtpSession(settings)
        refused = await session.open()
        await session.close()
        return session, refused

    return asyncio.run(run())


def refusal(settings: SmtpSettings) -> tuple[Phase, str, str]:
    """In which phase a session was kept from opening, and why."""
    _, refused = opened(settings)
    assert refused is not None
    return refused.phase, refused.cause, refused.text


@BOTH
def test_expired_certificate(authority: Authority, scheme: str, security: str) -> None:
    """A certificate that has expired is refused before any login."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    yesterday = datetime.now(timezone.utc) - timedelta(days=1)
    authority.ca.issue_cert("localhost", not_after=yesterday).configure_cert(context)
    with smtp_server(tls=context, security=security) as server:
        phase, cause, text = refusal(settings_for(server.uri, authority))
    assert server.uri.startswith(f"{scheme}://")
    assert (Phase.TLS, "certificate_expired") == (phase, cause)
    assert "the server's certificate was refused: certificate has expired" == text
    assert [] == server.logins


@BOTH
@pytest.mark.parametrize(
    ("name", "trusted", "expected"),
    [
        ("mail.acme.example", True, "certificate_name"),
        ("localhost", False, "certificate_issuer"),
    ],
)
def test_what_is_wrong_with_a_certificate(
    authority: Authority, *, scheme: str, security: str, name: str, trusted: bool, expected: str
) -> None:
    """Another name and an unknown issuer are told apart, before any login."""
    with smtp_server(tls=authority.context(name), security=security) as server:
        uri = server.uri
        assert uri.startswith(f"{scheme}://")
        phase, cause, _ = refusal(settings_for(uri, authority if trusted else None))
    assert (Phase.TLS, expected) == (phase, cause)
    assert [] == server.logins


@BOTH
@pytest.mark.parametrize(("newest", "refused_in"), [("TLSv1_1", Phase.TLS), ("TLSv1_2", None)])
def test_old_tls(
    authority: Authority, *, scheme: str, security: str, newest: str, refused_in: Phase | None
) -> None:
    """TLS 1.2 is the oldest that is spoken (RFC 8996), whether or not anything is verified."""
    context = authority.context("localhost")
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = ssl.TLSVersion[newest]
    with smtp_server(tls=context, security=security, login=False) as server:
        uri = f"{scheme}://localhost:{server.port}/?skip_ssl_verify=true"
        _, refused = opened(settings_for(uri))
    assert refused_in is (refused.phase if refused else None)


@BOTH
def test_client_certificate_is_asked_for(
    authority: Authority, tmp_path: Path, scheme: str, security: str
) -> None:
    """Certificate and key from two files are shown to a server that asks for them."""
    own = authority.ca.issue_cert("client.acme.example")
    own.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    own.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    context = authority.context("localhost")
    context.verify_mode = ssl.CERT_REQUIRED
    authority.ca.configure_trust(context)
    files = {"client_cert": str(tmp_path / "cert.pem"), "client_key": str(tmp_path / "key.pem")}
    with smtp_server(tls=context, security=security, login=False) as server:
        uri = f"{scheme}://localhost:{server.port}/"
        _, refused = opened(settings_for(uri, authority, **files))
        _, without = opened(settings_for(uri, authority))
    assert refused is None
    assert without is not None


def test_client_key_that_does_not_match(authority: Authority, tmp_path: Path) -> None:
    """A key that belongs to another certificate is refused at start, and the key is named."""
    for name in ("one", "two"):
        own = authority.ca.issue_cert(name)
        own.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.cert"))
        own.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
    with pytest.raises(ConfigError, match="COURIER_SMTP_CLIENT_CERT"):
        make_context(
            parse_smtp_uri("smtps://localhost/"),
            client_cert=str(tmp_path / "one.cert"),
            client_key=str(tmp_path / "two.key"),
        )


@pytest.mark.parametrize("banner", ["554 5.7.1 not you", "421 4.3.2 not now"])
def test_refused_banner_under_smtps(authority: Authority, banner: str) -> None:
    """What a server says after the handshake is its banner, and no fault of TLS."""

    class Refusing(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self._transport = transport
            transport.write(f"{banner}\r\n".encode())

        def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - all one
            # Python 3.10 holds a TLS transport for open until then.
            self._transport.close()

    with served(Refusing, tls=authority.context("localhost")) as port:
        _, refused = opened(settings_for(f"smtps://localhost:{port}/", authority))
    assert refused is not None
    assert (Phase.BANNER, int(banner[:3])) == (refused.phase, refused.code)
    assert refused.text == banner[4:]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_connection_that_ends_in_the_handshake(scheme: str) -> None:
    """A server that hangs up while TLS is being set up is a fault of TLS."""
    with scripted_smtp(
        BANNER=DROP if scheme == "smtps" else "220 hello",
        EHLO="250-mail.acme.example\r\n250 STARTTLS",
        STARTTLS="220 go ahead" + DROP,
    ) as server:
        uri = f"{scheme}://localhost:{server.port}/?skip_ssl_verify=true"
        phase, cause, _ = refusal(settings_for(uri))
    assert (Phase.TLS, "connection_lost") == (phase, cause)


def test_injection_before_tls(authority: Authority) -> None:
    """What somebody in the middle adds in the clear is never taken for the server's word."""
    with scripted_smtp(
        EHLO="250-mail.acme.example\r\n250 STARTTLS",
        STARTTLS="220 go ahead\r\n250-evil\r\n250 AUTH PLAIN" + DROP,
    ) as server:
        session, refused = opened(settings_for(f"smtp://localhost:{server.port}/", authority))
    assert refused is not None
    assert (Phase.TLS, frozenset()) == (refused.phase, session.extensions)


@BOTH
def test_what_a_check_is_told(authority: Authority, scheme: str, security: str) -> None:
    """An open session knows where it is, how it is protected, and what the server offers."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    expiry = (datetime.now(timezone.utc) + timedelta(days=30)).replace(microsecond=0)
    authority.ca.issue_cert("localhost", not_after=expiry).configure_cert(context)
    with smtp_server(tls=context, security=security) as server:
        session, refused = opened(settings_for(server.uri, authority))
    assert refused is None
    assert scheme in server.uri
    assert (expiry, "127.0.0.1", "PLAIN") == (
        session.not_after,
        session.address,
        session.mechanism,
    )
    assert "TLSv1.3" == session.tls_version
    assert session.tls_cipher
    assert {"8BITMIME", "SMTPUTF8", "AUTH"} <= session.extensions


def test_expiry_that_was_not_verified(mail_server: MailServer) -> None:
    """Where the certificate is not verified, nothing is claimed about it."""
    uri = mail_server.uri + "?skip_ssl_verify=true"
    session, refused = opened(settings_for(uri))
    assert refused is None
    assert (None, "TLSv1.3") == (session.not_after, session.tls_version)
