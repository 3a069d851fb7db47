"""Text as mail carries it: 7 bits wide, in short lines (RFC 2045, RFC 2047, RFC 5322).

The standard library's generator parses every header and walks a tree for every mail, which takes a
worker more time than all else it does. What is here covers the few forms that a mail of ours has.
"""

from __future__ import annotations

import re
from binascii import b2a_base64, b2a_qp

#: RFC 2047 section 2 for header lines, RFC 2045 section 6.7 and 6.8 for encoded bodies.
_LINE = 76
#: RFC 5322 section 2.1.1, for bodies that go as they are.
_PLAIN_LINE = 78
#: What "=?utf-8?q?" and "?=" leave of the 75 characters of an encoded word.
_WORD = 63

_ASCII = bytes(range(128))
#: RFC 2047 section 5 (3): what stands for itself wherever an encoded word may be.
_BARE = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!*+-/"
_QUOTED = {
    **{chr(octet): f"={octet:02X}" for octet in _ASCII},
    **{character: character for character in _BARE},
    " ": "_",
}
_SINGLE = f"{_BARE} ".encode()
#: RFC 5322 section 3.2.3, words of it with one space between.
_ATOMS = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?: [\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_CHUNK = re.compile(r" *[^ ]+")
_NEEDS_BACKSLASH = re.compile(r'([\\"])')
_FROM_LINE = re.compile(rb"^From ", re.MULTILINE)
_OVERLONG = re.compile(rb"^(.{74})(=20|=09)\r$", re.MULTILINE)


def encode_body(text: str) -> tuple[str, bytes]:
    """The transfer encoding and the lines of a body; every line ends with CRLF, the last one too.

    CR, LF and CRLF each end a line of ``text``.
    """
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.endswith("\n"):
        text += "\n"
    data = text.replace("\n", "\r\n").encode()
    if not text.isascii():
        # Three octets for one, against four for three.
        if 6 * len(data.translate(None, _ASCII)) > len(data):
            return "base64", _base64(data)
    elif _goes_as_it_is(text):
        return "7bit", data
    return "quoted-printable", _quoted_printable(data)


def encode_text(field: str, text: str) -> str:
    """An unstructured header field, folded, without the CRLF at its end (RFC 5322 section 2.2.1).

    Whatever a reader could take for something else goes in encoded words, so that it is shown as
    it was written.
    """
    if _is_literal(text) and text.strip(" ") == text:
        folded = fold(field, text)
        if _is_narrow(folded):
            return folded
    return f"{field}: {_encoded_words(text, _LINE - len(field) - 2)}"


def encode_mailbox(field: str, name: str, address: str) -> str:
    """A header field of one mailbox, folded, without the CRLF at its end (RFC 5322 section 3.4)."""
    if not name:
        return f"{field}: {address}"
    folded = ""
    if _is_literal(name):
        folded = fold(field, name if _ATOMS.fullmatch(name) else _quoted_string(name))
    if not folded or not _is_narrow(folded):
        folded = f"{field}: {_encoded_words(name, _LINE - len(field) - 2)}"
    last = len(folded) - folded.rfind("\n") - 1
    space = " " if last + len(address) + 3 <= _LINE else "\r\n "
    return f"{folded}{space}<{address}>"


def fold(field: str, value: str) -> str:
    """A header field broken before blanks where that makes it short (RFC 5322 section 2.2.3)."""
    if len(field) + len(value) + 2 <= _LINE:
        return f"{field}: {value}"
    # The first line is never the name alone: Python's parser then keeps the blank of the fold.
    first, *rest = _CHUNK.findall(value) or [""]
    lines: list[str] = []
    current = f"{field}: {first}"
    for chunk in rest:
        if len(current) + len(chunk) > _LINE:
            lines.append(current)
            current = chunk
        else:
            current += chunk
    return "\r\n".join([*lines, current])


def _is_literal(text: str) -> bool:
    # "=?" begins an encoded word, and many readers decode it inside quotes too.
    return text.isascii() and text.isprintable() and "=?" not in text


def _quoted_string(text: str) -> str:
    escaped = _NEEDS_BACKSLASH.sub(r"\\\1", text)
    return f'"{escaped}"'


def _is_narrow(folded: str) -> bool:
    return len(folded) <= _LINE or max(map(len, folded.split("\r\n"))) <= _LINE


def _encoded_words(text: str, room: int) -> str:
    """RFC 2047 encoded words, no character over two of them; the first has ``room`` characters."""
    data = text.encode()
    room = min(room - 12, _WORD)
    if len(data) + 2 * len(data.translate(None, _SINGLE)) <= len(data) * 4 // 3:
        form, words = "=?utf-8?q?%s?=", _split_quoted(text, room)
    else:
        form, words = "=?utf-8?b?%s?=", _split_base64(data, room)
    return "\r\n ".join([form % word for word in words])


def _split_quoted(text: str, room: int) -> list[str]:
    words: list[str] = []
    word = ""
    for character in text:
        piece = _QUOTED.get(character) or _quoted(character)
        if len(word) + len(piece) > room:
            words.append(word)
            word, room = "", _WORD
        word += piece
    return [*words, word]


def _split_base64(data: bytes, room: int) -> list[str]:
    words: list[str] = []
    start = 0
    while start < len(data):
        end = start + room // 4 * 3
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        words.append(b2a_base64(data[start:end], newline=False).decode())
        start, room = end, _WORD
    return words


def _quoted(character: str) -> str:
    return "".join([f"={octet:02X}" for octet in character.encode()])


def _goes_as_it_is(text: str) -> bool:
    """Whether ASCII ``text`` survives unencoded."""
    return (
        max(map(len, text.split("\n"))) <= _PLAIN_LINE
        and "\0" not in text
        # Some programs write ">From" (RFC 4155), which breaks signatures.
        and "\nFrom " not in text
        and not text.startswith("From ")
        # It may not contain what a boundary begins with.
        and "--=_" not in text
    )


def _base64(data: bytes) -> bytes:
    encoded = b2a_base64(data, newline=False)
    lines = [encoded[start : start + _LINE] for start in range(0, len(encoded), _LINE)]
    return b"\r\n".join([*lines, b""])


def _quoted_printable(data: bytes) -> bytes:
    encoded = b2a_qp(data)
    if b" \r\n" in data or b"\t\r\n" in data:
        # b2a_qp encodes a blank at the end of a full line in place, and makes it 77 long.
        encoded = _OVERLONG.sub(rb"\1=\r\n\2\r", encoded)
    if b"\n.\r" in encoded:
        # It encodes a lone dot, but not one that its own line break made lone.
        encoded = encoded.replace(b"\n.\r\n", b"\n=2E\r\n")
    if b"From " in encoded:
        encoded = _FROM_LINE.sub(b"=46rom=\r\n ", encoded)
    return encoded
