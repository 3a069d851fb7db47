"""Every cause is explained in plain words."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from flask_courier.core.cause import Cause, Side
from flask_courier.core.causes import CAUSES, OWN_CAUSES
from flask_courier.core.config_keys import KEYS
from flask_courier.core.reply_table import ROWS

EACH = pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES.keys())


def test_table_and_causes_agree() -> None:
    """Every row's cause is explained, and nothing else but what workers name themselves."""
    assert {row.cause for row in ROWS} | OWN_CAUSES == set(CAUSES)


def test_own_causes_are_in_no_row() -> None:
    """What a worker names itself is nothing that a server's answer can mean."""
    assert {"worker_stopped"} == OWN_CAUSES
    assert not OWN_CAUSES & {row.cause for row in ROWS}


@pytest.mark.parametrize("word", CAUSES)
def test_words_fit_the_column(word: str) -> None:
    """A cause is a snake_case word of at most 48 characters."""
    assert re.fullmatch(r"[a-z][a-z0-9_]{0,47}", word)


@EACH
def test_meaning_is_one_short_sentence(cause: Cause) -> None:
    """It fits a line or two of the page."""
    assert re.fullmatch(r"[A-Z].{9,98}\.", cause.meaning)


@EACH
def test_advice_is_short(cause: Cause) -> None:
    """It says what to do, in a sentence or two."""
    assert re.fullmatch(r"[A-Z].{9,138}\.", cause.advice)


@EACH
def test_no_address(cause: Cause) -> None:
    """Nothing that reads as an e-mail address stands in it."""
    assert not re.search(r"\S@\S", cause.meaning + " " + cause.advice)


@EACH
def test_side_is_known(cause: Cause) -> None:
    """Somebody can do something about it."""
    assert cause.side in set(get_args(Side))


def test_settings_exist() -> None:
    """Advice names only settings there are."""
    named = {
        key for cause in CAUSES.values() for key in re.findall(r"COURIER_[A-Z_]+", cause.advice)
    }
    assert named
    assert named <= {key.name for key in KEYS}
