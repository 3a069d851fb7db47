"""The delivery log in the browser and in JSON: who sees it, what it lists, what it hides."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jinja2
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.delivery.mails import LONG_AGO, only, queue_own, queue_recovery, recorded
from tests.observation import update
from tests.scripted_smtp import scripted_smtp
from tests.site import Site

MakeSite = Callable[..., Site]

JSON = {"Accept": "application/json"}
NOBODY = "00000000-0000-7000-8000-000000000000"
ROUTES = [
    "/courier/",
    f"/courier/messages/{NOBODY}",
    f"/courier/messages/{NOBODY}/preview",
    "/courier/health",
    "/courier/export.csv",
    "/courier/export.jsonl",
]
LOCAL = "http://localhost"


@pytest.fixture
def open_site(site: Site) -> Site:
    """A site that lets everybody see its log."""
    site.courier.log_access(lambda _permission: True)
    return site


def listed(site: Site, query: str = "") -> dict[str, Any]:
    """The list as JSON."""
    answer: dict[str, Any] = site.client.get(f"/courier/{query}", headers=JSON).get_json()
    return answer


def recipients(site: Site, query: str = "") -> list[str]:
    """Whom the list shows, in its order."""
    return [message["recipient"] for message in listed(site, query)["messages"]]


def message_path(site: Site) -> str:
    """The page of the only message."""
    return f"/courier/messages/{only(site)['id']}"


def sent_recovery(site: Site) -> str:
    """Deliver a recovery mail; answer its token."""
    site.add_user()
    queue_recovery(site)
    [mail] = recorded(site)
    assert mail.token is not None
    return mail.token


# Who sees it


async def later(_permission: str) -> bool:
    """Answer too late: this is a coroutine."""
    return True


def broken(_permission: str) -> bool:
    """Fail."""
    raise KeyError("no session")


ANSWERS: dict[str, Callable[[str], Any]] = {
    "one": lambda _permission: 1,
    "yes": lambda _permission: "yes",
    "list": lambda _permission: [True],
    "none": lambda _permission: None,
    "false": lambda _permission: False,
    "error": broken,
}


@pytest.mark.parametrize("path", ROUTES)
def test_closed_by_default(site: Site, path: str) -> None:
    """Without a word of the application the log is not there."""
    assert 404 == site.client.get(path).status_code


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("answer", ANSWERS)
def test_closed_unless_the_answer_is_true(site: Site, answer: str, path: str) -> None:
    """Anything that is not ``True`` itself, an exception too, keeps the log closed."""
    site.courier.log_access(ANSWERS[answer])
    assert 404 == site.client.get(path).status_code


def test_asynchronous_answer(site: Site) -> None:
    """A coroutine is no answer: it is awaited where Flask can, and refuses where it cannot."""
    site.courier.log_access(later)
    try:
        import asgiref  # type: ignore[import-not-found,unused-ignore] # noqa: F401
    except ImportError:
        expected = 404
    else:
        expected = 200
    assert expected == site.client.get("/courier/").status_code


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST", "PUT", "DELETE"])
def test_closed_to_every_method(site: Site, method: str) -> None:
    """No method tells a stranger whether there is a log."""
    absent = site.client.open("/absent/", method=method).status_code
    assert (404, 404) == (site.client.open("/courier/", method=method).status_code, absent)


def test_closed_without_its_slash(site: Site) -> None:
    """Nor does the address without its slash, which is not redirected for a stranger."""
    assert 404 == site.client.get("/courier").status_code


def test_closed_answer_is_the_applications_own(site: Site) -> None:
    """The 404 is the application's, as for any address that is not there."""
    assert site.client.get("/absent/").text == site.client.get("/courier/").text


def test_hook_is_asked_by_permission(site: Site) -> None:
    """The hook is asked for each permission before what it covers is shown."""
    asked: list[str] = []

    def access(permission: str) -> bool:
        asked.append(permission)
        return True

    site.courier.log_access(access)
    queue_own(site)
    site.deliver()
    site.client.get("/courier/")
    assert {"list", "read_content", "act", "export"} == set(asked)
    asked.clear()
    site.client.get(message_path(site))
    assert {"list", "read_content", "act"} == set(asked)


