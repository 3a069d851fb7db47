"""A certificate made on the fly, by an authority that nobody else trusts."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from flask_courier.core.errors import SetupError

_NEEDED = (
    "a FaultServer with TLS needs a certificate: pass tls=, an ssl.SSLContext for servers, or "
    "install trustme (pip install 'flask-courier[testing]'), which makes one on the fly"
)


class Certificate:
    """A server's TLS context, and the file that tells a client to trust it.

    :param names: host names and addresses that it is for.
    :raises SetupError: if trustme is not installed.
    """

    def __init__(self, *names: str) -> None:
        try:
            import trustme  # noqa: PLC0415 - optional: only this asks for it
        except ModuleNotFoundError as error:
            raise SetupError(_NEEDED) from error
        authority = trustme.CA()
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with authority.issue_cert(*names).private_key_and_cert_chain_pem.tempfile() as chain:
            self.context.load_cert_chain(chain)
        self._folder = tempfile.TemporaryDirectory(prefix="flask_courier.")
        self.ca_file = str(Path(self._folder.name) / "ca.pem")
        authority.cert_pem.write_to_path(self.ca_file)

    def remove(self) -> None:
        """Take the file away."""
        self._folder.cleanup()
