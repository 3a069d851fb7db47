"""The page of one message: what became of it, all that happened, and what it says."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jinja2
import pytest
from sqlalchemy import event

from flask_courier.core.clock import utc_now
from flask_courier.state import state_of
from flask_courier.storage.outbox import operator
from tests.databases import every_database
from tests.delivery.mails import LONG_AGO, deliver_again, only, queue_own, queue_recovery, recorded
from tests.observation import update
from tests.scripted_smtp import DROP, scripted_smtp
from tests.site import Site

MakeSite = Callable[..., Site]
JSON = {"Accept": "application/json"}


def opened(site: Site) -> Site:
    """The site, with its log open to everybody."""
    site.courier.log_access(lambda _permission: True)
    return site


@pytest.fixture
def open_site(site: Site) -> Site:
    """A site that lets everybody see its log."""
    return opened(site)


def path_of(site: Site) -> str:
    """The page of the newest message."""
    newest = max(site.rows("courier_message"), key=lambda row: str(row["id"]))
    return f"/courier/messages/{newest['id']}"


def page_of(site: Site, query: str = "") -> str:
    """That page, with its entities as the characters that they stand for."""
    answer = site.client.get(path_of(site) + query)
    assert 200 == answer.status_code
    return html.unescape(answer.text)


def known(site: Site) -> dict[str, Any]:
    """The same as JSON."""
    answer: dict[str, Any] = site.client.get(path_of(site), headers=JSON).get_json()
    return answer


def refused(sites: MakeSite, **script: Any) -> Site:
    """A site with a recovery mail that met this server once."""
    with scripted_smtp(**script) as server:
        site = opened(sites(COURIER_SMTP_URI=server.uri))
        site.add_user()
        queue_recovery(site)
        site.deliver()
    return site


def sent(sites: MakeSite) -> Site:
    """A site with a recovery mail that a server accepted."""
    return refused(sites)


def token_row(site: Site, **values: Any) -> None:
    """Change every token."""
    update(site, "courier_token", **values)


# What became of it


@pytest.mark.parametrize(
    ("script", "headline", "meaning", "side", "again"),
    [
        (
            {"RCPT": "550 5.1.1 no such user"},
            "This mail was refused for good.",
            "There is no such mailbox.",
            "The recipient's",
            "No.",
        ),
        (
            {"RCPT": "552 5.2.2 over quota"},
            "This mail is waiting: it was put off for now.",
            "The mailbox is full.",
            "The recipient's",
            "Yes, by itself.",
        ),
        (
            {"RCPT": "451 4.7.1 greylisted"},
            "This mail is waiting: it was put off for now.",
            "The recipient's server puts off senders whom it does not know yet.",
            "The recipient's mail server's",
            "Yes, by itself.",
        ),
        (
            {"MAIL": "421 4.7.0 too many messages"},
            "This mail is waiting: the SMTP server wants less mail for now.",
            "The provider wants fewer mails or connections in this time.",
            "The SMTP provider's",
            "Yes, by itself.",
        ),
        (
            {"MAIL": "530 5.7.0 Authentication required"},
            "This mail is waiting until somebody changes a setting.",
            "The server takes mail only from those who log in.",
            "Ours: whoever runs this application",
            "Yes, by itself.",
        ),
        (
            {"DOT": DROP},
            "This mail may have arrived, and is sent once more.",
            "The connection broke before the server confirmed.",
            "Nobody's yet: the network in between",
            "Yes, by itself.",
        ),
    ],
)
def test_an_error_in_plain_words(
    sites: MakeSite,
    *,
    script: dict[str, str],
    headline: str,
    meaning: str,
    side: str,
    again: str,
) -> None:
    """The page says what an answer means, whose side it is on, and whether it is tried again."""
    page = page_of(refused(sites, **script))
    assert f'<p class="courier-headline">{headline}</p>' in page
    assert meaning in page
    assert f"<dd>{side}</dd>" in page
    assert re.search(rf"<dt>Tried again</dt><dd>{re.escape(again)}", page)


def test_the_servers_words_stand_beside_them(sites: MakeSite) -> None:
    """Code and words of the server are quoted at the top, as text."""
    page = refused(sites, RCPT="550 5.1.1 <b>nobody</b>")
    answer = page.client.get(path_of(page)).text
    assert "<b>550</b> <q><bdi>5.1.1 &lt;b&gt;nobody&lt;/b&gt;</bdi></q>" in answer


def test_next_try(sites: MakeSite) -> None:
    """A mail that waits says when it is tried again, and how many attempts are used."""
    page = page_of(refused(sites, RCPT="451 4.7.1 greylisted"))
    assert re.search(r"Next <time [^>]+>in \d+ minutes?</time>; 1 of 6 attempts are used\.", page)


def test_suppressed(open_site: Site) -> None:
    """An address that nobody signed up with is told plainly."""
    queue_recovery(open_site, "nobody@example.com")
    open_site.deliver()
    page = page_of(open_site)
    assert "This mail was not sent: there is no account with this address." in page
    assert "Ask the person which address they signed up with." in page
    assert "It was never written, so there is nothing to read." in page


def test_expired(open_site: Site) -> None:
    """A mail whose time ran out says so, with the time at which it did."""
    queue_own(open_site)
    update(open_site, "courier_message", next_attempt_at=LONG_AGO, expires_at=LONG_AGO)
    open_site.deliver()
    assert "This mail was not sent in time." in page_of(open_site)
    step = next(step for step in known(open_site)["timeline"] if step["what"] == "ended")
    assert ("2001-01-01T00:00:00+00:00", "Too late") == (step["at"], step["words"])


def later(**units: float) -> Any:
    """So long from now, as the database stores it."""
    return (utc_now() + timedelta(**units)).replace(tzinfo=None)


@pytest.mark.parametrize(
    ("values", "headline"),
    [
        ({"opened_at": None}, "nobody has opened its link yet."),
        ({"expires_at": LONG_AGO}, "its link ran out and nobody had opened it."),
        ({"opened_at": LONG_AGO}, "its link was opened, but not used yet."),
        (
            {"opened_at": LONG_AGO, "expires_at": LONG_AGO},
            "its link was opened, and ran out before it was used.",
        ),
        ({"consumed_at": LONG_AGO, "ended_as": "used"}, "the person did what it asked for."),
        ({"consumed_at": LONG_AGO, "ended_as": "replaced"}, "something newer took its place."),
    ],
)
def test_what_became_of_the_link(sites: MakeSite, values: dict[str, Any], headline: str) -> None:
    """A sent mail was accepted by the SMTP server, and no more; its link tells the rest."""
    site = sent(sites)
    token_row(site, **values)
    found = known(site)["headline"]
    assert found.startswith("The SMTP server accepted this mail")
    assert found.endswith(headline)


def test_what_to_quote(sites: MakeSite) -> None:
    """A sent mail shows the Message-ID that the server's own log has."""
    site = sent(sites)
    assert "<dt>Message-ID to quote</dt>" in page_of(site)
    assert only(site)["message_id_header"] in page_of(site)


