"""Searches find the same on every database, page by page, and look at a bounded number of rows."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_courier.core.ids import first_id
from flask_courier.core.messages import Rendered
from flask_courier.core.search import Query, Term, parse, term
from flask_courier.core.search_values import Viewpoint
from flask_courier.core.status import Status
from flask_courier.storage import search
from flask_courier.storage.search import Found, Place
from flask_courier.storage.uow import Database
from tests.databases import every_database
from tests.queue_rows import add_content, ago, change, enqueue, row

pytestmark = every_database

NEWEST = Place()


def viewpoint() -> Viewpoint:
    """Somebody in UTC, now."""
    return Viewpoint(datetime.now(timezone.utc), timezone.utc, "Acme <no-reply@acme.example>")


def query(text: str) -> Query:
    """What a text asks for."""
    found = parse(text, viewpoint())
    assert not found.problems
    return found


def find(
    database: Database,
    text: str = "",
    place: Place = NEWEST,
    limit: int = 50,
    status: Term | None = None,
) -> Found:
    """A page of what a text finds."""
    asked = query(text)
    return database.transact(
        lambda session: search.find(session, asked, place=place, limit=limit, status=status)
    )


def found(database: Database, text: str) -> list[uuid.UUID]:
    """The ids that a text finds."""
    return list(find(database, text).ids)


# Pages


def walk(database: Database, text: str, limit: int) -> list[uuid.UUID]:
    """All that a text finds, page after page."""
    seen: list[uuid.UUID] = []
    place: Place | None = NEWEST
    while place is not None:
        page = find(database, text, place, limit)
        seen += page.ids
        ended = page.ids[-1] if page.more else page.searched_to
        place = None if ended is None else Place(ended)
    return seen


@pytest.mark.parametrize(
    "text", ["", "to:ada", "ada", "status:queued", "-status:sent", "kind:recovery"]
)
def test_pages_have_no_gap_and_no_repeat(database: Database, text: str) -> None:
    """Page after page shows every message once, newest first, whichever way the search goes."""
    queued = sorted((enqueue(database) for _ in range(11)), reverse=True)
    assert queued == walk(database, text, 3)


def test_new_messages_shift_no_page(database: Database) -> None:
    """What comes in meanwhile is on the newest page, and on no other."""
    queued = sorted((enqueue(database) for _ in range(4)), reverse=True)
    first = find(database, limit=2)
    enqueue(database)
    assert tuple(queued[2:]) == find(database, "", Place(first.ids[-1]), 2).ids


@pytest.mark.parametrize("text", ["", "to:ada", "recovery -nothing"])
def test_pages_go_back(database: Database, text: str) -> None:
    """The page before one is the page that led to it."""
    for _ in range(7):
        add_content(database, enqueue(database), Rendered("Your recovery", "text", None))
    first = find(database, text, limit=3)
    second = find(database, text, Place(first.ids[-1]), 3)
    back = find(database, text, Place(second.ids[0], newer=True), 3)
    assert (first.ids, False) == (back.ids, back.more)
    assert 3 == len(set(first.ids) | set(second.ids)) - 3


@pytest.fixture
def _small_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a search look at four messages, and find two of one address wherever they are."""
    monkeypatch.setattr(search, "WINDOW", 4)
    monkeypatch.setattr(search, "SPARSE_WINDOW", 4)
    monkeypatch.setattr(search, "PROBE", 2)


@pytest.mark.usefixtures("_small_window")
def test_search_says_how_far_it_came(database: Database) -> None:
    """Where the messages that were looked at do not fill the page, the search can go on there."""
    rare = enqueue(database, recipient="eve@example.com")
    others = sorted(enqueue(database) for _ in range(6))
    first = find(database, "eve")
    assert ((), others[-4]) == (first.ids, first.searched_to)
    second = find(database, "eve", Place(first.searched_to))
    assert ((rare,), None) == (second.ids, second.searched_to)


@pytest.mark.usefixtures("_small_window")
@pytest.mark.parametrize("text", ["to:eve@example.com", "eve@example.com", "to:eve", "to:EVE@ex*"])
def test_address_is_found_wherever_it_is(database: Database, text: str) -> None:
    """A whole address, and how one begins, is found however many messages are newer."""
    rare = [enqueue(database, recipient="Eve@Example.com") for _ in range(2)]
    for _ in range(6):
        enqueue(database)
    page = find(database, text)
    assert (tuple(sorted(rare, reverse=True)), None) == (page.ids, page.searched_to)


