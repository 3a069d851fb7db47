"""The settings of the SMTP transport, from the configuration."""

from __future__ import annotations

from urllib.parse import urlsplit

from flask_courier.core.config import CourierConfig
from flask_courier.core.smtp_uri import SmtpUri
from flask_courier.delivery.envelope import SmtpSettings
from flask_courier.delivery.tls import make_context


def smtp_settings(config: CourierConfig, uri: SmtpUri, *, name: str) -> SmtpSettings:
    """What every connection to ``uri`` has in common; certificates are read here, once.

    :param name: what the transport's rows are called.
    :raises ConfigError: if a certificate or key cannot be used.
    """
    return SmtpSettings(
        uri=uri,
        tls=make_context(
            uri,
            ca_file=config.smtp_ca_file,
            client_cert=config.smtp_client_cert,
            client_key=config.smtp_client_key,
        ),
        local_name=config.smtp_local_name
        or urlsplit(config.public_url or "").hostname
        or "localhost",
        name=name,
        pipelining=config.smtp_pipelining,
    )
