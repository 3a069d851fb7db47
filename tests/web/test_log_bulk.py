"""Many messages at once: what is offered, what is done, what is left out and why."""

from __future__ import annotations

import html
import re
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from werkzeug.test import TestResponse

from flask_courier.core.actions import Action
from flask_courier.core.ids import new_id
from flask_courier.web.log.selection import MOST
from tests.databases import every_database
from tests.delivery.mails import queue_own
from tests.observation import dump, statements
from tests.site import Site

BULK = "/courier/bulk"
JSON = {"Accept": "application/json"}
NOW = datetime(2020, 1, 31, tzinfo=timezone.utc)
NOBODY = uuid.UUID(int=7)
#: A message in each of these.
STATUSES = ("queued", "processing", "sent", "abandoned", "held")


@pytest.fixture
def site(site: Site) -> Site:
    """A site that lets everybody act, with a message in each status, newest last."""
    site.courier.log_access(lambda _permission: True)
    queue_own(site)
    site.deliver()
    fill(site, STATUSES)
    return site


def fill(site: Site, statuses: tuple[str, ...]) -> None:
    """Have messages like the first one, in these statuses, and no other."""
    like = site.rows("courier_message")[0]
    rows = [
        like
        | {
            "id": new_id(NOW + timedelta(seconds=n)),
            "recipient": f"p{n}@example.com",
            "status": status,
            "reason": "retries_exhausted" if status == "abandoned" else None,
        }
        for n, status in enumerate(statuses)
    ]
    with site.app.app_context(), site.db.engine.begin() as connection:
        tables = site.db.metadata.tables
        connection.execute(tables["courier_message"].delete())
        connection.execute(tables["courier_message"].insert(), rows)


def ids(site: Site, *statuses: str) -> list[str]:
    """The ids of the messages in these statuses, oldest first."""
    rows = sorted(site.rows("courier_message"), key=lambda row: row["id"])
    return [str(row["id"]) for row in rows if row["status"] in (statuses or STATUSES)]


def token(site: Site) -> str:
    """The form token that the list has."""
    found = re.search(
        r'action="/courier/bulk.*?name="form_token" value="([^"]+)"',
        site.client.get("/courier/").text,
        re.DOTALL,
    )
    assert found is not None
    return found[1]


def send(site: Site, path: str = BULK, **fields: Any) -> TestResponse:
    """Send the form of the list, or of the question."""
    return site.client.post(path, data={"form_token": token(site), **fields})


def buttons(page: str) -> list[tuple[str, bool]]:
    """What the buttons of the question say, and whether they can be pressed."""
    found = re.findall(
        r'<button type="submit" name="action"[^>]*?( disabled)?>([^<]+)</button>', page
    )
    return [(words, not disabled) for disabled, words in found]


# What is offered


@every_database
def test_question_for_a_filter(site: Site) -> None:
    """For all that the list finds, each button names with how many it can be done."""
    assert [
        ("Retry 2 messages", True),
        ("Take back 1 message", True),
        ("Resend 3 messages", True),
        ("Delete content of 0 messages", False),
    ] == buttons(site.client.get(BULK).text)


def test_question_for_the_chosen(site: Site) -> None:
    """For what was chosen in the list too, with why not for the others."""
    answer = send(site, id=ids(site, "held", "processing"))
    assert (200, [("Retry 1 message", True), ("Take back 0 messages", False)]) == (
        answer.status_code,
        buttons(answer.text)[:2],
    )
    assert "What is to be done with 2 messages?" in answer.text
    assert "Not with 1: it still waits or is being sent." in answer.text


def test_question_does_nothing(site: Site) -> None:
    """To be asked changes nothing."""
    before = dump(site)
    send(site, id=ids(site))
    send(site, all="1")
    site.client.get(BULK)
    assert before == dump(site)


def test_question_as_json(site: Site) -> None:
    """A program can ask, too."""
    assert {
        "matching": 5,
        "more": False,
        "possible": {"retry": 2, "cancel": 1, "resend": 3, "delete-content": 0},
    } == site.client.get(BULK, headers=JSON).get_json()


def test_question_keeps_the_filter(site: Site) -> None:
    """What the list was narrowed to is what the question is about, and leads back to it."""
    page = site.client.get(f"{BULK}?status=held").text
    assert "What is to be done with 1 message?" in page
    assert f'action="{BULK}?status=held&amp;below=' in page
    assert 'href="/courier/?status=held"' in page


def test_list_leads_to_it(site: Site) -> None:
    """The list has a box for each message, and leads to the question about all that it finds."""
    page = site.client.get("/courier/?status=held").text
    assert f'action="{BULK}?status=held"' in page
    assert f'href="{BULK}?status=held"' in page
    assert ids(site, "held") == [
        str(uuid.UUID(one)) for one in re.findall(r'name="id" value="([^"]+)"', page)
    ]