def debug_get(sites: MakeSite, base_url: str = LOCAL, **options: Any) -> int:
    """What a debug site without a hook answers."""
    site = sites(DEBUG=True)
    site.app.debug = True
    return site.client.get("/courier/", base_url=base_url, **options).status_code


@pytest.mark.parametrize(
    "base_url",
    ["http://localhost:5000", "http://127.0.0.1", "http://[::1]:5000", "http://a.localhost"],
)
def test_debug_on_this_machine(sites: MakeSite, base_url: str) -> None:
    """In debug, a browser of this machine that says so sees the log."""
    assert 200 == debug_get(sites, base_url)


@pytest.mark.parametrize("name", ["acme.example", "127.0.0.1.nip.io", "localhost.evil.example"])
def test_debug_under_another_name(sites: MakeSite, name: str) -> None:
    """A Host that is not this machine's closes it: DNS rebinding comes that way."""
    assert 404 == debug_get(sites, f"http://{name}")


def test_debug_from_another_machine(sites: MakeSite) -> None:
    """A client of another machine does not see it, whatever Host it claims."""
    away = {"REMOTE_ADDR": "192.168.1.7"}
    assert 404 == debug_get(sites, environ_overrides=away)


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Forwarded-Host", "Via"]
)
def test_debug_behind_a_proxy(sites: MakeSite, name: str) -> None:
    """A forwarding header closes it: the loopback client is a proxy then."""
    assert 404 == debug_get(sites, headers={name: "192.0.2.1"})


def test_hook_decides_in_debug_too(sites: MakeSite) -> None:
    """Where there is a hook, debug opens nothing."""
    site = sites(DEBUG=True)
    site.app.debug = True
    site.courier.log_access(lambda _permission: False)
    assert 404 == site.client.get("/courier/", base_url=LOCAL).status_code


# The list


def test_newest_first(open_site: Site) -> None:
    """Messages are listed newest first."""
    for name in ("ada", "bob", "eve"):
        queue_own(open_site, f"{name}@example.com")
    expected = ["eve@example.com", "bob@example.com", "ada@example.com"]
    assert expected == recipients(open_site)


def test_pages_follow_each_other(open_site: Site) -> None:
    """Each page names the next, to the last; nothing is shown twice or left out."""
    for number in range(7):
        queue_own(open_site, f"user{number}@example.com")
    seen, address = [], "/courier/?n=3"
    while address:
        page = open_site.client.get(address, headers=JSON)
        seen.append([message["recipient"][4] for message in page.get_json()["messages"]])
        links = {
            name: page.get_json()[key] for name, key in (("next", "next"), ("prev", "previous"))
        }
        told = [f'<{url}>; rel="{name}"' for name, url in links.items() if url]
        assert (", ".join(told) or None) == page.headers.get("Link")
        address = links["next"]
    assert [["6", "5", "4"], ["3", "2", "1"], ["0"]] == seen


def test_page_is_stable_under_new_mail(open_site: Site) -> None:
    """Mail that comes in meanwhile shifts no page."""
    for number in range(4):
        queue_own(open_site, f"user{number}@example.com")
    following = listed(open_site, "?n=2")["next"]
    queue_own(open_site, "late@example.com")
    page = open_site.client.get(following, headers=JSON).get_json()
    assert ["user1@example.com", "user0@example.com"] == [
        message["recipient"] for message in page["messages"]
    ]


def test_filters(open_site: Site) -> None:
    """The list is filtered by status and by how the recipient begins, alone and together."""
    for name in ("ada", "adam", "bob"):
        queue_own(open_site, f"{name}@example.com")
    open_site.deliver()
    queue_own(open_site, "adele@example.com")
    assert ["adele@example.com"] == recipients(open_site, "?status=queued")
    assert ["adam@example.com", "ada@example.com"] == recipients(open_site, "?q=ada")
    assert ["ada@example.com"] == recipients(open_site, "?q=ada@example.com")
    assert [] == recipients(open_site, "?q=bob&status=queued")