# What happened


def test_everything_in_one_order(sites: MakeSite) -> None:
    """Request, writing, attempts, a fetched link and its end stand in one list, with distances."""
    with scripted_smtp(RCPT=["451 4.3.0 later", "250 ok"]) as server:
        site = opened(sites(COURIER_SMTP_URI=server.uri))
        site.add_user()
        queue_recovery(site)
        site.deliver()
        deliver_again(site)
    token_row(site, opened_at=later(minutes=1), consumed_at=later(minutes=2), ended_as="replaced")
    told = [step["what"] for step in known(site)["timeline"]]
    assert ["asked", "written", "attempt", "attempt"] == told[:4]
    assert {"link_fetched", "link_replaced", "not_me_fetched"} == set(told[4:])
    page = page_of(site)
    assert re.findall(r"Attempt \d", page) == ["Attempt 1", "Attempt 2"]
    assert re.search(r" UTC</time> · \d+ ms later", page)


def test_who_asked(sites: MakeSite) -> None:
    """What a visitor asked for is told apart from the application's own; no address is kept."""
    site = opened(sites())
    site.add_user()
    site.post(site.client, "/account/recovery", email="ada@example.com")
    visitors = page_of(site)
    queue_own(site)
    assert "Asked for on the account pages" in visitors
    assert "127.0.0.1" not in visitors
    assert "Queued by the application" in page_of(site)


def test_an_attempt_in_full(sites: MakeSite) -> None:
    """An attempt names phase, duration, server, address, encryption and worker."""
    site = refused(sites, RCPT="550 5.1.1 no such user")
    [attempt] = site.rows("courier_attempt")
    page = page_of(site)
    assert re.search(r"Ended at RCPT TO, after \d+ m?s · 5\.1\.1 · ", page)
    assert "<bdi>localhost</bdi> (<bdi>127.0.0.1</bdi>) · not encrypted" in page
    assert f"worker <bdi>{attempt['worker']}</bdi>" in page


