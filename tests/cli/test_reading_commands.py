"""``flask courier list``, ``show``, ``stats`` and ``purge``."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.cli.commands import NOBODY, queue, run, run_json
from tests.delivery.mails import queue_own, queue_recovery
from tests.observation import update
from tests.scripted_smtp import scripted_smtp
from tests.site import Site


def listed(site: Site, *options: object) -> list[str]:
    """The ids that ``list`` names."""
    return [message["id"] for message in run_json(site, "list", *options)[1]]


def test_list_is_newest_first(site: Site) -> None:
    """The newest message is the first line below the header."""
    older, newer = queue(site), queue(site, "bob@example.com")
    code, output = run(site, "list")
    header, first, second = output.splitlines()
    assert (0, "id ") == (code, header[:3])
    assert first.startswith(str(newer))
    assert second.startswith(str(older))
    assert all(word in first for word in ("queued", "own/m", "bob@example.com"))


def test_list_filters(site: Site) -> None:
    """Status, address, kind, number and place narrow the list, alone and together."""
    ada, bob = queue(site), queue(site, "bob@example.com")
    queue_recovery(site)
    [recovery, *_] = listed(site)
    assert [recovery, str(ada)] == listed(site, "--to", "ada@")
    assert [str(bob), str(ada)] == listed(site, "--kind", "own/m")
    assert [recovery] == listed(site, "--limit", 1)
    assert [str(ada)] == listed(site, "--before", bob)
    assert [str(bob)] == listed(site, "--status", "queued", "--kind", "own/m", "--limit", 1)


def test_list_of_nothing(site: Site) -> None:
    """No match ends with 1, and JSON is an empty array all the same."""
    assert (1, "no messages\n") == run(site, "list", "--to", "eve@")
    assert (1, []) == run_json(site, "list")


@pytest.mark.parametrize(
    "options", [("--status", "lost"), ("--limit", "0"), ("--before", "x"), ("--colour",)]
)
def test_list_with_wrong_options(site: Site, options: tuple[str, ...]) -> None:
    """What cannot be understood ends with 2."""
    assert 2 == run(site, "list", *options)[0]


def test_list_shows_wide_and_hostile_text_in_its_columns(site: Site) -> None:
    """A kind with wide characters keeps the columns; an escape never reaches the terminal."""
    queue(site)
    update(site, "courier_message", kind="日本\x1b[31m", reason=None)
    output = run(site, "list")[1]
    assert "日本\N{REPLACEMENT CHARACTER}[31m" in output
    assert "\x1b" not in output


def refused(sites: Any) -> tuple[Site, uuid.UUID]:
    """A site, and its message that a server has refused."""
    with scripted_smtp(RCPT="550 5.1.1 no such user") as server:
        site: Site = sites(COURIER_SMTP_URI=server.uri)
        queue_own(site)
        site.deliver()
    [row] = site.rows("courier_message")
    return site, row["id"]


def test_show(sites: Any) -> None:
    """One page tells the message, its attempts with the server's words, and its text."""
    site, message_id = refused(sites)
    code, output = run(site, "show", message_id)
    assert 0 == code
    lines = [line.split() for line in output.splitlines()]
    assert ["status", "abandoned"] in lines
    assert "attempt 1: rejected at rcpt" in output
    assert ["enhanced_code", "5.1.1"] in lines
    assert any(line[:1] == ["cause"] for line in lines)
    assert "  | 5.1.1 no such user" in output
    assert "Subject: Hello" in output
    assert output.rstrip().endswith("hello Ada")


def test_show_as_json(sites: Any) -> None:
    """JSON has what the delivery log's own JSON has, without its words, and the bare events."""
    site, message_id = refused(sites)
    _, shown = run_json(site, "show", message_id)
    site.courier.log_access(lambda _permission: True)
    path = f"/courier/messages/{message_id}"
    page = site.client.get(path, headers={"Accept": "application/json"}).get_json()
    assert set(shown) - {"events"} < set(page)
    assert page["content"] == shown["content"]
    [attempt] = shown["dispatches"]
    assert ("rcpt", "rejected", 550) == (attempt["phase"], attempt["outcome"], attempt["code"])


