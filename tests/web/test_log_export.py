"""The export: what the filter matches, as CSV and as JSON lines, in batches."""

from __future__ import annotations

import csv
import gc
import io
import json
import logging
import re
import tracemalloc
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.ids import new_id
from flask_courier.web.log import export, representation
from tests.databases import every_database
from tests.delivery.mails import queue_own
from tests.observation import statements, update
from tests.site import Site

CSV, LINES = "/courier/export.csv", "/courier/export.jsonl"
FORMS = [CSV, LINES]
NOW = datetime(2030, 1, 31, tzinfo=timezone.utc)


@pytest.fixture
def open_site(site: Site) -> Site:
    """A site that lets everybody see its log."""
    site.courier.log_access(lambda _permission: True)
    return site


def copies(site: Site, count: int) -> None:
    """Store so many messages like the only one, each with an address of its own."""
    [like] = site.rows("courier_message")
    rows = [
        like
        | {"id": new_id(NOW + timedelta(seconds=n))}
        | dict.fromkeys(("recipient", "recipient_folded"), f"p{n}@example.com")
        for n in range(count)
    ]
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.execute(site.db.metadata.tables["courier_message"].insert(), rows)


def exported(site: Site, path: str) -> list[dict[str, Any]]:
    """The messages of an export."""
    text = site.client.get(path).text
    if ".csv" in path:
        return list(csv.DictReader(io.StringIO(text, newline="")))
    return [json.loads(line) for line in text.splitlines()]


# What is in it


@every_database
@pytest.mark.parametrize("path", FORMS)
def test_what_the_list_shows(open_site: Site, path: str) -> None:
    """An export has the messages of the list, in its order."""
    for name in ("ada", "bob", "eve"):
        queue_own(open_site, f"{name}@example.com")
    listed = open_site.client.get("/courier/", headers={"Accept": "application/json"}).get_json()
    assert [message["id"] for message in listed["messages"]] == [
        row["id"] for row in exported(open_site, path)
    ]


def test_json_lines_are_the_lists_messages(open_site: Site) -> None:
    """A JSON line is a message as the list's JSON has it."""
    queue_own(open_site)
    listed = open_site.client.get("/courier/", headers={"Accept": "application/json"}).get_json()
    assert listed["messages"] == exported(open_site, LINES)


def test_columns(open_site: Site) -> None:
    """The columns of the CSV are the fields of the JSON, in their order."""
    queue_own(open_site)
    [row], [line] = exported(open_site, CSV), exported(open_site, LINES)
    assert list(line) == list(row) == list(representation.FIELDS)


@pytest.mark.parametrize("path", FORMS)
def test_no_content(open_site: Site, path: str) -> None:
    """What a mail says is not exported."""
    queue_own(open_site, text="open sesame")
    open_site.deliver()
    assert "sesame" not in open_site.client.get(path).text


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "query", ["?q=bob", "?q=bob&n=1&after=00000000-0000-7000-8000-000000000000"]
)
def test_filter(open_site: Site, path: str, query: str) -> None:
    """What the filter leaves out is not exported; on which page of it one is does not matter."""
    for name in ("ada", "bob", "bobby"):
        queue_own(open_site, f"{name}@example.com")
    found = [row["recipient"] for row in exported(open_site, path + query)]
    assert ["bobby@example.com", "bob@example.com"] == found


def test_unreadable_filter(open_site: Site) -> None:
    """A filter that cannot be read is refused, and no file begins."""
    answer = open_site.client.get(f"{CSV}?status=moonlight")
    assert (400, "text/html") == (answer.status_code, answer.mimetype)


@pytest.mark.parametrize(
    ("path", "expected"), [(CSV, ",".join(representation.FIELDS) + "\r\n"), (LINES, "")]
)
def test_nothing_to_export(open_site: Site, path: str, expected: str) -> None:
    """Without a message the CSV has its header, and the JSON lines are none."""
    assert expected == open_site.client.get(path).text


@pytest.mark.parametrize(
    ("path", "mimetype", "name"),
    [(CSV, "text/csv", "messages.csv"), (LINES, "application/x-ndjson", "messages.jsonl")],
)
def test_headers(open_site: Site, path: str, mimetype: str, name: str) -> None:
    """A browser saves the file under a name, and keeps it out of its cache."""
    answer = open_site.client.get(path)
    assert (mimetype, f'attachment; filename="{name}"', "no-store") == (
        answer.mimetype,
        answer.headers["Content-Disposition"],
        answer.headers["Cache-Control"],
    )


# Who may


@pytest.mark.parametrize("path", FORMS)
def test_without_permission(site: Site, path: str) -> None:
    """Who may see the list, and not export, finds no export, and no link to one."""
    site.courier.log_access(lambda permission: permission != "export")
    queue_own(site)
    assert 404 == site.client.get(path).status_code
    assert "export" not in site.client.get("/courier/").text


def test_list_links_to_the_export_of_its_filter(open_site: Site) -> None:
    """The links on the list export what it shows."""
    queue_own(open_site)
    page = open_site.client.get("/courier/?status=queued&q=ada").text
    assert 'href="/courier/export.csv?status=queued&amp;q=ada"' in page
    assert 'href="/courier/export.jsonl?status=queued&amp;q=ada"' in page