@pytest.mark.usefixtures("_small_window")
@pytest.mark.parametrize("text", ["to:ada", "to:ada@example.com", "status:queued", "-ferret"])
def test_every_window_is_looked_at(database: Database, text: str) -> None:
    """Where many messages match, page after page finds all of them."""
    queued = sorted((enqueue(database) for _ in range(11)), reverse=True)
    assert queued == walk(database, text, 3)


@pytest.mark.usefixtures("_small_window")
@pytest.mark.parametrize(
    "text", ["status:abandoned", "-status:sent", "status:attention", "error:full"]
)
def test_rare_statuses_are_found_wherever_they_are(database: Database, text: str) -> None:
    """What is looked for among statuses that few messages have is found behind all the others."""
    rare = enqueue(database)
    change(database, rare, status="abandoned", last_error="4.2.2 mailbox full")
    for _ in range(6):
        change(database, enqueue(database), status="sent")
    assert [rare] == found(database, text)


# Terms


@pytest.fixture
def ada(database: Database) -> uuid.UUID:
    """A message that failed, and one of everything else around it."""
    message_id = enqueue(database, recipient="Ada.Byron@Example.com", kind="email_change")
    add_content(database, message_id, Rendered("Ihre ÄNDERUNG, 100% sure", "text", None))
    change(
        database,
        message_id,
        status="abandoned",
        reason="retries_exhausted",
        attempts=3,
        last_code=452,
        last_error="4.2.2 Mailbox <Full>",
        message_id_header="<abc@mail.example>",
    )
    other = enqueue(database, recipient="bob@other.example")
    add_content(database, other, Rendered("Hello", "text", None))
    change(database, other, status="sent", last_code=250, attempts=1)
    return message_id


@pytest.mark.parametrize(
    "text",
    [
        "to:ada.byron@example.com", "to:ADA", "to:ada.byron@ex*", "to:@example.com",
        "to:@EXAMPLE.com", "ada.byron@example.com", "@example.com", "byron", "BYRON", "änderung",
        "ÄNDERUNG", "Änderung", '"100%"', "subject:sure", 'subject:"ihre ä"', "kind:email_change",
        'kind:"Email change"', "status:abandoned", "status:ABANDONED", "status:attention",
        "error:FULL", 'error:"<full>"', "error:exhausted", "code:452", "code:4xx", "code:4.2.2",
        "code:4.2", "msgid:abc@mail.example", "msgid:<abc@mail.example>", "attempts:3",
        "attempts:>2", "attempts:>=3", "attempts:<=3 -attempts:1", "from:acme byron", "-bob",
        "-to:bob", "-status:sent", "-code:250", "-to:@other.example", "after:-1h byron",
        "-before:-1h -hello", "to:ada status:abandoned error:full after:today byron",
    ],
)  # fmt: skip
def test_terms_that_match(database: Database, ada: uuid.UUID, text: str) -> None:
    """Each finds the message that failed, and not the other one."""
    assert [ada] == found(database, text)


@pytest.mark.parametrize(
    "text",
    [
        "to:byron", "to:ada@example.com", "to:@example", "to:ada_byron", "to:%", "byron hello",
        "subject:byron", "subject:_hre", '"100_"', "kind:email", "status:processing", "error:hello",
        "status:stuck", "code:45", "code:5xx", "code:4.2.22", "msgid:abc", "attempts:>3",
        "from:bob", "before:-1h", "after:2999-01-01", "-after:-1h",
        "status:sent status:abandoned",
    ],
)  # fmt: skip
def test_terms_that_do_not_match(database: Database, ada: uuid.UUID, text: str) -> None:
    """None of them finds the message that failed."""
    asked = parse(text, viewpoint())
    ids = () if asked.problems else find(database, text).ids
    assert ada not in ids


def test_id(database: Database) -> None:
    """A message is found by its id, with or without hyphens, and by how it begins."""
    wanted = enqueue(database)
    change(database, wanted, id=uuid.UUID("12345678-9abc-7def-8123-456789abcdef"))
    for text in ("id:12345678-9abc-7def-8123-456789abcdef", "id:123456789ABC7DEF", "id:1234"):
        assert 1 == len(found(database, text))
    assert [] == found(database, "id:1235")