def test_show_of_nothing(site: Site) -> None:
    """An id that no message has ends with 1 and a sentence."""
    assert (1, f"flask courier: there is no message {NOBODY}\n") == run(site, "show", NOBODY)


def test_show_obeys_no_escape(site: Site) -> None:
    """A subject or a text that would move the cursor is shown harmless."""
    queue_own(site, subject="a\x1b[2Jb", text="c\x1b]0;d\x07e")
    site.deliver()
    [row] = site.rows("courier_message")
    output = run(site, "show", row["id"])[1]
    assert "\x1b" not in output
    assert "a\N{REPLACEMENT CHARACTER}[2Jb" in output


def test_stats(sites: Any) -> None:
    """Counts, lanes, outcomes and workers are told."""
    site, _ = refused(sites)
    queue(site)
    code, output = run(site, "stats")
    rows = [line.split() for line in output.splitlines()]
    assert 0 == code
    assert ["abandoned", "1"] in rows
    assert ["rejected", "1", "1"] in rows
    assert "waiting: 0 account, 1 notice; the oldest due one for" in output


def test_stats_as_json(site: Site) -> None:
    """Every figure has its name, and a span is a number of seconds."""
    queue(site)
    code, figures = run_json(site, "stats")
    assert 0 == code
    assert {"account": 0, "notice": 1} == figures["waiting"]
    assert (1, 0) == (figures["messages"]["queued"], figures["last_day"]["accepted"])
    assert 0 <= figures["oldest_due"] < 60
    assert ([], []) == (figures["transports"], figures["workers"])


def aged(site: Site, count: int, days: int) -> None:
    """So many sent messages, as old as that."""
    from datetime import timedelta

    from flask_courier.core.clock import utc_now
    from flask_courier.core.ids import new_id

    then = utc_now() - timedelta(days=days)
    queue(site)
    [row] = [row for row in site.rows("courier_message") if row["status"] == "queued"]
    table, contents = (
        site.db.metadata.tables[name] for name in ("courier_message", "courier_content")
    )
    ids = [new_id(then) for _ in range(count)]
    with site.app.app_context():
        session = site.db.session
        session.execute(table.insert(), [{**row, "id": one, "status": "sent"} for one in ids])
        texts = [{"message_id": one, "subject": "s", "text": "t"} for one in ids]
        session.execute(contents.insert(), texts)
        session.execute(table.delete().where(table.c.id == row["id"]))
        session.commit()


def test_purge_goes_to_the_end(site: Site) -> None:
    """More than one batch of old messages is gone afterwards; young ones stay."""
    aged(site, 1200, days=91)
    aged(site, 3, days=8)
    aged(site, 2, days=1)
    assert (0, {"contents": 1203, "messages": 1200}) == run_json(site, "purge")
    assert 5 == len(site.rows("courier_message"))
    assert 2 == len(site.rows("courier_content"))


def test_purge_of_nothing(site: Site) -> None:
    """Nothing to do is done."""
    queue(site)
    assert (0, "0 messages and 0 contents deleted\n") == run(site, "purge")


def test_purge_of_what_is_older_than_asked(site: Site) -> None:
    """``--older-than`` takes the place of what is configured, for messages and contents."""
    aged(site, 2, days=3)
    aged(site, 1, days=1)
    code, output = run(site, "purge", "--older-than", "2")
    assert (0, "2 messages and 2 contents deleted\n") == (code, output)


def test_json_is_one_document(site: Site) -> None:
    """What ``--json`` prints is JSON as a whole, also text that is not ASCII."""
    queue(site, "ädä@example.com")
    assert "ädä@example.com" in run(site, "list", "--json")[1]
    assert isinstance(json.loads(run(site, "list", "--json")[1]), list)