def test_export_is_recorded(open_site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Who exported how much is logged, without the addresses of the filter."""
    queue_own(open_site)
    with caplog.at_level(logging.INFO, "flask_courier.log"):
        exported(open_site, f"{CSV}?q=ada")
    assert ["web exported 1 messages as csv"] == caplog.messages


# Batches


@every_database
@pytest.mark.parametrize("extra", [-1, 0, 1])
def test_every_message_once(open_site: Site, extra: int) -> None:
    """At the borders of batches nothing is left out and nothing comes twice."""
    queue_own(open_site)
    count = 2 * export.BATCH + extra
    copies(open_site, count - 1)
    found = [row["id"] for row in exported(open_site, LINES)]
    assert (count, count) == (len(found), len(set(found)))


def test_header_stands_once(open_site: Site) -> None:
    """The header stands above the first batch alone."""
    queue_own(open_site)
    copies(open_site, export.BATCH)
    assert 1 == len(re.findall("^id,", open_site.client.get(CSV).text, re.MULTILINE))


def test_batches_are_read_as_they_are_sent(open_site: Site) -> None:
    """A client that stops reading stops the reading of the database."""
    queue_own(open_site)
    copies(open_site, 4 * export.BATCH)
    with statements(open_site) as seen:
        answer = open_site.client.get(LINES, buffered=False)
        parts = answer.iter_encoded()
        next(parts)
        each = len(seen)
        next(parts)
        assert (2, 4) == (each, len(seen))
        answer.close()


def test_what_broke_off_is_recorded(open_site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Of an export that was not read to its end is logged how much went out."""
    queue_own(open_site)
    copies(open_site, 4 * export.BATCH)
    with caplog.at_level(logging.INFO, "flask_courier.log"):
        answer = open_site.client.get(LINES, buffered=False)
        next(answer.iter_encoded())
        answer.close()
    assert ["web exported 500 messages as jsonl, and then it broke off"] == caplog.messages


def peak(site: Site) -> int:
    """Bytes of memory that an export takes at its height, beyond what there was before."""
    answer = site.client.get(LINES, buffered=False)
    parts: Iterator[bytes] = answer.iter_encoded()
    next(parts)
    # When cycles are collected differs between versions of Python; what is held does not. Only what
    # the export makes is looked through.
    gc.freeze()
    tracemalloc.start()
    try:
        for _ in parts:
            gc.collect()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        gc.unfreeze()
        answer.close()


def test_memory_is_that_of_a_batch(open_site: Site) -> None:
    """Ten times as many messages take no more memory."""
    queue_own(open_site)
    copies(open_site, 2 * export.BATCH)
    peak(open_site)
    few = peak(open_site)
    update(open_site, "courier_message", status="sent")
    with open_site.app.app_context(), open_site.db.engine.begin() as connection:
        table = open_site.db.metadata.tables["courier_message"]
        connection.execute(table.delete().where(table.c.recipient != "ada@example.com"))
    copies(open_site, 20 * export.BATCH)
    assert peak(open_site) < 1.5 * few


# Cells


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r", "\n", "\0", "\uff1d"])
def test_formula_is_no_formula(first: str) -> None:
    """A cell that a spreadsheet would calculate begins with an apostrophe (ASVS 1.2.10)."""
    assert f"'{first}1+1" == cell(f"{first}1+1")


def test_other_text_is_left_alone() -> None:
    """What no spreadsheet calculates stays as it is, and numbers stay numbers."""
    assert ("a=1", "", -5) == (cell("a=1"), cell(""), export._cell(-5))
    assert "a;b\r\n\tc" == cell("a;b\r\n\tc")


@pytest.mark.parametrize("break_", [";", "\t", "\r", "\n"])
def test_formula_behind_another_separator(break_: str) -> None:
    """Where a spreadsheet splits at semicolons, the rest of a cell is no formula either."""
    assert f"2.0.0 ok{break_}'=1+1" == cell(f"2.0.0 ok{break_}=1+1")


def test_formula_in_a_subject(open_site: Site) -> None:
    """The subject of a mail cannot become a formula in the file."""
    queue_own(open_site, subject="=HYPERLINK(1)")
    open_site.deliver()
    [row] = exported(open_site, CSV)
    assert "'=HYPERLINK(1)" == row["subject"]


def cell(value: str) -> str:
    """``value`` as a cell."""
    answer: str = export._cell(value)
    return answer


# A reader of Python 3.10 knows no NUL; lone surrogates cannot be encoded and are replaced.
TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))


@given(st.lists(TEXT, min_size=1, max_size=5))
def test_csv_is_read_as_it_was_written(texts: list[str]) -> None:
    """Whatever a cell holds, RFC 4180 readers get it back, one row for each message."""
    blank = dict.fromkeys(representation.FIELDS)
    rows = [blank | {"subject": text} for text in texts]
    written = export.to_csv(rows, first=True)
    found = list(csv.DictReader(io.StringIO(written, newline="")))
    assert [cell(text) for text in texts] == [row["subject"] for row in found]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@given(texts=st.lists(TEXT | st.text(';\t"=,a\n'), min_size=1, max_size=5))
def test_no_cell_begins_a_formula(separator: str, texts: list[str]) -> None:
    """No cell begins with what a spreadsheet calculates, whatever it takes for the separator."""
    rows = [dict.fromkeys(representation.FIELDS) | {"subject": text} for text in texts]
    written = io.StringIO(export.to_csv(rows, first=False), newline="")
    cells = [text for row in csv.reader(written, delimiter=separator) for text in row]
    assert [] == [text for text in cells if text.startswith(("=", "+", "-", "@"))]