@every_database
def test_statements(site: Site) -> None:
    """The question takes few statements, however many messages it is about."""
    with statements(site) as seen:
        site.client.get(BULK)
    assert len([one for one in seen if one.startswith("SELECT")]) <= 6


# What is done


@every_database
def test_chosen(site: Site) -> None:
    """Each message that was chosen is told: done, or left out and why."""
    page = html.unescape(send(site, id=ids(site), action="retry").text)
    assert "Retry now: 2 done, 3 not" in page
    assert 2 == page.count("it neither waits, nor was it given up, nor is it held")
    assert "it is due already" in page
    assert 3 == len(ids(site, "queued"))
    assert ["web"] * 2 == [event["actor"] for event in site.rows("courier_event")]


@every_database
@pytest.mark.parametrize(
    ("action", "expected"), [("retry", 2), ("cancel", 1), ("resend", 3), ("delete-content", 0)]
)
def test_filter(site: Site, action: str, expected: int) -> None:
    """All that the filter finds when it is pressed is acted on, where that is possible."""
    answer = site.client.post(BULK, json={"action": action, "all": True}).get_json()
    assert (expected, 5 - expected) == (answer["done"], answer["skipped"])
    assert expected == len(site.rows("courier_event"))


def test_filter_is_read_again(site: Site) -> None:
    """What matches when the button is pressed counts, and not what matched when it was drawn."""
    form = {"form_token": token(site), "all": "1", "action": "cancel"}
    fill(site, ("queued", "queued", "sent"))
    page = site.client.post(f"{BULK}?status=queued", data=form).text
    assert "Take back: 2 done, 0 not" in page


def test_newer_messages_are_left_alone(site: Site) -> None:
    """What comes after the question is not part of the answer: nobody has agreed to it."""
    page = site.client.get(f"{BULK}?status=abandoned").text
    action = re.search(r'action="(/courier/bulk[^"]*)"', page)
    assert action is not None
    [known] = [row for row in site.rows("courier_message") if row["status"] == "abandoned"]
    newer = known | {"id": new_id(NOW + timedelta(minutes=1))}
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.execute(site.db.metadata.tables["courier_message"].insert(), newer)
    answer = send(site, html.unescape(action[1]), all="1", action="retry")
    assert "Retry now: 1 done, 0 not" in answer.text
    assert [str(newer["id"])] == ids(site, "abandoned")


def test_filter_touches_nothing_else(site: Site) -> None:
    """What the filter does not find is not acted on."""
    answer = send(site, f"{BULK}?status=held", all="1", action="resend")
    assert "Resend: 1 done, 0 not" in answer.text
    assert 1 == len(site.rows("courier_event"))


def test_sent_twice_is_done_once(site: Site) -> None:
    """A page of results that is loaded again mails nobody twice."""
    form = {"form_token": token(site), "id": ids(site), "action": "resend"}
    first, second = (site.client.post(BULK, data=form).text for _ in range(2))
    assert "Resend: 3 done, 2 not" in first
    assert "Resend: 0 done, 5 not" in second
    assert "it was sent anew already" in second
    assert 8 == len(site.rows("courier_message"))


def test_resent_leads_to_the_new_messages(site: Site) -> None:
    """Of each message that was sent anew the new one is one click away."""
    page = send(site, id=ids(site, "held"), action="resend").text
    new = next(row["id"] for row in site.rows("courier_message") if row["resend_of"] is not None)
    assert f'<a href="/courier/messages/{new}">the new message</a>' in page


def test_message_that_is_gone(site: Site) -> None:
    """An id that no message has is told among the others."""
    page = send(site, id=[str(NOBODY), *ids(site, "held")], action="retry").text
    assert "Retry now: 1 done, 1 not" in page
    assert "there is no such message" in page


def test_results_as_json(site: Site) -> None:
    """A program gets a stable word for each that was left out."""
    asked = ids(site, "processing", "held")
    answer = site.client.post(BULK, json={"action": "retry", "ids": asked}).get_json()
    assert {
        "action": "retry",
        "done": 1,
        "skipped": 1,
        "next": None,
        "results": [
            {"id": asked[0], "done": False, "why_not": "wrong_status", "new_id": None},
            {"id": asked[1], "done": True, "why_not": None, "new_id": None},
        ],
    } == answer


# More than a thousand


@pytest.fixture
def full_site(site: Site) -> Site:
    """A site with more messages than one press acts on."""
    fill(site, ("held",) * (MOST + 3))
    return site


