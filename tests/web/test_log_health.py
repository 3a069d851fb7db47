"""The health page: what it tells, what it hides, and the two things that can be done there."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from flask.testing import FlaskClient
from flask_wtf import CSRFProtect

from flask_courier.core.config import KEYS, CourierConfig
from flask_courier.core.ids import new_id
from flask_courier.state import state_of
from flask_courier.storage.health import HOUR_CAP
from flask_courier.testing import form_data
from flask_courier.web.log import effective
from tests.databases import IMPATIENT, every_database, locked
from tests.delivery.mails import LONG_AGO, only, queue_own
from tests.observation import statements, update
from tests.scripted_smtp import scripted_smtp
from tests.site import Site
from tests.smtp_server import MailServer

MakeSite = Callable[..., Site]

HEALTH, CHECK, TEST = "/courier/health", "/courier/check", "/courier/test"
JSON = {"Accept": "application/json"}
REFUSED_LOGIN = "535 5.7.8 we do not know <you>"
BOB = "bob@example.com"
POSTS = [(CHECK, {}), (TEST, {"email": BOB})]


@pytest.fixture
def open_site(site: Site) -> Site:
    """A site that lets everybody see its log, and act."""
    site.courier.log_access(lambda _permission: True)
    return site


@pytest.fixture
def refused_site(sites: MakeSite) -> Iterator[Site]:
    """A site whose SMTP server refuses its login; one mail has met that."""
    with scripted_smtp(AUTH=REFUSED_LOGIN) as server:
        site = sites(COURIER_SMTP_URI=server.uri.replace("//", "//mailer:hunter2@", 1))
        site.courier.log_access(lambda _permission: True)
        queue_own(site)
        site.deliver()
        yield site


def page(site: Site) -> str:
    """The health page, without its tags."""
    return text_of(site.client.get(HEALTH).text)


def text_of(markup: str) -> str:
    """What a page says."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


def facts(site: Site) -> dict[str, Any]:
    """The same as JSON."""
    answer: dict[str, Any] = site.client.get(HEALTH, headers=JSON).get_json()
    return answer


def add_worker(site: Site, name: str, silent: timedelta) -> None:
    """Store a worker that was seen so long ago."""
    seen = datetime.now(timezone.utc).replace(tzinfo=None) - silent
    with site.app.app_context(), site.db.engine.begin() as connection:
        table = site.db.metadata.tables["courier_worker"]
        connection.execute(table.insert().values(name=name, kind="external", seen_at=seen))


def token(client: FlaskClient, action: str) -> str:
    """The form token of the form that leads to ``action``."""
    form = client.get(HEALTH).text.split(f'action="{action}"')[1]
    found = re.search(r'name="form_token" value="([^"]+)"', form)
    assert found is not None
    return found[1]


def send(site: Site, action: str, **sent: str) -> Any:
    """Fill one of the page's forms in, and send it."""
    client = site.client
    return client.post(action, data={"form_token": token(client, action), **sent})


# What it tells


def test_breaker_is_told(refused_site: Site) -> None:
    """Of a server that cannot be used: why, what to do, and what it said."""
    told = page(refused_site)
    for words in (
        "No mail goes out User name or password was refused.",
        "Correct them in COURIER_SMTP_URI",
        "One mail tries again in",
        "5.7.8 we do not know <you>",
        "Has not taken a mail yet",
    ):
        assert words in told


def test_good_transport_is_told(mailing_site: Site) -> None:
    """Of a server that takes mail: when it last did."""
    mailing_site.courier.log_access(lambda _permission: True)
    queue_own(mailing_site)
    mailing_site.deliver()
    assert "Takes mail Last took a mail just now" in page(mailing_site)


def test_transport_nobody_has_used(mailing_site: Site) -> None:
    """A server that no mail went to yet is told all the same."""
    mailing_site.courier.log_access(lambda _permission: True)
    assert "localhost" in page(mailing_site)
    assert "Nothing sent yet" in page(mailing_site)


def test_transport_of_an_earlier_configuration(refused_site: Site, sites: MakeSite) -> None:
    """What a URI left behind that is no longer in use is marked as such, below the present one."""
    mended = sites(COURIER_SMTP_URI="smtp://mail.acme.example/")
    mended.courier.log_access(lambda _permission: True)
    assert re.search(
        "mail.acme.example:587 Nothing sent yet .* No mail goes out of an earlier", page(mended)
    )


def test_log_delivery_is_told(open_site: Site) -> None:
    """Without an SMTP server the page says that nothing leaves."""
    assert "Nothing leaves this machine: COURIER_SMTP_URI is not set" in page(open_site)


