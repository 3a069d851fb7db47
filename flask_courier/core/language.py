"""Which language a reader gets: language tags (RFC 5646) matched with what there is."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

#: The language that everything is written in first.
DEFAULT = "en"

_TAG = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,8}")


def choose(wanted: Iterable[str | None], available: Iterable[str]) -> str | None:
    """The language for whoever wants these, the most welcome first; None if there is none.

    The look-up of RFC 4647 section 3.4: ``de-AT`` finds ``de``. What is no tag counts for nothing;
    an underscore, as locales of systems and libraries have it, is a hyphen.

    :param available: language tags.
    """
    return _chosen(tuple(wanted), tuple(available))


@lru_cache(256)
def _chosen(wanted: Sequence[str | None], available: Sequence[str]) -> str | None:
    known = {folded(tag): tag for tag in available}
    for tag in wanted:
        if not tag or not _TAG.fullmatch(tag):
            continue
        parts = folded(tag).split("-")
        while parts:
            found = known.get("-".join(parts))
            if found is not None:
                return found
            parts.pop()
    return None


def folded(tag: str) -> str:
    """The form in which two spellings of a tag are the same."""
    return tag.replace("_", "-").lower()
