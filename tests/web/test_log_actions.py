"""Actions on one message: the forms on its page, what they do, who may, and what is said."""

from __future__ import annotations

import html
import re
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from flask_wtf import CSRFProtect
from werkzeug.test import TestResponse

from flask_courier.core.actions import Action
from tests.databases import every_database
from tests.delivery.mails import only, queue_own, queue_recovery, recorded
from tests.observation import age, dump, update
from tests.site import Site

MakeSite = Callable[..., Site]

NOBODY = uuid.UUID(int=7)
LATER = timedelta(hours=1)
ACTIONS = [action.value for action in Action]
#: A status in which each action is possible.
OPEN_TO = {"retry": "held", "cancel": "queued", "resend": "sent", "delete-content": "sent"}


@pytest.fixture
def open_site(site: Site) -> Site:
    """A site that lets everybody see its log, and act; one mail went out."""
    site.courier.log_access(lambda _permission: True)
    queue_own(site)
    site.deliver()
    return site


def ready_for(site: Site, action: str) -> Site:
    """The site, with its message in a status that is open to ``action``."""
    update(site, "courier_message", status=OPEN_TO[action], reason=None)
    return site


def message_path(site: Site) -> str:
    """The page of the first message."""
    return f"/courier/messages/{first(site)['id']}"


def first(site: Site) -> dict[str, Any]:
    """The oldest message."""
    rows: list[dict[str, Any]] = sorted(site.rows("courier_message"), key=lambda row: row["id"])
    return rows[0]


def fields(client: FlaskClient, site: Site, action: str) -> dict[str, str]:
    """The hidden fields of the form that leads to ``action``."""
    path = message_path(site)
    form = client.get(path).text.split(f'action="{path}/{action}"')[1].split("</form>")[0]
    found = re.findall(r'name="([^"]+)" value="([^"]*)"', form)
    return {name: html.unescape(value) for name, value in found}


def press(site: Site, action: str) -> TestResponse:
    """Open the page and send the form of ``action``."""
    client = site.client
    return client.post(f"{message_path(site)}/{action}", data=fields(client, site, action))


def said(site: Site, answer: TestResponse) -> str | None:
    """The notice of the page that an answer leads to."""
    page = site.client.get(answer.location).text
    found = re.search(r'<p class="courier-notice"[^>]* role="status">([^<]+)</p>', page)
    return None if found is None else html.unescape(found[1])


def offered(site: Site) -> list[str]:
    """The actions that the page offers, in its order."""
    page = site.client.get(message_path(site)).text
    return re.findall(rf'action="{message_path(site)}/([a-z-]+)"', page)


def happened(site: Site) -> list[tuple[str, str]]:
    """Who did what."""
    return [(event["actor"], event["what"]) for event in site.rows("courier_event")]


# What is offered


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        ("queued", None, ["cancel"]),
        ("processing", None, []),
        ("sent", None, ["resend", "delete-content"]),
        ("abandoned", "retries_exhausted", ["retry", "resend", "delete-content"]),
        ("abandoned", "rejected", ["resend", "delete-content"]),
        ("held", "outcome_unknown", ["retry", "resend", "delete-content"]),
        ("suppressed", "no_account", ["resend", "delete-content"]),
    ],
)
def test_offers(open_site: Site, status: str, reason: str | None, expected: list[str]) -> None:
    """The page offers what the message's state is open to, and nothing else."""
    update(open_site, "courier_message", status=status, reason=reason)
    assert expected == offered(open_site)


def test_what_waits_can_be_hurried(open_site: Site) -> None:
    """What waits for its next attempt can be tried now."""
    update(open_site, "courier_message", status="queued")
    age(open_site, "courier_message", -LATER)
    assert ["retry", "cancel"] == offered(open_site)


def test_resend_names_the_recipient(open_site: Site) -> None:
    """The question names the address that another mail goes to, and how often one went before."""
    press(open_site, "resend")
    page = open_site.client.get(message_path(open_site)).text
    question = page.partition('id="courier-ask-resend"')[2].partition("</details>")[0]
    assert "ada@example.com" in question
    assert "It was sent anew once before." in question


# What is done