def test_workers_are_told(open_site: Site) -> None:
    """Workers come with how long ago they were seen; one that is silent is gone."""
    add_worker(open_site, "host:1", timedelta(seconds=20))
    add_worker(open_site, "host:2", timedelta(minutes=30))
    told = page(open_site)
    assert re.search(r"host:1 At work external, seen 2\d seconds ago", told)
    assert "host:2 Gone external, seen 30 minutes ago" in told


@pytest.mark.parametrize(
    ("mode", "told"),
    [
        ("manual", "COURIER_WORKER is “manual”"),
        ("external", "Start one: flask courier worker"),
    ],
)
def test_no_worker(sites: MakeSite, mode: str, told: str) -> None:
    """Without a worker the page says where one comes from."""
    site = sites(COURIER_WORKER=mode)
    site.courier.log_access(lambda _permission: True)
    assert told in page(site)


def test_oldest_due_is_told(open_site: Site) -> None:
    """How long the oldest due mail has waited is told."""
    assert "No mail is overdue." in page(open_site)
    queue_own(open_site)
    ago = datetime.now(timezone.utc).replace(tzinfo=None) - timedelta(minutes=7)
    update(open_site, "courier_message", next_attempt_at=ago)
    assert "The oldest due mail has waited for 7 minutes." in page(open_site)


def test_counts_lead_to_the_list(open_site: Site) -> None:
    """Each status that messages have is counted, and leads to them."""
    queue_own(open_site)
    assert '<a href="/courier/?status=queued">1</a>' in open_site.client.get(HEALTH).text


def test_json(refused_site: Site) -> None:
    """The same address answers the same facts as JSON."""
    found = facts(refused_site)
    [transport], [trouble] = found["transports"], found["troubles"]
    assert ("open", "login_refused", True) == (
        transport["breaker"],
        transport["cause"],
        transport["in_use"],
    )
    assert "Mail waits" in trouble["words"]
    assert {"number": 1, "capped": False} == found["messages"]["queued"]
    assert 1 == found["hours"][-1]["attempts"]["operator_fault"]
    assert 24 == len(found["hours"])


# The drawing


def drawing(site: Site) -> str:
    """The drawing on the page."""
    found = re.search(
        r'<svg class="courier-chart".*?</svg>', site.client.get(HEALTH).text, re.DOTALL
    )
    assert found is not None
    return found[0]


def test_drawing_is_an_image_with_a_name(refused_site: Site) -> None:
    """Who cannot see the drawing is told what it is, and what it says."""
    markup = drawing(refused_site)
    assert 'role="img" aria-labelledby="courier-chart-title courier-chart-desc"' in markup
    assert '<title id="courier-chart-title">Attempts by hour and outcome</title>' in markup
    assert "Accepted: 0. Put off: 0. Refused: 0. Did not get through: 1." in markup


def test_drawing_has_no_style(refused_site: Site) -> None:
    """The strictest policy lets the drawing through: it has attributes and no style."""
    assert "style" not in drawing(refused_site)
    assert "style=" not in refused_site.client.get(HEALTH).text


def test_table_says_the_same(refused_site: Site) -> None:
    """A table holds the numbers of the drawing, hour by hour."""
    [message] = refused_site.rows("courier_message")
    hour = f"{message['created_at']:%Y-%m-%d %H}:00"
    assert "Hour (UTC) Accepted Put off Refused Did not get through All" in page(refused_site)
    assert f"{hour} 0 0 0 1 1 " in page(refused_site)


def test_busy_hours_are_reckoned(refused_site: Site) -> None:
    """Where only a part was looked at, the page says so."""
    [attempt] = refused_site.rows("courier_attempt")
    # Of the hour before: this one may have just begun.
    begin = datetime.now(timezone.utc).replace(minute=0, second=0) - timedelta(hours=1)
    attempt["message_id"] = new_id(begin)
    late = begin + timedelta(minutes=50)
    later = [
        attempt | {"number": number, "started_at": late + timedelta(seconds=number)}
        for number in range(HOUR_CAP + 10)
    ]
    with refused_site.app.app_context(), refused_site.db.engine.begin() as connection:
        connection.execute(refused_site.db.metadata.tables["courier_attempt"].insert(), later)
    assert "only its last 100 were looked at, and the others reckoned" in page(refused_site)


def test_no_attempt(open_site: Site) -> None:
    """Without an attempt there is no drawing."""
    assert "No mail was tried in the last 24 hours." in page(open_site)


