"""The search of the log as text: terms, problems, and what each value may be."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_courier.core.search import MOST_CHARACTERS, MOST_TERMS, Query, parse, term
from flask_courier.core.search_meanings import Ids, Part, To, Word
from flask_courier.core.search_plan import plan
from flask_courier.core.search_values import READERS, Misread, Viewpoint
from flask_courier.core.status import Status

NOW = datetime(2026, 11, 29, 12, 30, tzinfo=timezone.utc)
BERLIN = Viewpoint(NOW, ZoneInfo("Europe/Berlin"), "Acme <no-reply@acme.example>")


def read(text: str) -> Query:
    """What the text asks for."""
    return parse(text, BERLIN)


def terms(text: str) -> list[tuple[str, str, bool]]:
    """Operator, text and whether it is negated, of each term."""
    found = read(text)
    assert () == found.problems
    return [(one.operator, one.text, one.negated) for one in found.terms]


def problem(text: str) -> tuple[str, str]:
    """The only problem of a text."""
    [found] = read(text).problems
    return found.term, found.words


def since(text: str) -> datetime:
    """The moment that an ``after:`` means."""
    [found] = read(f"after:{text}").terms
    assert isinstance(found.meaning, Ids)
    milliseconds = found.meaning.lowest.int >> 80
    return datetime.fromtimestamp(milliseconds / 1000, timezone.utc)


# Terms


def test_terms() -> None:
    """Words, operators, negations and quotes are told apart."""
    asked = 'to:ada STATUS:sent -subject:"weekly  \\"report\\"" "a b" -c'
    assert [
        ("to", "ada", False),
        ("status", "sent", False),
        ("subject", 'weekly  "report"', True),
        ("", "a b", False),
        ("", "c", True),
    ] == terms(asked)


@pytest.mark.parametrize("text", ["", " \t\n", "\0\x1f"])
def test_nothing(text: str) -> None:
    """Blanks and what no field holds ask for nothing."""
    assert Query() == read(text)


@pytest.mark.parametrize("text", ["12:30", '5"', "a-b", ":x", "é:x", "100%"])
def test_words_that_look_like_operators(text: str) -> None:
    """What begins with no letters before a colon is a word."""
    assert [("", text, False)] == terms(text)


def test_quotes_take_everything_literally() -> None:
    """In quotes an address is text and a colon is a colon."""
    assert [("", "to:ada", False)] == terms('"to:ada"')
    [word] = read('"ada@example.com"').terms
    assert Word("ada@example.com") == word.meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("to:Ada", To("ada", Part.BEGINNING)),
        ("to:Ada@Example.com", To("ada@example.com", Part.WHOLE)),
        ("to:ada@example.co*", To("ada@example.co", Part.BEGINNING)),
        ("to:@Example.com", To("@example.com", Part.DOMAIN)),
        ("to:ÅDA@bücher.example", To("åda@xn--bcher-kva.example", Part.WHOLE)),
        ("to:@bücher.example", To("@xn--bcher-kva.example", Part.DOMAIN)),
        ("Ada@Example.com", To("ada@example.com", Part.WHOLE)),
        ("@example.com", To("@example.com", Part.DOMAIN)),
        ("ada@exam", Word("ada@exam")),
        ("@exam", Word("@exam")),
        ("STRASSE", Word("strasse")),
        ("Straße", Word("strasse")),
    ],
)
def test_addresses_and_words(text: str, meaning: object) -> None:
    """Whole addresses, beginnings, domains and words are told apart, and folded."""
    assert [meaning] == [found.meaning for found in read(text).terms]


# Times


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("today", "2026-11-28T23:00:00+00:00"),
        ("YESTERDAY", "2026-11-27T23:00:00+00:00"),
        ("-30m", "2026-11-29T12:00:00+00:00"),
        ("-2h", "2026-11-29T10:30:00+00:00"),
        ("-7d", "2026-11-22T12:30:00+00:00"),
        ("-1w", "2026-11-22T12:30:00+00:00"),
        ("2026-07-01", "2026-06-30T22:00:00+00:00"),
        ("2026-11-29T14:30", "2026-11-29T13:30:00+00:00"),
        ('"2026-11-29 14:30:15"', "2026-11-29T13:30:15+00:00"),
        ("2026-11-29T14:30:15Z", "2026-11-29T14:30:15+00:00"),
        ("2026-11-29t14:30:15+09:00", "2026-11-29T05:30:15+00:00"),
        ("0001-01-02", "1970-01-01T00:00:00+00:00"),
    ],
)
def test_times(text: str, moment: str) -> None:
    """Times are the reader's, relative to now or absolute."""
    assert datetime.fromisoformat(moment) == since(text)


def test_yesterday_over_a_change_of_clocks() -> None:
    """Yesterday begins at its midnight, however long the day was."""
    after_change = datetime(2026, 10, 26, 12, tzinfo=timezone.utc)
    [found] = parse("after:yesterday", Viewpoint(after_change, BERLIN.zone, "")).terms
    assert Ids.since(datetime(2026, 10, 24, 22, tzinfo=timezone.utc)) == found.meaning


@pytest.mark.parametrize(
    "text",
    ["soon", "2026-13-01", "2026-1-1", "-7", "-7y", "7d", "-123456d", "0001-01-01", "-", "24:00"],
)
def test_no_times(text: str) -> None:
    """What is no time is a problem that says how one is written."""
    assert f"{text!r} is no time: write today, yesterday, -2h" in problem(f"after:{text}")[1]