@pytest.mark.parametrize("query", ["?q=%25", "?q=_", "?q=%00", "?q=%27", "?q=%5C"])
def test_filter_is_no_pattern(open_site: Site, query: str) -> None:
    """What SQL takes for a pattern, or cannot store, is text in the filter."""
    queue_own(open_site)
    expected = ["ada@example.com"] if query == "?q=%00" else []
    assert expected == recipients(open_site, query)


def test_page_keeps_its_filters(open_site: Site) -> None:
    """The next page has the filters of the first."""
    for number in range(3):
        queue_own(open_site, f"ada{number}@example.com")
    following = listed(open_site, "?q=ada&status=queued&n=1")["next"]
    expected = r"/courier/\?status=queued&q=ada&after=[0-9A-Za-z._-]{56}&n=1"
    assert re.fullmatch(expected, following), following


def test_size_that_cannot_be_read(open_site: Site) -> None:
    """A page size that is no number is answered with 400 and what may stand there, either way."""
    page = open_site.client.get("/courier/?n=many")
    answer = open_site.client.get("/courier/?n=many", headers=JSON)
    detail = "n is how many messages a page has: a number."
    assert (400, 400) == (page.status_code, answer.status_code)
    assert detail in page.text
    assert "application/problem+json" == answer.mimetype
    assert {
        "type": "about:blank",
        "title": "This address cannot be read",
        "status": 400,
        "detail": detail,
        "reason": "query",
    } == answer.get_json()


@pytest.mark.parametrize(("size", "shown"), [("0", 1), ("-5", 1), ("2", 2), ("100000", 3)])
def test_page_size_is_bounded(open_site: Site, size: str, shown: int) -> None:
    """A page has at least one message, whatever is asked for."""
    for number in range(3):
        queue_own(open_site, f"user{number}@example.com")
    assert shown == len(recipients(open_site, f"?n={size}"))


def test_json_of_a_message_in_the_list(open_site: Site) -> None:
    """The list has these fields of each message."""
    queue_own(open_site)
    [message] = listed(open_site)["messages"]
    assert {
        "id", "created_at", "kind", "status", "reason", "recipient", "subject", "attempts",
        "next_attempt_at", "lease_until", "expires_at", "sent_at", "last_code", "last_error",
        "transport", "account_ref", "locale", "claims", "prepared_at", "message_id_header",
        "resend_of", "max_attempts", "type", "template_type", "send_count", "updated_at",
    } == message.keys()  # fmt: skip
    assert ("queued", 0, 6, None) == tuple(
        message[name] for name in ("status", "attempts", "max_attempts", "sent_at")
    )
    created = datetime.fromisoformat(message["created_at"])
    assert timedelta(0) == created.utcoffset()


def test_list_page(open_site: Site) -> None:
    """The page names recipient, kind, status and subject, and links to the message."""
    queue_own(open_site, subject="Your invoice")
    open_site.deliver()
    page = open_site.client.get("/courier/").text
    assert f'<a href="{message_path(open_site)}">ada@example.com</a>' in page
    assert "Your invoice" in page
    assert "Delivered into this log" in page


def test_empty_list(open_site: Site) -> None:
    """Without any message the page says what will be here; with filters, that nothing matches."""
    assert "No messages yet" in open_site.client.get("/courier/").text
    assert "No message matches" in open_site.client.get("/courier/?q=ada").text


def test_recipient_is_escaped(open_site: Site) -> None:
    """A hostile filter is text on the page."""
    page = open_site.client.get("/courier/?q=%3Cscript%3Ealert(1)%3C/script%3E").text
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page


# One message


@pytest.mark.parametrize("path", [f"/courier/messages/{NOBODY}", "/courier/messages/none"])
def test_no_such_message(open_site: Site, path: str) -> None:
    """An id that no message has is not there."""
    assert 404 == open_site.client.get(path).status_code