@every_database
@pytest.mark.parametrize(
    ("action", "status", "what", "words"),
    [
        ("retry", "queued", "retried", "It is tried again"),
        ("cancel", "cancelled", "cancelled", "Taken back: it will not be sent."),
        ("resend", "sent", "resent", "Sent anew: this is the new message."),
        ("delete-content", "sent", "content_deleted", "Its content is deleted."),
    ],
)
def test_action(open_site: Site, action: str, status: str, what: str, words: str) -> None:
    """An action is done, is in the history with who did it, and is told in one line."""
    answer = press(ready_for(open_site, action), action)
    assert (303, status) == (answer.status_code, first(open_site)["status"])
    assert [("web", what)] == happened(open_site)
    assert words in str(said(open_site, answer))


def test_retry_of_what_waits(open_site: Site) -> None:
    """What waits is tried at once."""
    update(open_site, "courier_message", status="queued")
    age(open_site, "courier_message", -LATER)
    assert {} == open_site.deliver()
    answer = press(open_site, "retry")
    assert "It is tried again" in str(said(open_site, answer))
    assert {"sent": 1} == open_site.deliver()


def test_resent_mail_has_a_link_of_its_own(site: Site) -> None:
    """A resend is another message, linked to the first, whose link is another and works."""
    site.courier.log_access(lambda _permission: True)
    site.add_user()
    queue_recovery(site)
    [before] = recorded(site)
    answer = press(site, "resend")
    [mail] = recorded(site)
    new = next(row for row in site.rows("courier_message") if row["resend_of"] is not None)
    assert (f"/courier/messages/{new['id']}?done=resend", "sent") == (
        answer.location,
        new["status"],
    )
    assert mail.token != before.token
    assert mail.link is not None
    assert 200 == site.client.get(mail.link, follow_redirects=True).status_code
    assert "This is a resend of an earlier message" in site.client.get(answer.location).text


def test_resend_is_held_back_by_no_limit(site: Site) -> None:
    """However often an address was mailed of late, a person's resend goes out."""
    site.courier.log_access(lambda _permission: True)
    site.add_user()
    queue_recovery(site)
    site.deliver()
    update(site, "courier_limit", count=2**30)
    press(site, "resend")
    assert {"sent": 1} == site.deliver()


def test_deleted_content_is_gone(open_site: Site) -> None:
    """Nothing of what the mail said is left, and the row is."""
    press(open_site, "delete-content")
    page = open_site.client.get(message_path(open_site)).text
    assert ([], 1) == (open_site.rows("courier_content"), len(open_site.rows("courier_message")))
    assert "hello Ada" not in page
    assert "Its content was deleted by an operator" in page
    assert "No longer kept" in open_site.client.get("/courier/").text


def test_who_acts_is_recorded(open_site: Site) -> None:
    """The history names the account that acted."""
    identity = open_site.add_user()
    open_site.courier.current_account(lambda: open_site.get_user(identity))
    press(open_site, "resend")
    assert [(f"web:{identity}", "resent")] == happened(open_site)
    assert f"web:{identity}" in open_site.client.get(message_path(open_site)).text


# Twice, and by two


def test_form_sent_twice_is_one_mail(open_site: Site) -> None:
    """The second half of a double submit leads to the message of the first."""
    client = open_site.client
    form = fields(client, open_site, "resend")
    path = f"{message_path(open_site)}/resend"
    first_answer, second_answer = (client.post(path, data=form) for _ in range(2))
    assert first_answer.location == second_answer.location
    assert 2 == len(open_site.rows("courier_message"))


def test_two_operators_resend(open_site: Site) -> None:
    """Of two who look at the same page one sends the mail anew, and the other is told."""
    people = [open_site.add_user(f"op{number}@example.com") for number in range(2)]
    path, forms = f"{message_path(open_site)}/resend", []
    for identity in people:
        open_site.courier.current_account(lambda one=identity: open_site.get_user(one))
        forms.append(fields(open_site.client, open_site, "resend"))
    answers = []
    for identity, form in zip(people, forms, strict=True):
        open_site.courier.current_account(lambda one=identity: open_site.get_user(one))
        answers.append(open_site.client.post(path, data=form))
    assert ["done=resend", "not_done=resend.resent"] == [
        answer.location.partition("?")[2] for answer in answers
    ]
    assert "Nothing was done: it was sent anew already." == said(open_site, answers[1])
    assert 2 == len(open_site.rows("courier_message"))


