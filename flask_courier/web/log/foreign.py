"""Text that strangers wrote, as a page may show it: nothing invisible, nothing that reorders.

An SMTP reply, a subject or an address can hold what a terminal obeys (ESC, C0 and C1 controls),
what turns the text around it (Unicode's bidirectional overrides, "Trojan Source"), and what makes
two texts differ that look alike (characters without width).
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

#: C0, DEL and C1 without line feed and tab, which are text; halves of characters; format
#: characters, among them all that turn text around (UAX 9); fillers; tags.
_UNSEEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
    "\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\u3164\ufeff\uffa0\ufff9-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e007f"
)
_JOINERS = "\u200c\u200d"
#: Letters and pictures that these join or part: Arabic to Indic and Khmer, and emoji.
_JOINED = "\u0600-\u109f\u1780-\u18af\u2190-\u2bff\ufe0f\U0001f000-\U0001faff"
#: They choose the shape of the character before; several hide data.
_VARIATIONS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_MARKS = (
    "\u0300-\u034e\u0350-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f"
)
#: What is written out. It begins with one set, as whole pages are searched for it.
_HIDDEN = re.compile(
    f"[{_UNSEEN}{_JOINERS}{_VARIATIONS}{_MARKS}]"
    "(?:"
    f"(?<=[{_UNSEEN}])"
    f"|(?<=[{_JOINERS}])(?:(?![{_JOINED}])|(?<![{_JOINED}][{_JOINERS}]))"
    f'|(?<=[{_VARIATIONS}])(?:[{_VARIATIONS}]+|(?<=[\\x00-"$-)+-/:-\x7f].))'
    # More than any writing piles up.
    f"|(?<=[{_MARKS}])[{_MARKS}]{{3,}}"
    ")"
)
_MARK = Markup('<span class="courier-escape">{}</span>')
_ISOLATED = Markup("<bdi>{}</bdi>")


def shown(text: object) -> Markup:
    """``text`` in one line of its own direction, with all that cannot be seen written out."""
    return _ISOLATED.format(_written_out(" ".join(str(text).split("\n"))))


def shown_lines(text: str) -> Markup:
    """The same with its lines, for a block, whose direction is its own to set."""
    return _written_out(text.replace("\r\n", "\n"))


def seen(markup: str) -> str:
    """Markup with all that cannot be seen written out, in attributes too, where no mark can be."""
    # A template's own text is Markup, and a name has nothing that markup would have to escape.
    return type(markup)(_HIDDEN.sub(lambda found: _name(found[0]), markup))


def sought(text: str) -> str:
    """``text`` without what cannot be seen, as an address often brings along when it is copied."""
    return _HIDDEN.sub(lambda found: " " if found[0].isspace() or found[0] < " " else "", text)


def _written_out(text: str) -> Markup:
    if _HIDDEN.search(text) is None:
        return escape(text)
    parts: list[Markup] = []
    end = 0
    for found in _HIDDEN.finditer(text):
        parts += [escape(text[end : found.start()]), _MARK.format(_name(found[0]))]
        end = found.end()
    return Markup("").join([*parts, escape(text[end:])])


def _name(characters: str) -> str:
    r"""How source code writes them: ``\x1b``, ``\u202e``."""
    return "".join(
        f"\\x{ord(one):02x}" if one < "\u0100" else one.encode("ascii", "backslashreplace").decode()
        for one in characters
    )
