"""Characters that must not travel: what splits a line, ends a string, or cannot be seen."""

from __future__ import annotations

import unicodedata

#: Control characters, lone surrogates, line and paragraph separators: everything on which
#: ``str.splitlines`` or an SMTP server ends a line is among them.
_CONTROL = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: The same, spaces of every kind, and invisible characters such as a byte order mark.
_BLANK = _CONTROL | {"Cf", "Zs"}


def has_control(text: str) -> bool:
    """Whether ``text`` holds CR, LF, NUL or any other control character."""
    return any(unicodedata.category(character) in _CONTROL for character in text)


def has_blank(text: str) -> bool:
    """Whether ``text`` holds whitespace, a control character or one that cannot be seen."""
    return any(unicodedata.category(character) in _BLANK for character in text)