# Problems


@pytest.mark.parametrize(
    ("text", "named", "words"),
    [
        ("foo:x", "foo:x", "There is no foo: here. Operators are to: from:"),
        ("staus:sent", "staus:sent", "Did you mean status:?"),
        ("Re:invoice", "Re:invoice", "put quotes around text that has a colon"),
        ("status:lost", "status:lost", "it is queued, processing, sent,"),
        ('to:"', 'to:"', "A quotation mark is open"),
        ("to:", "to:", "There is nothing to look for after to: here"),
        ("-", "-", "There is nothing to look for here"),
        ('""', '""', "There is nothing to look for here"),
        ("to:@", "to:@", "Write the domain after @"),
        ("code:600", "code:600", "A code is 550, 4xx, 5.1.1 or 5.7"),
        ("attempts:>", "attempts:>", "attempts: takes a number"),
        ("id:12", "id:12", "An id is as a message's page shows it"),
        ("x" * (MOST_CHARACTERS + 1), "", f"at most {MOST_CHARACTERS} characters"),
        ("x " * (MOST_TERMS + 1), "", f"at most {MOST_TERMS} terms"),
    ],
)
def test_problems(text: str, named: str, words: str) -> None:
    """A problem names what was typed and says what to write instead."""
    assert (named, True) == (problem(text)[0], words in problem(text)[1])


def test_other_terms_are_read_beside_a_problem() -> None:
    """Every problem is told at once, and nothing that was understood is lost."""
    found = read("foo:x ada code:oops")
    assert (["ada"], ["foo:x", "code:oops"]) == (
        [one.text for one in found.terms],
        [one.term for one in found.problems],
    )


def test_term_that_nobody_typed() -> None:
    """A term of a program is printed so that it is read as the same."""
    made = term("kind", "email change", BERLIN)
    assert Query((made,)) == read(str(made))
    with pytest.raises(Misread):
        term("status", "lost", BERLIN)


# Plans


@pytest.mark.parametrize(
    ("text", "exact"),
    [
        ("", True), ("to:ada@example.com", True), ("msgid:x", True), ("status:sent", True),
        ("-status:sent", True), ("after:-1h before:today", True), ("id:1234", True),
        ("to:ada", False), ("ada", False), ("status:stuck", False), ("-after:-1h", False),
        ("-status:queued", False), ("to:ada@example.com status:sent", False), ("code:550", False),
        ("to:a@b.example to:c@d.example", False), ("kind:recovery", False),
    ],
)  # fmt: skip
def test_what_an_index_answers_alone(text: str, *, exact: bool) -> None:
    """A plan knows whether every row that it comes by matches."""
    assert exact == plan(read(text)).is_exact


@pytest.mark.parametrize(
    ("text", "statuses"),
    [
        ("status:sent -status:held", {"sent"}),
        ("error:x", set(Status) - {"sent"}),
        ("code:5xx status:queued", {"queued"}),
        ("code:250", set(Status)),
        ("-code:550", set(Status)),
        ("status:attention -status:queued", {"processing", "abandoned", "held"}),
        ("status:sent status:held", set()),
    ],
)
def test_statuses_of_a_plan(text: str, statuses: set[str]) -> None:
    """Terms narrow the statuses that are looked at, some without naming one."""
    assert statuses == {status.value for status in plan(read(text)).statuses}


# Anything


VALUES = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        [
            "today", "-2h", "2026-11-02", "0001-01-01", "9999-12-31T23:59:59-12:00", ">2", "550",
            "5xx", "5.1.1", "@a.b", "a@b.c", "a*", "-99999w", "stuck", "sent", "\ud800", "ﷺ@ﷺ.ﷺ",
        ]
    ),
)  # fmt: skip
TERMS = st.builds(
    lambda minus, operator, quotes, value: f"{minus}{operator}{quotes}{value}{quotes}",
    st.sampled_from(["", "-", "--"]),
    st.sampled_from(["", "foo:", *(f"{name}:" for name in READERS)]),
    st.sampled_from(["", '"']),
    VALUES,
)
TEXTS = st.one_of(st.text(max_size=220), st.lists(TERMS, max_size=12).map(" ".join))


@given(TEXTS)
@example('to:"\\')
def test_any_text_is_terms_or_problems(text: str) -> None:
    """Whatever is typed is understood or explained, and nothing of it is lost in silence."""
    found = read(text)
    visible = [
        letter for letter in text if not letter.isspace() and letter >= " " and letter != "\x7f"
    ]
    assert bool(visible) == bool(found.terms or found.problems)
    assert plan(found).lowest.int >= 0


@given(TEXTS)
def test_what_is_printed_is_read_as_the_same(text: str) -> None:
    """Terms are printed so that they are read again as they were."""
    found = Query(read(text).terms)
    again = read(str(found))
    assert found == again or len(str(found)) > MOST_CHARACTERS or len(found.terms) > MOST_TERMS


@given(st.datetimes(timezones=st.just(timezone.utc), min_value=datetime(1971, 1, 1)))  # noqa: DTZ001
def test_before_is_not_after(moment: datetime) -> None:
    """Every id is before a moment or after it, and none is both."""
    earlier, later = Ids.until(moment), Ids.since(moment)
    assert earlier.highest.int + 1 == later.lowest.int
    assert timedelta(0) <= moment - NOW or earlier.highest < Ids.since(NOW).lowest
