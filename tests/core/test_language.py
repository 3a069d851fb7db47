"""Which language a reader gets, of those there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.language import choose

AVAILABLE = ("ar", "de", "en", "fr", "pt-BR", "zh-Hant")

TABLE = [
    (["de"], "de"),
    (["DE"], "de"),
    (["de-AT"], "de"),
    (["de-CH-1996"], "de"),
    (["de_AT"], "de"),
    (["ar-EG"], "ar"),
    (["en-GB-oed"], "en"),
    (["pt-BR"], "pt-BR"),
    (["pt_br"], "pt-BR"),
    (["pt"], None),
    (["zh-Hant-TW"], "zh-Hant"),
    (["zh-Hans-CN"], None),
    (["it", "fr-CA", "de"], "fr"),
    ([None, "fr"], "fr"),
    (["", "fr"], "fr"),
    (["*", "fr"], "fr"),
    (["*"], None),
    (["it"], None),
    (["deutsch"], None),
    (["de-"], None),
    (["-de"], None),
    (["de;q=1"], None),
    (["d e"], None),
    (["<script>"], None),
    (["de\n"], None),
    (["dé"], None),
    (["de" + "-abcdefgh" * 200], None),
    ([], None),
]


@pytest.mark.parametrize(("wanted", "expected"), TABLE, ids=lambda value: str(value)[:30])
def test_choose(wanted: list[str | None], expected: str | None) -> None:
    """A tag finds itself or the nearest wider one; no tag and unknown ones find nothing."""
    assert expected == choose(wanted, AVAILABLE)


@given(st.lists(st.none() | st.text()))
def test_any_text(wanted: list[str | None]) -> None:
    """Whatever is wanted, the answer is a language that there is, or none."""
    assert choose(wanted, AVAILABLE) in {*AVAILABLE, None}