# The configuration

SECRETS = {
    "COURIER_SMTP_URI": "smtp://mailer:hunter2@smtp.acme.example:2525/",
    "COURIER_SMTP_HEADERS": {"X-Provider-Key": "hunter3"},
    "COURIER_AFTER_RECOVERY_URL": "https://acme.example/done?key=hunter4",
    "SECRET_KEY": "hunter5-hunter5-hunter5",
    "SECRET_KEY_FALLBACKS": ["hunter6-hunter6-hunter6"],
}


@pytest.mark.parametrize("accept", ["text/html", "application/json"])
def test_secrets_are_masked(sites: MakeSite, accept: str) -> None:
    """No password, user name, key or header value is on the page, nor in its JSON."""
    site = sites(**SECRETS)
    site.courier.log_access(lambda _permission: True)
    told = site.client.get(HEALTH, headers={"Accept": accept}).text
    assert [] == re.findall("hunter.|mailer", told)
    assert "smtp.acme.example:2525, STARTTLS, user name and password hidden" in told
    assert "X-Provider-Key: hidden" in told
    assert "https://acme.example/done?hidden" in told
    assert "set, hidden; 1 in SECRET_KEY_FALLBACKS" in told


def test_every_key_is_there(open_site: Site) -> None:
    """Each key of the configuration is told by its name, and the secret key that it is set."""
    names = [one["name"] for one in facts(open_site)["configuration"]]
    assert [*(key.name for key in KEYS), "SECRET_KEY"] == names


def test_no_field_is_forgotten() -> None:
    """What the configuration has beside its keys is known here: nothing new slips onto the page."""
    known = {key.field for key in KEYS} | {"secret_keys", "debug", "testing"}
    assert known == {one.name for one in fields(CourierConfig)}


@pytest.mark.parametrize(
    ("config", "name", "told", "default"),
    [
        ({}, "COURIER_RECOVERY_LIFETIME", "30 minutes", True),
        ({"COURIER_RECOVERY_LIFETIME": 600}, "COURIER_RECOVERY_LIFETIME", "10 minutes", False),
        ({}, "COURIER_RECIPIENT_LIMIT", "1/minute 5/hour 20/day", True),
        ({}, "COURIER_SIGN_IN", "off", True),
        ({"COURIER_SIGN_IN": True}, "COURIER_SIGN_IN", "on", False),
        ({}, "COURIER_WORKER", "manual", False),
        ({}, "COURIER_HOURLY_BUDGET", "none", True),
        ({}, "COURIER_CODE_DIGITS", "8", True),
        ({}, "COURIER_DEFAULT_SENDER", "Acme <no-reply@acme.example>", False),
    ],
)
def test_values_in_words(
    sites: MakeSite, config: dict[str, Any], name: str, told: str, *, default: bool
) -> None:
    """A value is told as it is in force, and whether it is the default."""
    state = state_of(sites(**config).app)
    [one] = [one for one in effective.settings(state.config) if one.name == name]
    assert (told, default) == (one.value, one.is_default)


# Statements


@every_database
def test_statements(open_site: Site) -> None:
    """The page asks the database at most six things."""
    queue_own(open_site)
    open_site.deliver()
    with statements(open_site) as seen:
        assert 200 == open_site.client.get(HEALTH).status_code
    assert len([text for text in seen if text.startswith("SELECT")]) <= 6


@pytest.mark.parametrize("path", ["/courier/", "/courier/messages/{id}"])
def test_statements_of_other_pages(open_site: Site, path: str) -> None:
    """With what stands above every page, the others ask no more than seven."""
    queue_own(open_site)
    open_site.deliver()
    path = path.format(id=only(open_site)["id"])
    with statements(open_site) as seen:
        open_site.client.get(path)
    assert len([text for text in seen if text.startswith("SELECT")]) <= 7


# What stands above every page


@pytest.mark.parametrize("path", ["/courier/", "/courier/messages/{id}", HEALTH])
def test_banner_on_every_page(refused_site: Site, path: str) -> None:
    """That the SMTP server cannot be used stands on every page, with what to do."""
    told = text_of(refused_site.client.get(path.format(id=only(refused_site)["id"])).text)
    assert "Mail waits, and nothing is lost: 127.0.0.1" in told or "nothing is lost" in told
    assert "Correct them in COURIER_SMTP_URI" in told