def test_two_operators_cancel(open_site: Site) -> None:
    """Who takes a mail back that somebody has taken back already is told that it does not wait."""
    ready_for(open_site, "cancel")
    form, path = fields(open_site.client, open_site, "cancel"), message_path(open_site)
    answers = [open_site.client.post(f"{path}/cancel", data=form) for _ in range(2)]
    assert [
        "Taken back: it will not be sent.",
        "Nothing was done: it does not wait: a worker has it, or it is done.",
    ] == [said(open_site, answer) for answer in answers]
    assert 1 == len(happened(open_site))


# What cannot be done


@pytest.mark.parametrize(
    ("action", "status", "reason", "why_not"),
    [
        ("retry", "sent", None, "wrong_status"),
        ("retry", "abandoned", "rejected", "rejected"),
        ("retry", "queued", None, "due"),
        ("cancel", "processing", None, "wrong_status"),
        ("resend", "queued", None, "wrong_status"),
        ("delete-content", "processing", None, "wrong_status"),
    ],
)
def test_not_possible(
    open_site: Site, action: str, status: str, reason: str | None, why_not: str
) -> None:
    """What the state does not allow changes nothing: in words on the page, a problem in JSON."""
    form = fields(ready_for(open_site, action).client, open_site, action)
    update(open_site, "courier_message", status=status, reason=reason)
    before, path = dump(open_site), f"{message_path(open_site)}/{action}"
    page = open_site.client.post(path, data=form)
    problem = open_site.client.post(path, json={})
    assert str(said(open_site, page)).startswith("Nothing was done: ")
    assert (409, "application/problem+json", why_not) == (
        problem.status_code,
        problem.mimetype,
        problem.get_json()["reason"],
    )
    assert before == dump(open_site)


@pytest.mark.parametrize("action", ACTIONS)
def test_no_such_message(open_site: Site, action: str) -> None:
    """An id that no message has is a 404, by name in JSON."""
    answer = open_site.client.post(f"/courier/messages/{NOBODY}/{action}", json={})
    assert (404, "not_found") == (answer.status_code, answer.get_json()["reason"])


# JSON


@pytest.mark.parametrize(
    ("action", "status"),
    [("retry", 202), ("cancel", 200), ("resend", 202), ("delete-content", 200)],
)
def test_json(open_site: Site, action: str, status: int) -> None:
    """A program needs no form, and gets the ids and where to look."""
    message_id = str(first(ready_for(open_site, action))["id"])
    answer = open_site.client.post(f"/courier/messages/{message_id}/{action}", json={})
    told = answer.get_json()
    shown = told["new_id"] if action == "resend" else message_id
    assert (status, message_id, action) == (answer.status_code, told["id"], told["action"])
    assert (f"/courier/messages/{shown}", action == "resend") == (
        told["url"],
        told["new_id"] is not None,
    )


def test_json_with_a_key_is_done_once(open_site: Site) -> None:
    """A program that is not sure asks again with its key."""
    path = f"{message_path(open_site)}/resend"
    answers = [open_site.client.post(path, json={"key": "k"}).get_json() for _ in range(2)]
    assert answers[0] == answers[1]
    assert 2 == len(open_site.rows("courier_message"))


def test_json_that_knows_of_all_resends(open_site: Site) -> None:
    """A program that says what it knows is told that somebody was faster."""
    path = f"{message_path(open_site)}/resend"
    answers = [open_site.client.post(path, json={"known": 0}) for _ in range(2)]
    assert [202, 409] == [answer.status_code for answer in answers]
    assert "resent" == answers[1].get_json()["reason"]


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"key": 7}, "key"),
        ({"key": ""}, "key"),
        ({"key": "k" * 300}, "key"),
        ({"known": "one"}, "known"),
        ({"known": True}, "known"),
    ],
)
def test_json_that_is_not_right(open_site: Site, body: dict[str, Any], member: str) -> None:
    """What is of the wrong kind is a problem that names it, and nothing is done."""
    answer = open_site.client.post(f"{message_path(open_site)}/resend", json=body)
    assert (422, "invalid_input", [member]) == (
        answer.status_code,
        answer.get_json()["reason"],
        list(answer.get_json()["errors"]),
    )
    assert 1 == len(open_site.rows("courier_message"))


# The notice


@pytest.mark.parametrize(
    "query",
    [
        "done=cancel",
        "done=retry",
        "done=resend",
        "done=%3Cscript%3E",
        "not_done=cancel",
        "not_done=cancel.key_taken",
        "not_done=fly.rejected",
        "not_done=Your+password+is+needed",
    ],
)
def test_address_puts_no_words_on_the_page(open_site: Site, query: str) -> None:
    """Words come from the code, and what was done is told only if it was."""
    page = open_site.client.get(f"{message_path(open_site)}?{query}")
    assert (200, False) == (page.status_code, "courier-notice" in page.text)


