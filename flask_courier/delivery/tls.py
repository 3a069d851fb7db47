"""TLS as the SMTP URI asks for it, and what a failed handshake says in words."""

from __future__ import annotations

import asyncio
import ssl
from datetime import datetime, timezone

from flask_courier.core.errors import ConfigError
from flask_courier.core.replies import Trouble
from flask_courier.core.smtp_uri import Security, SmtpUri

#: By OpenSSL's number for the first thing that is wrong with a certificate (X509_V_ERR_*).
_DISTRUST = {
    10: Trouble.CERTIFICATE_EXPIRED,
    **dict.fromkeys((62, 64), Trouble.CERTIFICATE_NAME),
    **dict.fromkeys((2, 18, 19, 20, 21, 27), Trouble.CERTIFICATE_ISSUER),
}


def make_context(
    uri: SmtpUri,
    *,
    ca_file: str | None = None,
    client_cert: str | None = None,
    client_key: str | None = None,
) -> ssl.SSLContext | None:
    """The one TLS context of a transport: TLS 1.2 or newer (RFC 8996), verified unless told not to.

    :raises ConfigError: if a file cannot be read, or holds no certificate or key that can be used.
    """
    if uri.security is Security.PLAINTEXT:
        return None
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            [f"COURIER_SMTP_CA_FILE {ca_file!r} cannot be used: {words(error)}"]
        ) from error
    if client_cert is not None:
        try:
            context.load_cert_chain(client_cert, client_key)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(
                [f"COURIER_SMTP_CLIENT_CERT or its key cannot be used: {words(error)}"]
            ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not uri.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def not_after(tls: ssl.SSLObject) -> datetime | None:
    """When the server's certificate expires; None where it was not verified.

    OpenSSL takes apart only a certificate that it has checked.
    """
    expiry = (tls.getpeercert() or {}).get("notAfter")
    if not isinstance(expiry, str):
        return None
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(expiry), tz=timezone.utc)


def trouble_of(error: BaseException) -> Trouble:
    """Which trouble an error of the TLS handshake, or of the connection below it, is."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _DISTRUST.get(error.verify_code, Trouble.CERTIFICATE)
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
        return Trouble.TLS
    # asyncio aborts a handshake that takes too long.
    if isinstance(error, TimeoutError | asyncio.TimeoutError | ConnectionAbortedError):
        return Trouble.TIMED_OUT
    return Trouble.DROPPED


def words(error: BaseException | None) -> str:
    """What ``error`` says, or what it is called where it says nothing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate was refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "this port does not speak TLS from the first byte; for STARTTLS write smtp://"
    if isinstance(error, ConnectionError | ssl.SSLEOFError) and not error.strerror:
        return "the server closed the connection"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