@pytest.mark.parametrize("path", ["/courier/", "/courier/messages/{id}", HEALTH])
def test_mail_that_nobody_picks_up(open_site: Site, path: str) -> None:
    """That no worker is at work stands on every page, with what to do."""
    queue_own(open_site)
    update(open_site, "courier_message", next_attempt_at=LONG_AGO)
    told = text_of(open_site.client.get(path.format(id=only(open_site)["id"])).text)
    assert "no worker is at work. Run 'flask courier worker'" in told


# The check


def test_check(mailing_site: Site, mail_server: MailServer) -> None:
    """The check tells each step, and sends nothing."""
    mailing_site.courier.log_access(lambda _permission: True)
    told = text_of(send(mailing_site, CHECK).text)
    assert "auth ok Logged in with AUTH PLAIN." in told
    assert [] == mail_server.envelopes


def test_check_that_fails(refused_site: Site) -> None:
    """A step that failed says what to do."""
    told = text_of(send(refused_site, CHECK).text)
    assert "auth failed User name or password was refused." in told
    assert "Correct them in COURIER_SMTP_URI" in told


def test_check_as_json(refused_site: Site) -> None:
    """As JSON the check needs no form, and says whether all is well."""
    answer = refused_site.client.post(CHECK, json={}).get_json()
    states = {step["name"]: step["state"] for step in answer["steps"]}
    assert (False, "failed") == (answer["ok"], states["auth"])


def test_one_check_at_a_time(open_site: Site) -> None:
    """While another check is at work, the second one is told to wait."""
    with checking(open_site):
        answer = open_site.client.post(CHECK, json={})
    assert (429, "busy", "10") == (
        answer.status_code,
        answer.get_json()["reason"],
        answer.headers["Retry-After"],
    )


@contextmanager
def checking(site: Site) -> Iterator[None]:
    """Keep a check at work during the block."""
    running = state_of(site.app).check._running  # type: ignore[attr-defined]
    with running:
        yield


# The test mail


def test_test_mail(open_site: Site) -> None:
    """A test mail goes through the queue, and the answer leads to its page."""
    answer = send(open_site, TEST, email=" Bob@Example.com ")
    message = only(open_site)
    assert (303, f"/courier/messages/{message['id']}") == (answer.status_code, answer.location)
    assert ("test", "Bob@example.com", "queued") == (
        message["kind"],
        message["recipient"],
        message["status"],
    )
    assert {"sent": 1} == open_site.deliver()


def test_test_mail_arrives(mailing_site: Site, mail_server: MailServer) -> None:
    """A test mail arrives where mail goes."""
    mailing_site.courier.log_access(lambda _permission: True)
    send(mailing_site, TEST, email=BOB)
    mailing_site.deliver()
    assert 1 == len(mail_server.envelopes)


def test_test_mail_as_json(open_site: Site) -> None:
    """As JSON it is accepted, with its id and where it can be watched."""
    answer = open_site.client.post(TEST, json={"email": BOB})
    message_id = str(only(open_site)["id"])
    assert (202, {"id": message_id, "url": f"/courier/messages/{message_id}"}) == (
        answer.status_code,
        answer.get_json(),
    )


def test_form_sent_twice_is_one_mail(open_site: Site) -> None:
    """Sending the same form twice leads to the same mail."""
    client = open_site.client
    form = {"form_token": token(client, TEST), "email": BOB}
    first, second = client.post(TEST, data=form), client.post(TEST, data=form)
    assert first.location == second.location
    assert 1 == len(open_site.rows("courier_message"))


#: Its beginning would be an address, and another one.
TOO_LONG = f"b@{'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 61}"


@pytest.mark.parametrize("email", ["", "bob", "bob@", "b" * 500 + "@example.com", TOO_LONG])
def test_what_is_no_address(open_site: Site, email: str) -> None:
    """What is no address is told beside the field, with what was typed, and nothing is queued."""
    answer = send(open_site, TEST, email=email)
    assert 422 == answer.status_code
    assert "That is not an e-mail address" in answer.text
    assert f'name="email" value="{email}"' in answer.text
    assert [] == open_site.rows("courier_message")


@pytest.mark.parametrize("body", [{}, {"email": 7}, {"email": "bob"}, {"email": TOO_LONG}])
def test_what_is_no_address_as_json(open_site: Site, body: dict[str, Any]) -> None:
    """The same in JSON is a problem that names the field."""
    answer = open_site.client.post(TEST, json=body)
    assert (422, ["email"]) == (answer.status_code, list(answer.get_json()["errors"]))


def test_who_asked_is_recorded(open_site: Site) -> None:
    """The history of the mail says who asked for it."""
    identity = open_site.add_user()
    open_site.courier.current_account(lambda: open_site.get_user(identity))
    send(open_site, TEST, email=BOB)
    event = only(open_site, "courier_event")
    assert ("test_asked", f"web:{identity}") == (event["what"], event["actor"])