def test_reply_is_shown_as_it_was(sites: MakeSite) -> None:
    """What the SMTP server said is shown word for word, as text."""
    reply = "550-5.1.1 <b>no such user</b>\r\n550 5.1.1 see <script>alert(1)</script>"
    with scripted_smtp(RCPT=reply) as server:
        site = sites(COURIER_SMTP_URI=server.uri)
        site.courier.log_access(lambda _permission: True)
        queue_own(site)
        site.deliver()
    page = site.client.get(message_path(site)).text
    shown = (
        '<pre dir="auto"><b>550</b> 5.1.1 &lt;b&gt;no such user&lt;/b&gt;\n'
        "5.1.1 see &lt;script&gt;alert(1)&lt;/script&gt;</pre>"
    )
    assert shown in page
    assert "This mail was refused for good." in page
    assert "There is no such mailbox." in page


def test_sent_is_explained(sites: MakeSite) -> None:
    """The page says that sent means accepted by the SMTP server, and not more."""
    with scripted_smtp() as server:
        site = sites(COURIER_SMTP_URI=server.uri)
        site.courier.log_access(lambda _permission: True)
        queue_own(site)
        site.deliver()
    page = site.client.get(message_path(site)).text
    assert "The SMTP server accepted this mail." in page
    assert "Accepted by the SMTP server</span>" in page
    assert "Accepted is not delivered" in page
    assert "Accepted by the SMTP server" in site.client.get("/courier/").text


def test_content_is_masked(sites: MakeSite) -> None:
    """Text and HTML part show dots where token and code went, and the page has neither."""
    with scripted_smtp() as server:
        site = sites(COURIER_SMTP_URI=server.uri)
        site.courier.log_access(lambda _permission: True)
        token = sent_recovery(site)
    path = message_path(site)
    pages = [site.client.get(path).text, site.client.get(f"{path}/preview").text]
    pages.append(site.client.get(path, headers=JSON).text)
    assert "https://acme.example/account/recovery/••••••••" in pages[0]
    assert [False] * 3 == [token in page for page in pages]
    assert [False] * 3 == [token.partition(".")[0] in page for page in pages]


def test_json_of_a_message(open_site: Site) -> None:
    """One message as JSON has its attempts, its events and its masked content."""
    queue_own(open_site, subject="Your invoice", text="hello")
    open_site.deliver()
    answer = open_site.client.get(message_path(open_site), headers=JSON).get_json()
    assert {"subject": "Your invoice", "text": "hello", "html": None} == answer["content"]
    assert "sent" == answer["status"]
    assert "This mail stayed on this machine, in this log." == answer["headline"]
    assert ["asked", "written", "attempt"] == [step["what"] for step in answer["timeline"]]
    [attempt] = answer["dispatches"]
    assert {
        "number", "worker", "transport", "host", "address", "tls_version", "tls_cipher", "phase",
        "outcome", "code", "enhanced_code", "cause", "reply", "started_at", "duration_ms",
        "status", "created_at", "error", "meaning", "side", "advice",
    } == attempt.keys()  # fmt: skip
    assert (1, "accepted", "dot", "log:") == tuple(
        attempt[name] for name in ("number", "outcome", "phase", "transport")
    )


def test_fetched_link_is_an_event(open_site: Site) -> None:
    """That a link was fetched is told, and that it may have been a scanner."""
    token = sent_recovery(open_site)
    open_site.client.get(f"/account/recovery/{token}")
    page = open_site.client.get(message_path(open_site)).text
    assert "The link was fetched, by a person or by a mail scanner" in page
    answer = open_site.client.get(message_path(open_site), headers=JSON).get_json()
    assert "link_fetched" == answer["timeline"][-1]["what"]


def test_content_needs_its_own_permission(site: Site) -> None:
    """Without ``read_content`` neither page, JSON nor preview shows what the mail says."""
    site.courier.log_access(lambda permission: permission == "list")
    sent_recovery(site)
    path = message_path(site)
    page, answer = site.client.get(path), site.client.get(path, headers=JSON)
    assert (200, None) == (page.status_code, answer.get_json()["content"])
    for view in ("text", "html", "source", "headers"):
        page = site.client.get(f"{path}?view={view}")
        assert "and not what it says" in page.text
        assert "courier-body" not in page.text
        assert "iframe" not in page.text
    assert 404 == site.client.get(f"{path}/preview").status_code


def test_live_link_needs_its_own_permission(site: Site) -> None:
    """Without ``read_content`` no live link is shown either."""
    site.courier.log_access(lambda permission: permission == "list")
    token = sent_recovery(site)
    assert token not in site.client.get(message_path(site)).text