@pytest.mark.parametrize(
    ("status", "times", "states"),
    [
        ("processing", {"lease_until": ago(minutes=5)}, {"stuck", "attention"}),
        ("processing", {"lease_until": ago(seconds=9)}, set()),
        ("queued", {"next_attempt_at": ago(minutes=5)}, {"overdue", "due", "attention"}),
        ("queued", {"next_attempt_at": ago(seconds=9), "attempts": 1}, {"due", "retrying"}),
        ("held", {}, {"attention"}),
        ("abandoned", {"created_at": ago(days=30)}, set()),
        ("sent", {}, set()),
    ],
)
def test_states(
    database: Database, status: str, times: dict[str, object], states: set[str]
) -> None:
    """States that are no statuses are told by the times of the row."""
    message_id = enqueue(database)
    change(database, message_id, status=status, **times)
    every = ["attention", "stuck", "overdue", "due", "retrying"]
    assert states == {name for name in every if found(database, f"status:{name}")}


def test_after_and_before(database: Database) -> None:
    """Times are bounds of ids: what was asked for at the first moment is in, at the last is not."""
    noon = datetime(2030, 1, 31, 12, tzinfo=timezone.utc)
    ids = []
    for minutes in (0, 30, 60):
        ids.append(first_id(noon + timedelta(minutes=minutes)))
        change(database, enqueue(database), id=ids[-1])
    asked = "after:2030-01-31T12:00 before:2030-01-31T13:00"
    assert [ids[1], ids[0]] == found(database, asked)


# Counts


def numbers(page: Found) -> dict[Status, int]:
    """How many a page counts of each status."""
    assert page.by_status is not None
    return dict(page.by_status)


@pytest.mark.parametrize("text", ["to:ada", "ada"])
def test_counts_are_of_the_search(database: Database, text: str) -> None:
    """What a search finds is counted by status."""
    for status in ("sent", "sent", "held"):
        change(database, enqueue(database), status=status)
    enqueue(database, recipient="bob@example.com")
    page = find(database, text)
    assert {Status.SENT: 2, Status.HELD: 1} == numbers(page)
    assert page.counts_all


def test_counts_of_a_narrowed_search(database: Database) -> None:
    """Where all that matches is known, a chosen status narrows the page and not the counts."""
    sent = enqueue(database)
    change(database, sent, status="sent")
    enqueue(database)
    page = find(database, "to:ada", status=term("status", "sent", viewpoint()))
    assert ((sent,), {Status.SENT: 1, Status.QUEUED: 1}) == (page.ids, numbers(page))


@pytest.mark.usefixtures("_small_window")
def test_counts_end_with_the_window(database: Database) -> None:
    """What was not looked at is not counted, and the page says so."""
    for _ in range(9):
        enqueue(database)
    page = find(database, "-bob")
    assert ({Status.QUEUED: 4}, False) == (numbers(page), page.counts_all)


def test_count(database: Database) -> None:
    """A count is of what matches, and exact where all was looked at."""
    enqueue(database)
    enqueue(database, recipient="bob@example.com")
    counted = database.transact(lambda session: search.count(session, query("bob")))
    assert (1, False) == (counted.number, counted.capped)


# Steps


def steps(database: Database, text: str, stride: int) -> list[Sequence[uuid.UUID]]:
    """What each step of an action finds."""
    asked, below = query(text), None
    seen: list[Sequence[uuid.UUID]] = []
    while True:
        ids, below = database.transact(
            lambda session, b=below: search.matching_ids(session, asked, below=b, stride=stride)  # type: ignore[misc]
        )
        seen.append(ids)
        if below is None:
            return seen


@pytest.mark.parametrize("text", ["", "ada", "to:ada", "to:ada@example.com", "status:queued"])
def test_steps_come_to_everything_once(database: Database, text: str) -> None:
    """Step by step every message that matches is named once."""
    queued = sorted((enqueue(database) for _ in range(7)), reverse=True)
    enqueue(database, recipient="zoe@example.com", kind="x")
    change(database, max(queued), status="queued")
    seen = [one for step in steps(database, text, 3) for one in step]
    assert queued == [one for one in seen if one in queued]
    assert len(set(seen)) == len(seen)


def test_nothing_can_match(database: Database) -> None:
    """Terms that exclude each other find nothing."""
    enqueue(database)
    page = find(database, "status:sent status:held")
    assert ((), False, None) == (page.ids, page.more, page.searched_to)
    assert [[]] == steps(database, "status:sent status:held", 5)


# Anything


@given(st.text(max_size=40))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_is_searched_for(database: Database, text: str) -> None:
    """Whatever is typed is searched for, or is a problem; the database never fails."""
    asked = parse(text, viewpoint())
    page = database.transact(lambda session: search.find(session, asked, place=NEWEST, limit=5))
    assert () == page.ids or row(database, page.ids[0]) is not None