# Who may


@pytest.mark.parametrize(("path", "sent"), POSTS)
def test_without_leave_to_act(site: Site, path: str, sent: dict[str, str]) -> None:
    """Who may look and not act finds no form, and what they send is refused."""
    site.courier.log_access(lambda permission: permission != "act")
    assert f'action="{path}"' not in site.client.get(HEALTH).text
    answer = site.client.post(path, json=sent)
    assert (403, "not_allowed") == (answer.status_code, answer.get_json()["reason"])
    assert [] == site.rows("courier_message")


@pytest.mark.parametrize(("path", "sent"), POSTS)
def test_closed_to_strangers(site: Site, path: str, sent: dict[str, str]) -> None:
    """For who may not see the log there is nothing to post to."""
    assert 404 == site.client.post(path, json=sent).status_code


@pytest.mark.parametrize(("path", "sent"), POSTS)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Content-Type": "text/plain"}, 415),
    ],
)
def test_foreign_page(
    open_site: Site, path: str, sent: dict[str, str], headers: dict[str, str], status: int
) -> None:
    """What a page of another site sends is refused, with a token too."""
    client = open_site.client
    form = {"form_token": token(client, path), **sent}
    assert status == client.post(path, data=form, headers=headers).status_code
    assert [] == open_site.rows("courier_message")


@pytest.mark.parametrize(("path", "other"), [(CHECK, TEST), (TEST, CHECK)])
def test_token_of_another_form(open_site: Site, path: str, other: str) -> None:
    """A form needs its own token."""
    client = open_site.client
    form = {"form_token": token(client, other), "email": BOB}
    assert 422 == client.post(path, data=form).status_code
    assert 422 == client.post(path, data={"email": BOB}).status_code
    assert [] == open_site.rows("courier_message")


def test_token_of_another_account(open_site: Site) -> None:
    """A token that another account was given is none."""
    client = open_site.client
    form = {"form_token": token(client, TEST), "email": BOB}
    identity = open_site.add_user()
    open_site.courier.current_account(lambda: open_site.get_user(identity))
    assert 422 == client.post(TEST, data=form).status_code


@pytest.mark.parametrize("path", [CHECK, TEST])
def test_reading_does_nothing(open_site: Site, path: str) -> None:
    """What acts answers POST alone."""
    assert 405 == open_site.client.get(path).status_code


def test_large_body(open_site: Site) -> None:
    """A body that no form of this page has is refused."""
    assert 413 == open_site.client.post(TEST, json={"email": "x" * 40_000}).status_code


def test_somebody_else_writes(sites: MakeSite) -> None:
    """A test mail that cannot be queued now is told to come back, and not half queued."""
    site = sites(**IMPATIENT)
    site.courier.log_access(lambda _permission: True)
    with locked(site.url):
        answer = site.client.post(TEST, json={"email": BOB})
    assert (503, "busy", "1") == (
        answer.status_code,
        answer.get_json()["reason"],
        answer.headers["Retry-After"],
    )
    assert [] == site.rows("courier_message")


def test_csrf_protection_of_the_host(sites: MakeSite) -> None:
    """A host's CSRFProtect guards these forms, too, and they carry its token beside ours."""
    site = sites(WTF_CSRF_ENABLED=True, WTF_CSRF_CHECK_DEFAULT=True)
    site.courier.log_access(lambda _permission: True)
    CSRFProtect(site.app)
    client = site.client
    # form_data() reads the first form, which is the check's.
    test_form = client.get(HEALTH).text.partition('id="courier-test"')[2]
    data = form_data(test_form, email=BOB)
    hosts = data.pop("csrf_token")
    assert 400 == client.post(TEST, data=data).status_code
    assert 303 == client.post(TEST, data={**data, "csrf_token": hosts}).status_code


def test_csrf_protection_of_the_host_in_json(sites: MakeSite) -> None:
    """A program passes it by its header."""
    site = sites(WTF_CSRF_ENABLED=True, WTF_CSRF_CHECK_DEFAULT=True)
    site.courier.log_access(lambda _permission: True)
    CSRFProtect(site.app)
    client = site.client
    hosts = client.get(HEALTH).text.split('name="csrf_token" value="')[1].split('"')[0]
    assert [400, 200] == [
        client.post(CHECK, json={}, headers=headers).status_code
        for headers in ({}, {"X-CSRFToken": hosts})
    ]
