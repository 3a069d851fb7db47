"""The words of each language, and the catalogues that ship."""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from markupsafe import Markup

from flask_courier.catalogues import Catalogues, Words
from flask_courier.core.errors import SetupError
from tests.catalogue import LANGUAGES, catalogue, compiled, entries, put

ROOT = Path(__file__).parents[1]
FORMS = {"ar": 6, "de": 2, "en": 2, "es": 2, "fr": 2, "ja": 1}
MOMENT = datetime(2026, 11, 4, 9, 5, 33, tzinfo=timezone.utc)


def words(language: str) -> Words:
    """What ships for ``language``."""
    return Catalogues().words([language])


def test_catalogues_are_complete() -> None:
    """Every sentence in code and templates is in every catalogue: translated, sure, compiled."""
    command = [sys.executable, str(ROOT / ".ci/scripts/translations.py"), "--check"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (0, "every sentence is in every catalogue\n") == (run.returncode, run.stdout), run.stderr


def test_languages() -> None:
    """Six languages ship."""
    assert set(LANGUAGES) == set(Catalogues().languages)


@pytest.mark.parametrize("language", LANGUAGES)
def test_plural_forms(language: str) -> None:
    """A catalogue has as many forms of a plural as its language, all of them written."""
    found = {len(entry.forms) for entry in entries(language) if "%(count)s" in entry.written}
    assert ({FORMS[language]}, FORMS[language]) == (found, catalogue(language).num_plurals)


@pytest.mark.parametrize("language", LANGUAGES)
def test_compiled(language: str) -> None:
    """What is read at run time is what translators wrote."""
    own = compiled(language)
    singular = [entry for entry in entries(language) if "%(count)s" not in entry.written]
    assert [entry.forms[0] for entry in singular] == [own.gettext(e.written) for e in singular]


@pytest.mark.parametrize("language", sorted({*LANGUAGES} - {"en"}))
def test_no_english_left(language: str) -> None:
    """Hardly a sentence of another language reads as the English one."""
    same = {entry.written for entry in entries(language) if entry.forms[0] == entry.written}
    assert same <= {"%(count)s minute", "Error: %(title)s"}


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", ["30 minutes", "1 minute", "1 day", "7 days", "90 minutes", "45 seconds"]),
        ("de", ["30 Minuten", "1 Minute", "1 Tag", "7 Tage", "90 Minuten", "45 Sekunden"]),
        ("fr", ["30 minutes", "1 minute", "1 jour", "7 jours", "90 minutes", "45 secondes"]),
        ("es", ["30 minutos", "1 minuto", "1 día", "7 días", "90 minutos", "45 segundos"]),
        ("ja", ["30分間", "1分間", "1日間", "7日間", "90分間", "45秒間"]),
        ("ar", ["30 دقيقة", "دقيقة واحدة", "يوم واحد", "7 أيام", "90 دقيقة", "45 ثانية"]),
    ],
)
def test_spans(language: str, expected: list[str]) -> None:
    """A span is said in the longest unit that divides it, in the right form for the number."""
    spans = (
        timedelta(minutes=30),
        timedelta(minutes=1),
        timedelta(days=1),
        timedelta(days=7),
        timedelta(minutes=90),
        timedelta(seconds=45),
    )
    assert expected == [words(language).span(span) for span in spans]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (1, "يوم واحد"),
        (2, "يومين"),
        (3, "3 أيام"),
        (10, "10 أيام"),
        (11, "11 يومًا"),
        (99, "99 يومًا"),
        (100, "100 يوم"),
        (102, "102 يوم"),
        (103, "103 أيام"),
    ],
)
def test_arabic_numbers(days: int, expected: str) -> None:
    """What is counted in Arabic has a form of its own for one, two, a few, many and hundreds."""
    assert expected == words("ar").span(timedelta(days=days))


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        ("en", "4 November 2026, 09:05 UTC"),
        ("de", "4. November 2026, 09:05 Uhr UTC"),
        ("fr", "4 novembre 2026 à 09:05 UTC"),
        ("es", "4 de noviembre de 2026 a las 09:05 UTC"),
        ("ja", "2026年11月4日 09:05\uff08UTC\uff09"),
        ("ar", "4 نوفمبر 2026، الساعة 09:05 بالتوقيت العالمي (UTC)"),
    ],
)
def test_moments(language: str, expected: str) -> None:
    """A moment is said as the language writes dates, and names its time zone."""
    assert expected == words(language).moment(MOMENT)


