"""The words of pages and mails: gettext catalogues of the domain ``flask_courier``.

A catalogue is read once, when the application is set up, and never changes after that: threads
share it, and a mail costs no more than a look-up for each of its sentences.
"""

from __future__ import annotations

import gettext
import struct
import textwrap
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from babel import Locale
from babel.core import UnknownLocaleError
from babel.dates import format_date
from markupsafe import Markup, escape

from flask_courier.core.durations import in_units
from flask_courier.core.errors import SetupError
from flask_courier.core.language import DEFAULT, choose

#: Where compiled catalogues are, below their folder.
_PATTERN = "*/LC_MESSAGES/flask_courier.mo"

#: RFC 5322 section 2.1.1 asks for lines of 78 characters at most; a reply puts marks before them.
_COLUMNS = 72
#: So many sentences of a language are kept ready; an application's may come without end.
_KEPT = 1000
#: Whose way of writing dates is the language's, where that is not one way: the day comes first.
_DATES_LIKE = {DEFAULT: "en_GB"}


def _pair(singular: str, plural: str) -> tuple[str, str]:
    """Marks a sentence for the catalogues."""
    return singular, plural


_SPANS = {
    "day": _pair("%(count)s day", "%(count)s days"),
    "hour": _pair("%(count)s hour", "%(count)s hours"),
    "minute": _pair("%(count)s minute", "%(count)s minutes"),
    "second": _pair("%(count)s second", "%(count)s seconds"),
}


class _Silence(gettext.NullTranslations):
    """The end of a chain of catalogues: has no word for anything."""

    def gettext(self, message: str) -> str:  # noqa: ARG002
        return ""


class Words:
    """The words of one language."""

    def __init__(self, language: str, translations: gettext.NullTranslations) -> None:
        #: Its tag, for ``lang`` and ``Content-Language``.
        self.language = language
        self._translations = translations
        self._locale = _locale(_DATES_LIKE.get(language, language))
        #: ``ltr`` or ``rtl``, for ``dir``.
        self.direction: str = self._locale.text_direction
        # What was looked up and broken into lines: gettext's own way costs ten times as much.
        self._found: dict[str, str] = {}
        self._broken: dict[str, str] = {}
        self._spans: dict[timedelta, str] = {}

    def knows(self, message: str) -> bool:
        """Whether a catalogue has ``message``."""
        return bool(message and self._translations.gettext(message))

    def gettext(self, message: str, /, **values: object) -> str:
        """``message`` in this language, or as it is written; ``%(name)s`` becomes ``values[name]``.

        With markup among the values the whole is markup, and the rest is escaped.
        """
        return _filled(self._found.get(message) or self._look_up(message), values)

    def ngettext(self, singular: str, plural: str, count: int, /, **values: object) -> str:
        """The form for ``count`` things, which is ``%(count)s`` in it."""
        found = self._translations.ngettext(singular, plural, count)
        return _filled(found, {"count": count, **values})

    def paragraph(self, message: str, /, **values: object) -> str:
        """``message`` as :meth:`gettext` has it, in lines for a text part.

        Lines are broken once for each language, before the values come in: breaking each mail's
        costs more than all the rest of it.
        """
        broken = self._broken.get(message)
        if broken is None:
            broken = textwrap.fill(
                self.gettext(message), _COLUMNS, break_long_words=False, break_on_hyphens=False
            )
            if len(self._broken) < _KEPT:
                self._broken[message] = broken
        return _filled(broken, values)

    def say(self, value: object) -> object:
        """A span or a moment in words; anything else as it is."""
        if isinstance(value, timedelta):
            return self.span(value)
        return self.moment(value) if isinstance(value, datetime) else value

    def span(self, duration: timedelta) -> str:
        """``duration``, of whole seconds, in words: ``30 minutes``, ``1 day``."""
        words = self._spans.get(duration)
        if words is None:
            count, unit = in_units(int(duration.total_seconds()))
            words = self._spans[duration] = self.ngettext(*_SPANS[unit], count)
        return words

    def moment(self, moment: datetime) -> str:
        """``moment``, which is in UTC, to the minute: ``24 November 2026, 09:05 UTC``."""
        date = format_date(moment, "long", locale=self._locale)
        return self.gettext("%(date)s, %(time)s UTC", date=date, time=f"{moment:%H:%M}")

    def _look_up(self, message: str) -> str:
        """``message`` out of the catalogue, which has its own head under the empty one."""
        if not message:
            return ""
        found = self._translations.gettext(message) or message
        if len(self._found) < _KEPT:
            self._found[message] = found
        return found


class Catalogues:
    """The languages there are, for one application.

    :param own: a folder of the application's own, with ``<language>/LC_MESSAGES/flask_courier.mo``
        in it: more languages, or other words for ours.
    :raises SetupError: if a catalogue in there cannot be read.
    """

    def __init__(self, own: Path | None = None) -> None:
        found = dict(_ours())
        english = found[DEFAULT]
        for path in sorted(own.glob(_PATTERN)) if own is not None else ():
            language = path.parent.parent.name.replace("_", "-")
            theirs = _read(path)
            # What the application leaves out is in our words, in its language or in English.
            theirs.add_fallback(found.get(language, english))
            found[language] = theirs
        self._words = {language: Words(language, each) for language, each in found.items()}

    @property
    def languages(self) -> tuple[str, ...]:
        """Their tags."""
        return tuple(self._words)

    def words(self, wanted: Iterable[str | None] = ()) -> Words:
        """The words for whoever wants these languages, the most welcome first; else English."""
        return self._words[choose(wanted, self._words) or DEFAULT]


@lru_cache(maxsize=1)
def _ours() -> dict[str, gettext.NullTranslations]:
    """The catalogues of this package; nothing changes them."""
    found: dict[str, gettext.NullTranslations] = {}
    for path in sorted(Path(__file__).with_name("translations").glob(_PATTERN)):
        found[path.parent.parent.name] = _read(path)
        found[path.parent.parent.name].add_fallback(_Silence())
    return found


def _read(path: Path) -> gettext.NullTranslations:
    try:
        with path.open("rb") as file:
            return gettext.GNUTranslations(file)
    except (OSError, ValueError, struct.error) as error:
        raise SetupError(f"{path} is no catalogue of gettext; compile it again") from error


def _locale(language: str) -> Locale:
    try:
        return Locale.parse(language, sep="-" if "-" in language else "_")
    except (UnknownLocaleError, ValueError):
        # A language of the application's that nobody wrote down how to write dates in.
        return Locale.parse(_DATES_LIKE[DEFAULT])


def _filled(message: str, values: dict[str, object]) -> str:
    if not values:
        return message
    for value in values.values():
        if isinstance(value, Markup):
            return escape(message) % values
    return message % values
