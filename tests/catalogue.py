"""A language that no person speaks: every sentence of ours between brackets, to find all others."""

from __future__ import annotations

import gettext
import re
from pathlib import Path
from typing import Any, NamedTuple

from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

FOLDER = Path(__file__).parents[1] / "flask_courier" / "translations"
LANGUAGES = ("ar", "de", "en", "es", "fr", "ja")
#: Hebrew, in which we have no catalogue: it runs from right to left.
BRACKETED = "he"

_BRACKETS = re.compile(r"⟦[^⟦⟧]*⟧")
_TAGS = re.compile(r"<(style|svg)\b.*?</\1>|<!--.*?-->|<[^>]*>", re.DOTALL)


class Entry(NamedTuple):
    """A sentence with its translations, of which a plural has several."""

    written: str
    forms: tuple[str, ...]


def catalogue(language: str) -> Catalog:
    """The catalogue of ``language`` as translators have it."""
    with (FOLDER / language / "LC_MESSAGES" / "flask_courier.po").open("rb") as file:
        return read_po(file, locale=language)


def entries(language: str) -> list[Entry]:
    """Every sentence of ``language``."""
    return [
        Entry(_forms(message.id)[0], _forms(message.string))
        for message in catalogue(language)
        if message.id
    ]


def _forms(text: Any) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else tuple(text)


def put(folder: Path, language: str, words: dict[str, str]) -> None:
    """Compile a catalogue of an application's own."""
    own = Catalog(locale=language)
    for written, translated in words.items():
        own.add(written, translated)
    write(folder, language, own)


def put_brackets(folder: Path) -> None:
    """Compile a catalogue in which every sentence of ours is between brackets."""
    bracketed = Catalog(locale=BRACKETED)
    for message in catalogue("en"):
        if message.pluralizable:
            forms = tuple(f"⟦{message.id[1]}⟧" for _ in range(bracketed.num_plurals))
            bracketed.add(message.id, forms)
        elif message.id:
            bracketed.add(message.id, f"⟦{message.id}⟧")
    write(folder, BRACKETED, bracketed)


def write(folder: Path, language: str, own: Catalog) -> None:
    """Compile ``own`` to where a catalogue of ``language`` is looked for."""
    path = folder / "translations" / language / "LC_MESSAGES" / "flask_courier.mo"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_mo(file, own)


def compiled(language: str) -> gettext.GNUTranslations:
    """The catalogue of ``language`` as it is read at run time."""
    with (FOLDER / language / "LC_MESSAGES" / "flask_courier.mo").open("rb") as file:
        return gettext.GNUTranslations(file)


def outside_brackets(text: str) -> str:
    """What a reader sees in ``text``, HTML or not, that is no sentence of the catalogue."""
    rest = _TAGS.sub(" ", text)
    while (shorter := _BRACKETS.sub(" ", rest)) != rest:
        rest = shorter
    return " ".join(rest.split())
