"""What is kept of a server's words: no token, code, link or password, whole or in pieces.

Servers quote what they were sent, and cut and wrap what they quote. Nothing may cut a text before
it has been here: what is left of a secret at the cut would be no secret's whole.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Sequence

from flask_courier.core.replies import printable
from flask_courier.core.smtp_uri import SmtpUri
from flask_courier.delivery.envelope import Envelope, without

#: Characters of a text that is 2 kB at most in any case.
_SHORT = 512
#: Characters in a row of a secret that no text may hold; no token or code is shorter.
_PIECE = 8
#: Of any eight characters in a row, four begin at a multiple of five.
_SAMPLE, _STRIDE = 4, 5

# Line ends and other white space, and the enhanced code with which a server begins every line of
# a reply (RFC 2034 section 4).
_BREAK = re.compile(r"\s+(?:(?<=\n)[245]\.\d{1,3}\.\d{1,3}\s+)?")

#: How a mail of ours says that its body, or a word of its subject, is in base64.
_BASE64_BODY, _BASE64_WORD = b"Content-Transfer-Encoding: base64\r\n", b"=?utf-8?b?"


class Discretion:
    """What is kept of what is said on one connection.

    :param uri: its login is a secret, too.
    """

    def __init__(self, uri: SmtpUri) -> None:
        self._login = _spellings(uri)
        # In answers to AUTH; not the words themselves: "password" is a piece of many a password.
        self._encoded_login = self._login[3:]
        # A server may speak of a message too late, as the next one has begun.
        self._before: tuple[str, ...] = ()

    def kept(self, text: str, envelope: Envelope | None) -> str:
        """``text`` as it may be kept: masked, printable, and then cut.

        :param envelope: the message that it is about, or about which it may be.
        """
        if envelope is None:
            secrets = self._encoded_login
        else:
            text = without(text, envelope.unspeakable(len(text)))
            telling = _telling(envelope)
            secrets, self._before = (*self._before, *telling), telling
        text = without_pieces(without(text, self._login), secrets)
        return text if text.isprintable() and len(text) <= _SHORT else printable(text)


def without_pieces(text: str, secrets: Sequence[str]) -> str:
    """``text`` without any eight characters in a row of a secret, white space between or not.

    :param secrets: without white space; of a shorter one nothing is found.
    """
    if not secrets:
        return text
    bare = _BREAK.sub("", text) if "\n" in text else "".join(text.split())
    all_of_them, samples = "\n".join(secrets), range(0, len(bare) - _SAMPLE + 1, _STRIDE)
    # As in ``without``: nearly all replies say nothing of the mail.
    if not [at for at in samples if bare[at : at + _SAMPLE] in all_of_them]:
        return text
    kept: list[str] = []
    done = 0
    for start, end in _found(text, bare, all_of_them):
        if start > done or not kept:
            kept += text[done:start], "••••"
        done = end
    return "".join(kept) + text[done:]


def _found(text: str, bare: str, secrets: str) -> list[tuple[int, int]]:
    """Where in ``text`` eight characters of a secret begin and end, in the order of both."""
    breaks = {at for found in _BREAK.finditer(text) for at in range(*found.span())}
    places = [at for at in range(len(text)) if at not in breaks]
    return [
        (places[at], places[at + _PIECE - 1] + 1)
        for at in range(len(bare) - _PIECE + 1)
        if bare[at : at + _PIECE] in secrets
    ]


def _telling(envelope: Envelope) -> tuple[str, ...]:
    """The secrets of ``envelope`` in the spellings whose pieces tell of them."""
    secrets, payload = envelope.secrets, envelope.payload
    if secrets and (
        _BASE64_BODY in payload or _BASE64_WORD in payload[: payload.find(b"\r\n\r\n")]
    ):
        return (*secrets, *_in_base64(secrets))
    return secrets


def _in_base64(secrets: Sequence[str]) -> list[str]:
    """What base64 makes of ``secrets``, each of which may begin at any of its three places."""
    raw = "\0".join(secrets).encode()
    return [b2a_base64(bytes(shift) + raw, newline=False).decode() for shift in range(3)]


def _spellings(uri: SmtpUri) -> tuple[str, ...]:
    """The credentials as a server may quote them: plain, and as AUTH sends them (RFC 4616)."""
    if uri.username is None or uri.password is None:
        return ()
    plain = (uri.username, uri.password, f"\0{uri.username}\0{uri.password}")
    return (*plain, *(b2a_base64(word.encode(), newline=False).decode() for word in plain))
