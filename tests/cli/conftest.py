"""What commands run against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.smtp_server import MailServer, smtp_server


@pytest.fixture
def cleartext() -> Iterator[MailServer]:
    """An SMTP server without TLS or AUTH."""
    with smtp_server(security="none", login=False) as server:
        yield server