# Who may


@pytest.mark.parametrize("action", ACTIONS)
def test_without_leave_to_act(site: Site, action: str) -> None:
    """Who may look and not act finds no form, and what they send is refused."""
    site.courier.log_access(lambda permission: permission != "act")
    queue_own(site)
    site.deliver()
    before, path = dump(ready_for(site, action)), message_path(site)
    assert '<form method="post"' not in site.client.get(path).text
    answer = site.client.post(f"{path}/{action}", json={})
    assert (403, "not_allowed") == (answer.status_code, answer.get_json()["reason"])
    assert before == dump(site)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "https://acme.example"}, 303),
    ],
)
def test_from_another_site(
    open_site: Site, action: str, headers: dict[str, str], status: int
) -> None:
    """What a page of another site sends is refused, with a token too."""
    client = ready_for(open_site, action).client
    form = fields(client, open_site, action)
    answer = client.post(f"{message_path(open_site)}/{action}", data=form, headers=headers)
    assert (status, status == 403) == (answer.status_code, [] == happened(open_site))


@pytest.mark.parametrize("action", ACTIONS)
def test_form_of_something_else(open_site: Site, action: str) -> None:
    """A form's token is good for one action with one message, and none is needed less."""
    form = fields(ready_for(open_site, action).client, open_site, action)
    queue_own(open_site, "bob@example.com")
    bob = next(r for r in open_site.rows("courier_message") if r["recipient"][0] == "b")["id"]
    other = next(one for one in ACTIONS if one != action)
    before = dump(open_site)
    assert [422] * 4 == [
        open_site.client.post(path, data=data).status_code
        for path, data in (
            (f"/courier/messages/{bob}/{action}", form),
            (f"{message_path(open_site)}/{other}", form),
            (f"{message_path(open_site)}/{action}", {"known": "0"}),
            (f"{message_path(open_site)}/{action}", {**form, "form_token": "x"}),
        )
    ]
    assert before == dump(open_site)


def test_resend_that_claims_to_know_more(open_site: Site) -> None:
    """How often a message was sent anew is sealed into its form."""
    form = fields(open_site.client, open_site, "resend")
    answer = open_site.client.post(f"{message_path(open_site)}/resend", data={**form, "known": "1"})
    assert (422, 1) == (answer.status_code, len(open_site.rows("courier_message")))


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
def test_other_methods_do_nothing(open_site: Site, action: str, method: str) -> None:
    """What acts answers POST alone."""
    before = dump(ready_for(open_site, action))
    answer = open_site.client.open(f"{message_path(open_site)}/{action}", method=method)
    assert (405, before) == (answer.status_code, dump(open_site))


def test_csrf_protection_of_the_host(sites: MakeSite) -> None:
    """A host's CSRFProtect guards these forms, too, and they carry its token beside ours."""
    site = sites(WTF_CSRF_ENABLED=True, WTF_CSRF_CHECK_DEFAULT=True)
    site.courier.log_access(lambda _permission: True)
    CSRFProtect(site.app)
    queue_own(site)
    client, path = site.client, message_path(site)
    form = fields(client, site, "cancel")
    hosts = form.pop("csrf_token")
    assert 400 == client.post(f"{path}/cancel", data=form).status_code
    assert 303 == client.post(f"{path}/cancel", data={**form, "csrf_token": hosts}).status_code


def test_leads_nowhere_else(open_site: Site) -> None:
    """Nothing that is sent decides where the answer leads."""
    client = ready_for(open_site, "cancel").client
    evil = {
        "next": "https://evil.example",
        "url": "//evil.example",
        "return_to": "https://e.example",
    }
    form = {**fields(client, open_site, "cancel"), **evil}
    path = f"{message_path(open_site)}/cancel?next=https://evil.example"
    answer = client.post(path, data=form, headers={"Referer": "https://evil.example/"})
    assert f"{message_path(open_site)}?done=cancel" == answer.location


def test_only_message_is_the_only_one(open_site: Site) -> None:
    """Acting on one message touches no other."""
    queue_own(open_site, "bob@example.com")
    open_site.deliver()
    press(open_site, "delete-content")
    assert 1 == len(open_site.rows("courier_content"))
    assert only(open_site, "courier_content")["message_id"] != first(open_site)["id"]