@pytest.mark.parametrize(
    ("act", "status", "told", "steps"),
    [
        (operator.cancel, "queued", "Taken back by an operator", ["asked", "cancelled"]),
        (operator.retry, "abandoned", "Tried again by an operator", ["asked", "retried"]),
    ],
)
def test_operators_are_named(
    open_site: Site, act: Callable[..., object], status: str, told: str, steps: list[str]
) -> None:
    """Who took a message back or had it tried again is told, once."""
    queue_own(open_site)
    update(open_site, "courier_message", status=status)
    message_id = only(open_site)["id"]
    with open_site.app.app_context():
        state_of(open_site.app).database.transact(
            lambda session: act(session, message_id, actor="web:7")
        )
    page = page_of(open_site)
    assert re.search(rf"{told}</span>.*?<bdi>web:7</bdi>", page, re.DOTALL)
    assert steps == [step["what"] for step in known(open_site)["timeline"]]


def test_resend_leads_both_ways(open_site: Site) -> None:
    """A resend leads to the message it came from, and that one to it."""
    queue_own(open_site)
    open_site.deliver()
    first = path_of(open_site)
    with open_site.app.app_context():
        state_of(open_site.app).database.transact(
            lambda session: operator.resend(session, only(open_site)["id"], actor="web:7")
        )
    second = path_of(open_site)
    assert f'<a href="{first}">This is a resend of an earlier message</a>' in page_of(open_site)
    old = open_site.client.get(first).text
    assert f'<a href="{second}">Sent anew by an operator, as another message</a>' in old
    assert "Sent anew</h2>" in old


def test_same_recipient(open_site: Site) -> None:
    """Other mail to the address is one click away, and all of it one search."""
    for name in ("ada", "eve", "ada"):
        queue_own(open_site, f"{name}@example.com")
    rows = sorted(open_site.rows("courier_message"), key=lambda row: str(row["id"]))
    page = page_of(open_site)
    assert f'<a href="/courier/messages/{rows[0]["id"]}"><bdi>own' in page
    assert str(rows[1]["id"]) not in page
    assert 'href="/courier/?q=to:ada@example.com">All mail to this address</a>' in page


def many_attempts(site: Site, count: int) -> None:
    """Copy the only attempt, so that there are so many."""
    [row] = site.rows("courier_attempt")
    table = site.db.metadata.tables["courier_attempt"]
    with site.app.app_context(), site.db.engine.begin() as connection:
        copies = [{**row, "number": number} for number in range(2, count + 1)]
        connection.execute(table.insert(), copies)


def test_many_attempts_are_folded(sites: MakeSite) -> None:
    """Fifty attempts are shown, and the older ones on a page of their own."""
    site = refused(sites, RCPT="451 4.3.0 later")
    many_attempts(site, 60)
    newest, older = page_of(site), page_of(site, "?before=11")
    assert (50, 10) == (newest.count("<h3>Attempt "), older.count("<h3>Attempt "))
    assert "10 earlier attempts are left out." in newest
    # At the top, and with the first of the attempts that all had it.
    assert 2 == newest.count("The SMTP server has a passing trouble of its own.")
    assert '?before=11">Show older ones</a>' in newest
    assert "These are older attempts." in older
    assert (50, 10) == (len(known(site)["dispatches"]), known(site)["earlier_dispatches"])


@pytest.mark.parametrize("number", ["0", "-1", "x", "9" * 40])
def test_nonsense_is_no_page_of_attempts(open_site: Site, number: str) -> None:
    """Whatever stands for a number in the address, the page answers."""
    queue_own(open_site)
    assert "What happened" in page_of(open_site, f"?before={number}")


# What it says


def written(site: Site, *, text: str, subject: str = "Hello", markup: str | None = None) -> None:
    """A mail of the application's own, as its templates write it, kept here."""
    queue_own(site, subject=subject, text=text)
    if markup is not None:
        loader = site.app.jinja_env.loader
        assert isinstance(loader, jinja2.ChoiceLoader)
        added = jinja2.DictLoader({f"{only(site)['kind']}.html": markup})
        site.app.jinja_env.loader = jinja2.ChoiceLoader([added, loader])
    site.deliver()