def test_live_link_of_mail_that_stayed_here(open_site: Site) -> None:
    """A mail delivered into the log shows its live link and code, which open the flow."""
    token = sent_recovery(open_site)
    page = open_site.client.get(message_path(open_site)).text
    assert f'href="https://acme.example/account/recovery/{token}"' in page
    assert re.search(r"<code class=\"courier-digits\">[0-9]{8}</code>", page)


def test_no_live_link_of_mail_that_left(sites: MakeSite) -> None:
    """A mail that went to a server shows no live link, whatever the configuration says now."""
    with scripted_smtp() as server:
        site = sites(COURIER_SMTP_URI=server.uri)
        token = sent_recovery(site)
    now_local = sites()
    now_local.courier.log_access(lambda _permission: True)
    page = now_local.client.get(message_path(now_local)).text
    assert token not in page
    assert "courier-live" not in page


def test_no_live_link_once_mail_leaves(sites: MakeSite) -> None:
    """Where mail leaves now, an old delivery into the log shows no live link any more."""
    token = sent_recovery(sites())
    site = sites(COURIER_SMTP_URI="smtp://mail.acme.example/")
    site.courier.log_access(lambda _permission: True)
    assert token not in site.client.get(message_path(site)).text


def test_no_live_link_under_a_dropped_key(sites: MakeSite) -> None:
    """A live link is derived with the key that minted it, or not at all."""
    token = sent_recovery(sites())
    site = sites(SECRET_KEY="b" * 32)
    site.courier.log_access(lambda _permission: True)
    page = site.client.get(message_path(site))
    assert (200, False) == (page.status_code, token in page.text)


# The preview


def preview(site: Site, **headers: str) -> TestResponse:
    """The frame of the only message."""
    return site.client.get(f"{message_path(site)}/preview", headers=headers)


def test_preview_can_do_nothing(open_site: Site) -> None:
    """The frame's own policy allows inline styles and data images, in a sandbox."""
    sent_recovery(open_site)
    answer = preview(open_site)
    assert (200, "text/html") == (answer.status_code, answer.mimetype)
    means = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; form-action 'none'; "
        "base-uri 'none'"
    )
    policy = f"{means}; sandbox; frame-ancestors 'self'"
    assert policy == answer.headers["Content-Security-Policy"]
    # In the page as well: the application may write a header of its own over this one.
    assert answer.text.startswith(
        '<!doctype html><meta http-equiv="Content-Security-Policy" content="'
        + means.replace("'", "&#39;")
    )
    assert "no-referrer" == answer.headers["Referrer-Policy"]
    frame = '<iframe class="courier-preview" sandbox="" referrerpolicy="no-referrer"'
    assert frame in open_site.client.get(f"{message_path(open_site)}?view=html").text


@pytest.mark.parametrize(
    ("destination", "status"), [("iframe", 200), ("document", 404), ("embed", 404)]
)
def test_preview_is_for_a_frame(open_site: Site, destination: str, status: int) -> None:
    """Opened as a page of its own, the preview is not there."""
    sent_recovery(open_site)
    assert status == preview(open_site, **{"Sec-Fetch-Dest": destination}).status_code


def test_hostile_html_is_inert(open_site: Site) -> None:
    """HTML with a script is shown as it was sent; no header lets it run."""
    html = "<script>alert(1)</script><form action='https://evil.example'></form>"
    queue_own(open_site)
    kind = only(open_site)["kind"]
    loader = open_site.app.jinja_env.loader
    assert isinstance(loader, jinja2.ChoiceLoader)
    added = jinja2.DictLoader({f"{kind}.html": html})
    open_site.app.jinja_env.loader = jinja2.ChoiceLoader([added, loader])
    open_site.deliver()
    answer = preview(open_site)
    assert answer.text.endswith(html)
    policy = answer.headers["Content-Security-Policy"]
    assert {"default-src 'none'", "sandbox", "form-action 'none'"} <= set(policy.split("; "))
    assert "script-src" not in policy


