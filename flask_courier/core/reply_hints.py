"""What the words of a reply say: which of them count, and how long a server asks to wait.

A server quotes what it was sent, and a stranger chooses his address and the name of his host. So
words are only looked at once everything that may be a quotation is gone.
"""

from __future__ import annotations

import re
from datetime import timedelta

#: No reply needs more to say what it means, and no pattern sees more.
_TEXT_LIMIT = 2048
#: A quoted local part (RFC 5321 section 4.1.2), which may hold anything at all.
_QUOTED = re.compile(r'"[^"]*"(?=@)')
_BRACKETED = re.compile(r"<[^<>]*>")
#: A dot inside a word: a host name, an IP address, a URL, an enhanced code.
_NAME = re.compile(r"[^\s.]\.[^\s.]")

_SHORTEST = timedelta(seconds=1)
_LONGEST = timedelta(hours=24)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NUMBER = r"(?P<number>[0-9]{1,9})"
_UNIT = r" ?(?P<unit>s(?:ec(?:ond)?s?)?|m(?:in(?:ute)?s?)?|h(?:(?:ou)?rs?)?|d(?:ays?)?)\b"
#: "try again in about 5 minutes", "greylisted for 300 seconds".
_ASKED = re.compile(
    r"\b(?:try|retry|again|back|wait|resend|grey-?list\w*|gray-?list\w*|delay\w*|defer\w*)"
    r"[^0-9.]{0,40}?\b" + _NUMBER + _UNIT,
    re.IGNORECASE | re.ASCII,
)
#: "retry after 120": seconds, as in HTTP (RFC 9110 section 10.2.3).
_BARE = re.compile(r"\bretry[- ]after:? ([0-9]{1,9})(?! ?[a-z0-9:])", re.IGNORECASE | re.ASCII)
#: "in 5 minutes" on its own; "100 messages in 60 minutes" is a limit and not a request.
_IN = re.compile(
    r"(?P<counted>\b(?:messages?|e?mails?|connections?|recipients?|attempts?|logins?) )?"
    r"\b(?:in|after) " + _NUMBER + _UNIT,
    re.IGNORECASE | re.ASCII,
)
#: "come back in 00:04:32", as milter-greylist says it.
_CLOCK = re.compile(r"\bin ([0-9]{1,2}):([0-5][0-9]):([0-5][0-9])\b", re.IGNORECASE | re.ASCII)


def plain_words(text: str) -> str:
    """The words of a reply on one line, without addresses, host names, codes and URLs."""
    unquoted = _BRACKETED.sub(" ", _QUOTED.sub(" ", text[:_TEXT_LIMIT]))
    return " ".join(word for word in unquoted.split() if "@" not in word and not _NAME.search(word))


def asked_wait(words: str) -> timedelta | None:
    """How long the reply asks to wait, 1 second to 24 hours; None if it names no time.

    :param words: what :func:`plain_words` left of the reply.
    """
    clock = _CLOCK.search(words)
    if clock is not None:
        hours, minutes, seconds = map(int, clock.groups())
        return _bounded(timedelta(hours=hours, minutes=minutes, seconds=seconds))
    bare = _BARE.search(words)
    if bare is not None:
        return _bounded(timedelta(seconds=int(bare[1])))
    found = _ASKED.search(words) or next(
        (hint for hint in _IN.finditer(words) if hint["counted"] is None), None
    )
    if found is None:
        return None
    return _bounded(timedelta(seconds=int(found["number"]) * _SECONDS[found["unit"][0].lower()]))


def _bounded(wait: timedelta) -> timedelta:
    return max(_SHORTEST, min(wait, _LONGEST))