@pytest.mark.parametrize(
    ("view", "shown"),
    [
        ("text", "hello text"),
        ("html", "<p>hello markup</p>"),
        ("source", "To: ada@example.com\r\nSubject: Hello\r\n"),
        ("headers", "To: ada@example.com\r\nSubject: Hello\r\n"),
        ("nonsense", "hello text"),
    ],
)
def test_tabs(open_site: Site, view: str, shown: str) -> None:
    """Text, HTML, source and headers are links; the open one is marked."""
    written(open_site, text="hello text", markup="<p>hello markup</p>")
    page = page_of(open_site, f"?view={view}")
    body = re.search(r'<pre class="courier-body"[^>]+>(.*?)</pre>', page, re.DOTALL)
    assert body is not None
    assert shown.replace("\r\n", "\n") in body[1]
    open_tab = "text" if view == "nonsense" else view
    assert re.search(rf'view={open_tab}#courier-content" aria-current="true">', page)
    assert 1 == page.count('<nav class="courier-views"')


def test_headers_are_no_body(open_site: Site) -> None:
    """The header fields end where the body begins; the source has both."""
    written(open_site, text="hello text")
    assert "hello text" in page_of(open_site, "?view=source")
    assert "hello text" not in page_of(open_site, "?view=headers")


def test_source_is_what_went_out(sites: MakeSite) -> None:
    """The source is what the server got, with a dot for each character of a secret."""
    with scripted_smtp() as server:
        site = opened(sites(COURIER_SMTP_URI=server.uri))
        site.add_user()
        queue_recovery(site)
        [mail] = recorded(site)
    [payload] = server.dialogues[0].payloads
    got = payload.decode().removesuffix(".\r\n").replace("\r\n..", "\r\n.").replace("\r\n", "\n")
    shown = re.search(
        r'<pre class="courier-body"[^>]+>(.*)</pre>', page_of(site, "?view=source"), re.DOTALL
    )
    assert shown is not None
    differences = [(a, b) for a, b in zip(got, shown[1], strict=True) if a != b]
    assert differences
    assert {"•"} == {b for _, b in differences}
    assert mail.token is not None
    assert mail.code is not None
    assert mail.token not in shown[1]
    assert mail.code not in shown[1]


def test_mail_that_cannot_be_written(open_site: Site) -> None:
    """Where no worker could compose the mail, the source says why."""
    written(open_site, text="hello")
    update(open_site, "courier_message", message_id_header="<a@b>\r\nBcc: eve@example.com")
    assert "would hold CR, LF or NUL" in page_of(open_site, "?view=source")


def test_a_long_mail_is_cut(open_site: Site) -> None:
    """A page shows 100,000 characters, and how many there are."""
    written(open_site, text="x" * 250_000)
    page = page_of(open_site)
    assert "Only the first 100,000 of 250,000 characters." in page
    assert "x" * 100_000 in page
    assert "x" * 100_001 not in page


def test_content_that_is_gone(open_site: Site) -> None:
    """Content that retention has deleted is not confused with mail that was never written."""
    written(open_site, text="hello")
    with open_site.app.app_context(), open_site.db.engine.begin() as connection:
        connection.execute(open_site.db.metadata.tables["courier_content"].delete())
    assert "It is not kept any longer" in page_of(open_site)


def test_content_that_is_to_come(open_site: Site) -> None:
    """Mail that waits to be written was not left out."""
    queue_own(open_site)
    assert "It is not written yet" in page_of(open_site)


def test_what_cannot_be_seen_is_written_out(open_site: Site) -> None:
    """What a terminal obeys or turns text around is visible, in a place of its own direction."""
    written(open_site, text="a\x1b[31mb\x07\u202egnp.exe", subject="Invoice \u202e7102 \x9b")
    page = open_site.client.get(path_of(open_site)).text
    escape = '<span class="courier-escape">{}</span>'
    assert f"<h1><bdi>Invoice {escape.format(chr(92) + 'u202e')}7102" in page
    assert f"a{escape.format(chr(92) + 'x1b')}[31mb{escape.format(chr(92) + 'x07')}" in page
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)


# What it costs


@every_database
def test_six_statements(sites: MakeSite) -> None:
    """The page of a message takes six statements, whatever the message has."""
    site = refused(sites, RCPT="451 4.3.0 later")
    many_attempts(site, 60)
    queue_recovery(site)
    path = f"/courier/messages/{site.rows('courier_attempt')[0]['message_id']}"
    seen: list[str] = []

    def note(*args: object) -> None:
        seen.append(str(args[2]))

    with site.app.app_context():
        engine = site.db.engine
    event.listen(engine, "before_cursor_execute", note)
    for view in ("text", "html", "source", "headers"):
        seen.clear()
        assert 200 == site.client.get(f"{path}?view={view}").status_code
        assert 6 == len(seen), seen
    seen.clear()
    site.client.get(path, headers=JSON)
    event.remove(engine, "before_cursor_execute", note)
    assert 5 == len(seen), seen
