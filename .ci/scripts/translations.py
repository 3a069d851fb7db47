"""Bring the catalogues up to date with the words in code and templates, and compile them.

``translations.py`` writes; new sentences are left empty, changed ones are marked fuzzy, and both
are printed for a translator. ``translations.py --check`` writes nothing and exits with 1 if
anything is missing, fuzzy, broken or not compiled.
"""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import read_mo, write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "flask_courier"
FOLDER = PACKAGE / "translations"
DOMAIN = "flask_courier"
#: The delivery log and the commands are in English.
METHODS = [
    ("catalogues.py", "python"),
    ("web/**.py", "python"),
    ("templates/courier/base.html", "jinja2"),
    ("templates/courier/web/**.*", "jinja2"),
    ("templates/courier/mail/**.*", "jinja2"),
]
KEYWORDS: dict[str, tuple[int, ...] | None] = {
    "_": None,
    "gettext": None,
    "paragraph": None,
    "Required": None,
    "ngettext": (1, 2),
    "_n": (1, 2),
    "_pair": (1, 2),
}
PLACEHOLDER = re.compile(r"%\((\w+)\)s|%(?!%)")


def words() -> list[tuple[Any, str, list[str]]]:
    """Every sentence in code and templates, with the file it is in and what is said of it."""
    found = extract_from_dir(
        PACKAGE,
        method_map=METHODS,
        options_map={name: {"silent": "false"} for name, _ in METHODS},
        keywords=KEYWORDS,  # type: ignore[arg-type]  # babel's own default is of this shape
    )
    return [(message, name, comments) for name, _, message, comments, _ in found]


def read(path: Path) -> Catalog:
    """A catalogue, as it was written or compiled."""
    with path.open("rb") as file:
        if path.suffix == ".mo":
            return read_mo(file)
        return read_po(file, locale=path.parent.parent.name, domain=DOMAIN)


def contents(catalogue: Catalog) -> set[tuple[tuple[str, ...], tuple[str, ...]]]:
    """What it says: all forms of each sentence, whatever wrote the file."""
    return {(forms(message.id), forms(message.string)) for message in catalogue if message.id}


def forms(text: Any) -> tuple[str, ...]:
    """One form of a sentence that has no plural, and all of one that has."""
    return (text,) if isinstance(text, str) else tuple(text)


def updated(path: Path, today: list[tuple[Any, str, list[str]]]) -> Catalog:
    """The catalogue at ``path`` with all sentences of today and no others."""
    catalogue = read(path)
    # One for each language: a catalogue takes new sentences over as they are.
    template = Catalog(project=DOMAIN, creation_date=catalogue.creation_date)
    for message, name, comments in today:
        template.add(message, None, [(name, 0)], auto_comments=comments)
    catalogue.update(template, no_fuzzy_matching=False)
    catalogue.obsolete.clear()
    for message in catalogue if path.parent.parent.name == "en" else ():
        if message.id:
            message.string, message.flags = message.id, message.flags - {"fuzzy"}
    return catalogue


def as_po(catalogue: Catalog) -> bytes:
    """The text that a translator edits."""
    buffer = io.BytesIO()
    write_po(buffer, catalogue, width=100, sort_output=True, include_lineno=False)
    return buffer.getvalue()


def as_mo(catalogue: Catalog) -> bytes:
    """The form that is read at run time."""
    buffer = io.BytesIO()
    write_mo(buffer, catalogue)
    return buffer.getvalue()


def faults(catalogue: Catalog) -> Iterator[str]:
    """What a translator has to do."""
    for message in catalogue:
        if message.id and not message.pluralizable and not message.string:
            yield f"{catalogue.locale}: not translated: {message.id!r}"
        elif message.fuzzy and message.id:
            yield f"{catalogue.locale}: fuzzy: {message.id!r}"
        elif message.id:
            yield from placeholder_faults(catalogue, message)


def placeholder_faults(catalogue: Catalog, message: Message) -> Iterator[str]:
    """Forms that are missing, or that do not name the values that the sentence has."""
    plural = message.pluralizable
    singular = message.id[0] if plural else message.id
    written = forms(message.string)
    if plural and (len(written) != catalogue.num_plurals or not all(written)):
        yield f"{catalogue.locale}: forms are missing: {singular!r}"
    expected = {match[0] for match in PLACEHOLDER.finditer(singular)}
    for form in written:
        named = {match[0] for match in PLACEHOLDER.finditer(form)}
        # A form for one or two things need not name their number.
        if named != expected and not (plural and named == expected - {"%(count)s"}):
            yield f"{catalogue.locale}: {sorted(expected)} are not in {form!r}"


def main(arguments: list[str]) -> int:
    """Write or check every catalogue."""
    check, found = arguments == ["--check"], []
    today = words()
    for path in sorted(FOLDER.glob(f"*/LC_MESSAGES/{DOMAIN}.po")):
        catalogue = updated(path, today)
        found += faults(catalogue)
        compiled = path.with_suffix(".mo")
        if not check:
            path.write_bytes(as_po(catalogue))
            compiled.write_bytes(as_mo(catalogue))
        elif not contents(read(path)) == contents(read(compiled)) == contents(catalogue):
            found.append(f"{catalogue.locale}: out of date: run `make translations`")
    print("\n".join(found) or "every sentence is in every catalogue")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