def test_no_preview_without_html(open_site: Site) -> None:
    """A mail without HTML, or not written yet, has no frame."""
    queue_own(open_site)
    assert 404 == preview(open_site).status_code
    open_site.deliver()
    assert 404 == preview(open_site).status_code
    page = open_site.client.get(f"{message_path(open_site)}?view=html").text
    assert "iframe" not in page
    assert "This mail has no HTML part." in page


# Banners, layout, addresses


def banner(client: FlaskClient, **headers: str) -> str | None:
    """What the page says first."""
    page = client.get("/courier/", headers=headers).text
    found = re.search(r'<div class="courier-banner">\s*<p>([^<]+)</p>', page)
    return None if found is None else found[1].replace("&#39;", "'")


def test_no_banner(open_site: Site) -> None:
    """Where all is well, the page says nothing first."""
    queue_own(open_site)
    assert banner(open_site.client) is None


def test_banner_without_a_worker(open_site: Site) -> None:
    """Mail that has waited for minutes without any worker is told, with what to do."""
    queue_own(open_site)
    update(open_site, "courier_message", next_attempt_at=LONG_AGO)
    assert (
        "Mail is waiting and no worker is at work. Run 'flask courier worker', or set "
        "COURIER_WORKER to 'thread'." == banner(open_site.client)
    )


def test_no_banner_with_a_worker(open_site: Site) -> None:
    """Mail that waits while a worker was seen lately is no alarm."""
    queue_own(open_site)
    update(open_site, "courier_message", next_attempt_at=LONG_AGO)
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    with open_site.app.app_context(), open_site.db.engine.begin() as connection:
        table = open_site.db.metadata.tables["courier_worker"]
        connection.execute(table.insert().values(name="a", kind="external", seen_at=now))
    assert banner(open_site.client) is None


def test_banner_behind_an_unknown_proxy(open_site: Site) -> None:
    """A proxy that Flask was not told of is told, for it switches a limit off."""
    assert (
        "A proxy forwards these requests and Flask was not told of it: the limit on requests per "
        "client is off. Wrap the application in werkzeug's ProxyFix."
        == banner(open_site.client, **{"X-Forwarded-For": "192.0.2.1"})
    )


def test_layout_of_the_application(sites: MakeSite, tmp_path: Path) -> None:
    """With COURIER_BASE_TEMPLATE the pages are set in the application's own layout."""
    site = sites(COURIER_BASE_TEMPLATE="layout.html")
    layout = (
        "<title>{% block title %}{% endblock %}</title><nav>Acme</nav>{% block metas %}"
        "{% endblock %}{% block styles %}{% endblock %}{% block content %}{% endblock %}"
    )
    with site.app.app_context():
        present = site.app.jinja_env.loader
        assert present is not None
        added = jinja2.DictLoader({"layout.html": layout})
        site.app.jinja_env.loader = jinja2.ChoiceLoader([added, present])
    site.courier.log_access(lambda _permission: True)
    page = site.client.get("/courier/")
    assert "<title>Delivery log</title><nav>Acme</nav>" in page.text
    assert "No messages yet" in page.text
    assert "Content-Security-Policy" not in page.headers


def test_preview_keeps_its_policy_in_the_applications_layout(sites: MakeSite) -> None:
    """The frame's policy holds whatever layout the pages have."""
    site = sites(COURIER_BASE_TEMPLATE="layout.html")
    site.courier.log_access(lambda _permission: True)
    sent_recovery(site)
    assert "sandbox" in preview(site).headers["Content-Security-Policy"]


def test_prefixes(sites: MakeSite) -> None:
    """The log and what it links to live under the configured prefixes."""
    site = sites(COURIER_LOG_URL_PREFIX="/mail-log", COURIER_ACCOUNT_URL_PREFIX="/users")
    site.courier.log_access(lambda _permission: True)
    queue_own(site)
    page = site.client.get("/mail-log/")
    assert f'<a href="/mail-log/messages/{only(site)["id"]}">' in page.text
    assert (404, 404) == (
        site.client.get("/courier/").status_code,
        site.client.get("/account/recovery").status_code,
    )
    assert 200 == site.client.get("/users/recovery").status_code