@pytest.mark.parametrize("language", LANGUAGES)
def test_direction(language: str) -> None:
    """Arabic runs from right to left, the others from left to right."""
    assert ("rtl" if language == "ar" else "ltr") == words(language).direction


def test_value_is_escaped_beside_markup() -> None:
    """With markup among the values the sentence is markup, and what is none is escaped."""
    told = words("en").gettext(
        "Sent to %(address)s by %(site)s, %(public_url)s",
        address=Markup("<b>a</b>"),
        site="<i>",
        public_url='"',
    )
    assert Markup("Sent to <b>a</b> by &lt;i&gt;, &#34;") == told


def test_unknown_sentence_stays() -> None:
    """What no catalogue has stays as it is written, its values put in; so does nothing at all."""
    told = words("de").gettext("Pay %(sum)s", sum=3), words("de").gettext("")
    assert ("Pay 3", "") == told


def test_paragraph() -> None:
    """A paragraph is broken into lines of 72 columns before its values come in."""
    sentence = (
        "Somebody, probably you, gave this e-mail address to %(site)s. To confirm that it is "
    )
    told = words("en").paragraph(sentence + "yours, open this link:", site="Acme")
    assert (
        "Somebody, probably you, gave this e-mail address to Acme. To confirm\n"
        "that it is yours, open this link:"
    ) == told


def test_own_language(tmp_path: Path) -> None:
    """An application adds a language; what it leaves out is English."""
    put(tmp_path, "pt_BR", {"Continue": "Continuar"})
    own = Catalogues(tmp_path / "translations").words(["pt-BR"])
    assert ("pt-BR", "Continuar", "Go back", "4 de novembro de 2026, 09:05 UTC") == (
        own.language,
        own.gettext("Continue"),
        own.gettext("Go back"),
        own.moment(MOMENT),
    )


def test_own_words(tmp_path: Path) -> None:
    """An application has other words for a sentence; the rest is ours, and other sites keep all."""
    put(tmp_path, "de", {"Continue": "Nur zu"})
    own = Catalogues(tmp_path / "translations").words(["de"])
    assert ("Nur zu", "Zurück", "Weiter") == (
        own.gettext("Continue"),
        own.gettext("Go back"),
        words("de").gettext("Continue"),
    )


def test_language_without_dates(tmp_path: Path) -> None:
    """A language that Babel does not know has dates as English has them."""
    put(tmp_path, "en", {"Continue": "taH"})
    folder = tmp_path / "translations"
    (folder / "en").rename(folder / "tlh")
    own = Catalogues(folder).words(["tlh"])
    assert ("taH", "ltr", "4 November 2026, 09:05 UTC") == (
        own.gettext("Continue"),
        own.direction,
        own.moment(MOMENT),
    )


@pytest.mark.parametrize("content", [b"", b"\xde\x12\x04\x95", b"no catalogue at all"])
def test_broken_catalogue(tmp_path: Path, content: bytes) -> None:
    """A catalogue that cannot be read is named when the application is set up."""
    put(tmp_path, "it", {})
    path = tmp_path / "translations" / "it" / "LC_MESSAGES" / "flask_courier.mo"
    path.write_bytes(content)
    with pytest.raises(SetupError, match=r"it/LC_MESSAGES/flask_courier\.mo is no catalogue"):
        Catalogues(tmp_path / "translations")
