"""What acts in the log, for strangers, and whatever is sent to it."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_courier.core.actions import Action
from tests.databases import every_database
from tests.delivery.mails import queue_own
from tests.observation import dump
from tests.site import Site

MakeSite = Callable[..., Site]

LOCAL = "http://localhost"
NOBODY = "00000000-0000-7000-8000-000000000000"
PATHS = ["/courier/bulk", *(f"/courier/messages/{NOBODY}/{action}" for action in Action)]
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


def rules(site: Site) -> list[str]:
    """Every path of the log, with an id that no message has."""
    return [
        re.sub("<uuid:message_id>", NOBODY, rule.rule)
        for rule in site.app.url_map.iter_rules()
        if rule.endpoint.startswith("courier_log.")
    ]


def test_every_action_has_its_path(site: Site) -> None:
    """What is tested here is what there is."""
    assert set(PATHS) <= set(rules(site))


@pytest.mark.parametrize("method", METHODS)
def test_closed_by_default(site: Site, method: str) -> None:
    """Without a word of the application no path of the log answers any method."""
    answers = {site.client.open(path, method=method).status_code for path in rules(site)}
    assert {404} == answers


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Proto"])
def test_closed_in_debug_behind_a_proxy(sites: MakeSite, method: str, name: str) -> None:
    """A proxy on this machine makes nobody a developer, whichever path and method is asked for."""
    site = sites(DEBUG=True)
    site.app.debug = True
    answers = {
        site.client.open(
            path, method=method, base_url=LOCAL, headers={name: "192.0.2.1"}
        ).status_code
        for path in rules(site)
    }
    assert {404} == answers
    assert 200 == site.client.get("/courier/", base_url=LOCAL).status_code


@pytest.mark.parametrize("body", ["", "[]", "7", "null", "{", "[" * 20_000])
def test_json_that_is_no_object(site: Site, body: str) -> None:
    """Where JSON is announced and no object comes, nothing is done."""
    site.courier.log_access(lambda _permission: True)
    queue_own(site)
    mine, before = str(site.rows("courier_message")[0]["id"]), dump(site)
    for path in (*PATHS, "/courier/test", "/courier/check"):
        here = path.replace(NOBODY, mine)
        answer = site.client.post(here, data=body, content_type="application/json")
        assert (400, "body") == (answer.status_code, answer.get_json()["reason"])
    assert before == dump(site)


@pytest.mark.parametrize("path", ["/staff/mail/health", "/staff//mail//health", "/staff//mail"])
def test_a_closed_log_is_like_none(sites: MakeSite, path: str) -> None:
    """Where the log is closed, no header and no redirect tells that it is there."""
    site = sites(COURIER_LOG_URL_PREFIX="/staff/mail")
    closed, nothing = site.client.get(path), site.client.get("/staff/none")
    assert 404 == closed.status_code
    assert nothing.headers == closed.headers
    assert nothing.data == closed.data


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=40)
)
VALUE = st.one_of(
    JUNK,
    st.sampled_from([*(action.value for action in Action), NOBODY, "1", "0", "٣", "true"]),
    st.lists(st.one_of(JUNK, st.just(NOBODY)), max_size=4),
    st.dictionaries(st.text(max_size=5), JUNK, max_size=2),
)
MEMBERS = st.dictionaries(
    st.one_of(
        st.sampled_from(["action", "id", "ids", "all", "key", "known", "form_token"]),
        st.text(max_size=8),
    ),
    VALUE,
    max_size=5,
)
QUERY = st.text(max_size=40)


@every_database
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(members=MEMBERS, path=st.sampled_from(PATHS), query=QUERY, as_json=st.booleans())
def test_whatever_is_sent(
    site: Site, members: dict[str, Any], path: str, query: str, *, as_json: bool
) -> None:
    """Whatever is sent, and to whatever filter, is answered below 500, and nothing is done.

    No message has the id, and no form a token.
    """
    site.courier.log_access(lambda _permission: True)
    before = dump(site)
    body: dict[str, Any] = {"json": members}
    if not as_json:
        body = {"data": {name: str(value) for name, value in members.items()}}
    answer = site.client.post(path, query_string={"q": query, "below": query}, **body)
    assert answer.status_code < 500
    assert before == dump(site)


@every_database
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(extra=MEMBERS, action=st.sampled_from(Action))
def test_whatever_is_said_of_a_message(site: Site, extra: dict[str, Any], action: Action) -> None:
    """Whatever a program adds, one message is acted on once or not at all, and no other is."""
    site.courier.log_access(lambda _permission: True)
    queue_own(site)
    queue_own(site, "bob@example.com")
    mine, other = (uuid.UUID(str(row["id"])) for row in site.rows("courier_message")[-2:])
    before = [row for row in site.rows("courier_message") if row["id"] == other]
    events = len(site.rows("courier_event"))
    answer = site.client.post(f"/courier/messages/{mine}/{action}", json=extra)
    assert answer.status_code < 500
    assert len(site.rows("courier_event")) - events == (answer.status_code in (200, 202))
    assert before == [row for row in site.rows("courier_message") if row["id"] == other]
