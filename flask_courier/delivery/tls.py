"""TLS as the SMTP URI asks for it, and what a failed handshake says in words."""

from __future__ import annotations

import ssl

from flask_courier.core.errors import ConfigError
from flask_courier.core.smtp_uri import Security, SmtpUri


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


def words(error: BaseException | None) -> str:
    """What ``error`` says, or what it is called where it says nothing."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate was refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "this port does not speak TLS from the first byte; for STARTTLS write smtp://"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