def test_more_than_one_press(full_site: Site) -> None:
    """The question says that there are more, and what happens to them."""
    page = full_site.client.get(BULK).text
    assert "What is to be done with 1,000+ messages?" in page
    assert "one press acts on these, 1,000 at most, and leads on to the older ones" in page
    assert ("Retry 1000 messages", True) == buttons(page)[0]


def test_press_by_press(full_site: Site) -> None:
    """Each page of results leads to the next thousand, until all is done."""
    address, done = BULK, []
    while address:
        body = {"action": "resend", "all": True}
        answer = full_site.client.post(f"{address}", json=body).get_json()
        done.append(answer["done"])
        address = answer["next"]
        # The new messages match, too, and are the newest.
        assert len(done) <= 3
    assert [MOST, 3] == done


def test_link_to_the_next(full_site: Site) -> None:
    """The page of results leads on to those before the ones that it acted on."""
    page = send(full_site, all="1", action="retry").text
    last = ids(full_site, "queued")[0].replace("-", "")
    assert f'href="{BULK}?below={last}">Go on with the older ones' in page


def test_more_than_a_form_may_have(full_site: Site) -> None:
    """More than a thousand ids are refused, and nothing is done."""
    before = dump(full_site)
    answer = send(full_site, id=ids(full_site, "held"), action="retry")
    assert (422, before) == (answer.status_code, dump(full_site))
    assert "Choose 1 to 1,000 messages." in answer.text


# What cannot be read


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({}, "action"),
        ({"action": "fly", "ids": [str(NOBODY)]}, "action"),
        ({"action": 7, "ids": [str(NOBODY)]}, "action"),
        ({"action": ["retry"], "ids": [str(NOBODY)]}, "action"),
        ({"action": "retry"}, "ids"),
        ({"action": "retry", "ids": []}, "ids"),
        ({"action": "retry", "ids": "all"}, "ids"),
        ({"action": "retry", "ids": [7]}, "ids"),
        ({"action": "retry", "ids": ["7"]}, "ids"),
        ({"action": "retry", "all": "yes"}, "all"),
        ({"action": "retry", "all": 1}, "all"),
        ({"action": "retry", "all": True, "ids": [str(NOBODY)]}, "all"),
        ({"action": "retry", "all": True, "ids": None}, "all"),
    ],
)
def test_unreadable(site: Site, body: dict[str, Any], member: str) -> None:
    """What cannot be read is a problem that names what it is, and nothing is done."""
    before = dump(site)
    answer = site.client.post(BULK, json=body)
    assert (422, "invalid_input", [member]) == (
        answer.status_code,
        answer.get_json()["reason"],
        list(answer.get_json()["errors"]),
    )
    assert before == dump(site)


def test_nothing_chosen(site: Site) -> None:
    """Who has chosen nothing is told so."""
    answer = send(site)
    assert (422, True) == (answer.status_code, "Choose 1 to 1,000 messages." in answer.text)


def test_unreadable_filter(site: Site) -> None:
    """A filter that cannot be read acts on nothing."""
    before = dump(site)
    answer = send(site, f"{BULK}?status=moonlight", all="1", action="resend")
    assert (400, before) == (answer.status_code, dump(site))


# Who may


def test_without_leave_to_act(site: Site) -> None:
    """Who may look and not act finds no box, no question, and cannot send one."""
    form = {"form_token": token(site), "id": ids(site), "action": "resend"}
    site.courier.log_access(lambda permission: permission != "act")
    before = dump(site)
    page = site.client.get("/courier/").text
    assert (False, False) == ("courier-c-pick" in page, BULK in page)
    assert 403 == site.client.get(BULK).status_code
    assert 403 == site.client.post(BULK, data=form).status_code
    assert 403 == site.client.post(BULK, json={"action": "resend", "all": True}).status_code
    assert before == dump(site)


@pytest.mark.parametrize(
    "headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}]
)
def test_from_another_site(site: Site, headers: dict[str, str]) -> None:
    """What a page of another site sends is refused, with a token too."""
    form = {"form_token": token(site), "id": ids(site), "action": "resend"}
    before = dump(site)
    assert 403 == site.client.post(BULK, data=form, headers=headers).status_code
    assert before == dump(site)


@pytest.mark.parametrize("sent", [{}, {"form_token": "x"}])
def test_without_a_token(site: Site, sent: dict[str, str]) -> None:
    """A form without its token is refused."""
    before = dump(site)
    form = {"id": ids(site), "action": "resend", **sent}
    assert 422 == site.client.post(BULK, data=form).status_code
    assert before == dump(site)


def test_every_action_is_offered(site: Site) -> None:
    """No action is missing on the page."""
    page = site.client.get(BULK).text
    assert [action.value for action in Action] == re.findall(r'name="action" value="([^"]+)"', page)
