"""The worker: what becomes of a message, whatever the server, its templates or the database do."""

from __future__ import annotations

import html
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email import message_from_bytes
from typing import Any

import jinja2
import pytest
import sqlalchemy as sa

from flask_courier import SQLAlchemyAccounts
from flask_courier.core.accounts import AccountState
from flask_courier.core.causes import CAUSES
from flask_courier.delivery.ledger import POISON_CLAIMS
from tests.databases import IMPATIENT, every_database, locked
from tests.delivery.mails import (
    LONG_AGO,
    deliver_again,
    failing,
    in_thread,
    make_due,
    only,
    queue_own,
    queue_recovery,
    recorded,
    states,
    watched,
)
from tests.observation import update
from tests.scripted_smtp import DROP, ScriptedServer, scripted_smtp
from tests.site import SECRET, Site
from tests.smtp_server import MailServer, closed_port, smtp_server

MakeSite = Callable[..., Site]

OUTAGE = "smtp://localhost:{}/?disable_starttls=true"


def site_at(sites: MakeSite, server: ScriptedServer, **config: Any) -> Site:
    """A site that delivers through a scripted server."""
    return sites(COURIER_SMTP_URI=server.uri, **config)


def forget_texts(site: Site) -> None:
    """Delete every text, so that the next attempt renders again."""
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.execute(site.db.metadata.tables["courier_content"].delete())


# A server that is down


def test_outage_changes_no_answer(sites: MakeSite) -> None:
    """With the SMTP server down, a request is answered as it is with one."""
    with closed_port() as port:
        site = sites(COURIER_SMTP_URI=OUTAGE.format(port))
        site.add_user()
        answer = site.post(site.client, "/account/recovery", email="ada@example.com")
    assert (303, "/account/recovery/code") == (answer.status_code, answer.location)


@every_database
def test_outage_uses_no_attempt(sites: MakeSite) -> None:
    """A mail that met no server waits, and none of its attempts is used."""
    with closed_port() as port:
        site = sites(COURIER_SMTP_URI=OUTAGE.format(port))
        queue_own(site)
        assert {"queued": 1} == site.deliver()
    row, attempt = only(site), only(site, "courier_attempt")
    assert ("queued", "transport_fault", 0, 1) == (
        row["status"],
        row["reason"],
        row["attempts"],
        row["claims"],
    )
    assert ("dial", "transport_fault") == (attempt["phase"], attempt["outcome"])


def test_outage_is_told_on_the_log_page(sites: MakeSite) -> None:
    """The log page says in words why the server could not be reached, and quotes the error."""
    with closed_port() as port:
        site = sites(COURIER_SMTP_URI=OUTAGE.format(port))
        site.courier.log_access(lambda _permission: True)
        queue_own(site)
        site.deliver()
    page = site.client.get(f"/courier/messages/{only(site)['id']}").text
    assert CAUSES["connection_refused"].meaning in html.unescape(page)
    assert "no connection: Connection refused" in page


@every_database
def test_mail_arrives_after_an_outage(sites: MakeSite) -> None:
    """A mail that met no server arrives when the server is back at the same place."""
    with closed_port() as port:
        site = sites(COURIER_SMTP_URI=OUTAGE.format(port))
        queue_own(site)
        site.deliver()
        with smtp_server(security="none", port=port, login=False) as server:
            assert {"sent": 1} == deliver_again(site)
            assert ["Hello"] == [mail["Subject"] for mail in server.wait_for(1)]


class FaultyAccounts(SQLAlchemyAccounts):
    """An account store of the application's own that can have a fault in it."""

    faulty = True

    def state(self, account: Any) -> AccountState:
        """Fail, or answer."""
        if self.faulty:
            raise ZeroDivisionError(account.email)
        return super().state(account)


def test_long_outage_is_no_poison(sites: MakeSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """After many faults of the transport, one unforeseen failure does not abandon a message."""
    monkeypatch.setattr(FaultyAccounts, "faulty", False)
    with closed_port() as port:
        site = sites(COURIER_SMTP_URI=OUTAGE.format(port), accounts=FaultyAccounts)
        site.add_user()
        queue_recovery(site)
        for _ in range(6):
            deliver_again(site)
        monkeypatch.setattr(FaultyAccounts, "faulty", True)
        forget_texts(site)
        deliver_again(site)
    assert [("queued", "failed")] == states(site)


@every_database
def test_open_breaker_lets_one_message_probe(sites: MakeSite) -> None:
    """While the server is down, a delivery that is asked for tries it with one mail of many."""
    with closed_port() as port:
        site = sites(COURIER_SMTP_URI=OUTAGE.format(port), COURIER_SMTP_CONNECTIONS=1)
        for number in range(5):
            queue_own(site, f"user{number}@example.com")
        site.deliver()
        before = len(site.rows("courier_attempt"))
        assert {"queued": 1} == deliver_again(site)
    assert 1 == len(site.rows("courier_attempt")) - before
    assert "open" == only(site, "courier_transport")["breaker"]


def test_probe_that_gets_through_lets_all_go(sites: MakeSite) -> None:
    """When the server is back, the first delivery that is asked for sends everything."""
    with closed_port() as port:
        site = sites(COURIER_SMTP_URI=OUTAGE.format(port))
        for number in range(5):
            queue_own(site, f"user{number}@example.com")
        site.deliver()
        with smtp_server(security="none", port=port, login=False):
            assert {"sent": 5} == deliver_again(site)
    assert "closed" == only(site, "courier_transport")["breaker"]


def test_probe_that_cannot_be_composed(sites: MakeSite) -> None:
    """A probe that never reached the server is not waited for: the next mail may probe at once."""
    with closed_port() as port:
        site = sites(COURIER_SMTP_URI=OUTAGE.format(port), COURIER_SMTP_CONNECTIONS=1)
        queue_own(site)
        queue_own(site, "grace@example.com")
        site.deliver()
        update(site, "courier_message", recipient="not an address")
        before = len(site.rows("courier_attempt"))
        deliver_again(site)
    assert ("abandoned", "template") in states(site)
    assert before == len(site.rows("courier_attempt"))
    soon = datetime.now(timezone.utc) + timedelta(seconds=5)
    assert only(site, "courier_transport")["next_probe_at"] < soon.replace(tzinfo=None)


# What the server says


@every_database
def test_deferred_mail_runs_out_of_retries(sites: MakeSite) -> None:
    """A mail that is put off every time uses its attempts and is then given up."""
    with scripted_smtp(RCPT="450 4.2.0 greylisted") as server:
        site = site_at(sites, server, COURIER_MESSAGE_RETRIES=2)
        queue_own(site)
        told = [deliver_again(site) for _ in range(4)]
    assert [{"queued": 1}, {"queued": 1}, {"abandoned": 1}, {}] == told
    assert [("abandoned", "retries_exhausted")] == states(site)
    assert (3, 450, "4.2.0 greylisted") == tuple(
        only(site)[name] for name in ("attempts", "last_code", "last_error")
    )


def test_rejected_mail_is_abandoned_alone(sites: MakeSite) -> None:
    """A rejected mail is given up at once; those around it go out."""

    def answer(line: bytes) -> str:
        return "550 5.1.1 no such user" if b"eve" in line else "250 OK"

    with scripted_smtp(RCPT=answer) as server:
        site = site_at(sites, server)
        for name in ("ada", "eve", "bob"):
            queue_own(site, f"{name}@example.com")
        assert {"sent": 2, "abandoned": 1} == site.deliver()
    assert [("sent", None), ("abandoned", "rejected"), ("sent", None)] == states(site)


def test_expired_mail_is_never_sent(sites: MakeSite) -> None:
    """A mail whose time is over ends without an attempt."""
    with scripted_smtp() as server:
        site = site_at(sites, server)
        queue_own(site)
        update(site, "courier_message", expires_at=LONG_AGO)
        assert {} == site.deliver()
    assert ([("expired", None)], []) == (states(site), server.dialogues)


def test_retry_is_a_copy(sites: MakeSite) -> None:
    """A mail that was put off is sent again byte for byte, Message-ID and token included."""
    with scripted_smtp(DOT=["451 4.3.0 later", "250 OK"]) as server:
        site = site_at(sites, server)
        site.add_user()
        queue_recovery(site)
        assert [{"queued": 1}, {"sent": 1}] == [site.deliver(), deliver_again(site)]
    first, second = (dialogue.payloads[0] for dialogue in server.dialogues)
    assert first == second


def test_unknown_outcome_repeats_account_mail_once(sites: MakeSite) -> None:
    """Account mail of unknown outcome is sent once more as a copy; then it is held."""
    with scripted_smtp(DOT=DROP) as server:
        site = site_at(sites, server)
        site.add_user()
        queue_recovery(site)
        told = [deliver_again(site) for _ in range(3)]
    assert [{"queued": 1}, {"held": 1}, {}] == told
    first, second = (dialogue.payloads[0] for dialogue in server.dialogues)
    assert first == second
    assert message_from_bytes(first)["Message-ID"] == only(site)["message_id_header"]


def test_unknown_outcome_holds_a_notice(sites: MakeSite) -> None:
    """A mail without a token whose outcome is unknown is not repeated."""
    with scripted_smtp(DOT=DROP) as server:
        site = site_at(sites, server)
        queue_own(site)
        assert [{"held": 1}, {}] == [deliver_again(site), deliver_again(site)]
    assert [("held", "outcome_unknown")] == states(site)


def test_dropped_key_prepares_again(sites: MakeSite) -> None:
    """A retry under new keys alone carries a new token, which those keys know."""
    with scripted_smtp(DOT=["451 4.3.0 later", "250 OK"]) as server:
        old = site_at(sites, server)
        old.add_user()
        queue_recovery(old)
        old.deliver()
        new = site_at(sites, server, SECRET_KEY="b" * 32)
        make_due(new)
        [mail] = recorded(new)
    assert mail.token is not None
    opened = new.client.get(f"/account/recovery/{mail.token}")
    purposes = sorted(row["purpose"] for row in new.rows("courier_token"))
    assert (303, ["not_me", "recovery"]) == (opened.status_code, purposes)


def test_kept_key_retries_a_copy(sites: MakeSite) -> None:
    """A retry after a rotation uses the key that minted, as long as it is a fallback."""
    with scripted_smtp(DOT=["451 4.3.0 later", "250 OK"]) as server:
        old = site_at(sites, server)
        old.add_user()
        queue_recovery(old)
        old.deliver()
        deliver_again(site_at(sites, server, SECRET_KEY="b" * 32, SECRET_KEY_FALLBACKS=[SECRET]))
    first, second = (dialogue.payloads[0] for dialogue in server.dialogues)
    assert first == second


# Messages that cannot be handled


def test_failing_template_stops_nobody_else(site: Site) -> None:
    """A mail whose template raises is given back; the others go out."""
    queue_own(site, text="{{ 1 / 0 }}")
    queue_own(site)
    assert {"sent": 1} == site.deliver()
    assert [("queued", "template"), ("sent", None)] == states(site)


@every_database
def test_failing_statement_of_a_template_stops_nobody_else(site: Site) -> None:
    """A mail whose template runs a statement that the database refuses is given back alone."""
    site.app.jinja_env.globals["price"] = lambda: site.db.session.execute(sa.text("SELECT nosuch"))
    site.app.jinja_env.globals["rate"] = lambda: site.db.session.scalar(sa.text("SELECT 1"))
    queue_own(site, text="{{ price() }}")
    queue_own(site, text="{{ rate() }}")
    assert {"sent": 1} == site.deliver()
    assert [("queued", "template"), ("sent", None)] == states(site)


def test_poison_is_given_up(sites: MakeSite) -> None:
    """A mail whose preparation raises each time is given up at the fifth."""
    site = sites(accounts=FaultyAccounts)
    site.add_user()
    queue_recovery(site)
    seen = []
    for _ in range(5):
        deliver_again(site)
        seen += states(site)
    assert [("queued", "failed")] * 4 + [("abandoned", "poison")] == seen
    assert "ZeroDivisionError" == only(site)["last_error"]


@pytest.mark.parametrize("source", ["{{ context.nothing.here }}", "{% if %}", "{{ 1 / 0 }}"])
def test_failing_template_waits_for_a_release_that_mends_it(
    sites: MakeSite, database_url: str, source: str
) -> None:
    """However often a template raised, a release with a sound one sends the mail."""
    broken, mended = sites(), sites(database_url)
    broken.add_user()
    override(broken, "courier/mail/recovery.txt", source)
    queue_recovery(broken)
    for _ in range(6):
        assert {} == deliver_again(broken)
    assert ([("queued", "template")], []) == (states(broken), broken.rows("courier_token"))
    assert 0 == only(broken)["claims"], "a faulty release's claims would make it poison"
    assert {"sent": 1} == deliver_again(mended)


def test_failing_template_is_named(site: Site) -> None:
    """The delivery log says which template failed, on which line, and over what."""
    site.add_user()
    override(site, "courier/mail/recovery.txt", "a\nb\n{{ context.nothing.here }}")
    queue_recovery(site)
    site.deliver()
    said = "the template courier/mail/recovery.txt, line 3: 'context' is undefined"
    assert said == only(site)["last_error"]


def test_failing_template_that_is_never_mended(site: Site) -> None:
    """Without a release that mends the template, the mail expires, and says why."""
    queue_own(site, text="{{ 1 / 0 }}")
    site.deliver()
    update(site, "courier_message", expires_at=LONG_AGO)
    deliver_again(site)
    assert [("expired", "template")] == states(site)


def test_unusable_template_is_given_up_at_once(sites: MakeSite) -> None:
    """A mail that no template can make into a mail is given up, with the reason."""
    with scripted_smtp() as server:
        site = site_at(sites, server)
        queue_own(site, subject="a{{ '\\0' }}b")
        site.deliver()
    assert ([("abandoned", "template")], []) == (states(site), server.dialogues)
    assert " made text with NUL " in only(site)["last_error"]


def override(site: Site, name: str, source: str) -> None:
    """Put a template of the application's own before one of ours."""
    with site.app.app_context():
        present = site.app.jinja_env.loader
        assert present is not None
        added = jinja2.DictLoader({name: source})
        site.app.jinja_env.loader = jinja2.ChoiceLoader([added, present])


def test_template_without_link_is_given_up_at_once(site: Site) -> None:
    """An application's recovery mail without link and code is given up, its token dropped."""
    site.add_user()
    override(site, "courier/mail/recovery.txt", "hello")
    queue_recovery(site)
    site.deliver()
    assert ([("abandoned", "template")], []) == (states(site), site.rows("courier_token"))
    assert only(site)["last_error"].startswith("the template courier/mail/recovery.txt shows")


def test_nothing_says_where_links_lead(sites: MakeSite) -> None:
    """A mail with a link that nobody can build is given up, with what to set."""
    site = sites()
    site.add_user()
    queue_recovery(site)
    sites(COURIER_PUBLIC_URL=None).deliver()
    assert [("abandoned", "template")] == states(site)
    assert (
        "set COURIER_PUBLIC_URL: nothing says where links should lead" == only(site)["last_error"]
    )


def test_forgotten_text_is_written_again(sites: MakeSite) -> None:
    """A retry whose text is gone is prepared again."""
    with scripted_smtp(DOT=["451 4.3.0 later", "250 OK"]) as server:
        site = site_at(sites, server)
        queue_own(site)
        site.deliver()
        forget_texts(site)
        assert {"sent": 1} == deliver_again(site)
    assert 1 == len(site.rows("courier_content"))


def test_unknown_kind_is_given_back(sites: MakeSite, database_url: str) -> None:
    """A kind without templates here waits for a process that has them."""
    older, newer = sites(), sites(database_url)
    queue_own(newer)
    assert {} == older.deliver()
    assert [("queued", "unknown_kind")] == states(older)
    assert 0 == only(older)["claims"], "an old release's claims would make it poison"
    assert {"sent": 1} == deliver_again(newer)


# The database


def test_result_is_kept_until_it_can_be_written(sites: MakeSite) -> None:
    """An accepted mail whose result meets a locked database is recorded once that is free."""
    with smtp_server(security="none", login=False) as server:
        site = sites(COURIER_SMTP_URI=OUTAGE.format(server.port), **IMPATIENT)
        queue_own(site)
        server.may_answer.clear()
        with in_thread(site.deliver), watched("database_away") as away:
            assert server.at_dot.wait(20)
            with locked(site.url):
                server.may_answer.set()
                assert away.wait(20)
    assert (1, [("sent", None)]) == (len(server.envelopes), states(site))
    assert ["accepted"] == [row["outcome"] for row in site.rows("courier_attempt")]


@pytest.mark.slow
def test_result_that_is_refused(sites: MakeSite) -> None:
    """An accepted mail whose attempt is refused for good goes out once."""
    with smtp_server(security="none", login=False) as server:
        site = sites(COURIER_SMTP_URI=OUTAGE.format(server.port))
        queue_own(site)
        with failing(site, "INSERT INTO courier_attempt"):
            assert {"sent": 1} == site.deliver()
        update(site, "courier_message", lease_until=LONG_AGO, next_attempt_at=LONG_AGO)
        assert {} == site.deliver()
    assert (1, [("sent", None)]) == (len(server.envelopes), states(site))


def test_lost_lease_keeps_the_attempt_alone(sites: MakeSite) -> None:
    """A worker that has lost its lease writes its attempt down and decides nothing."""
    with smtp_server(security="none", login=False) as server:
        site = sites(COURIER_SMTP_URI=OUTAGE.format(server.port))
        queue_own(site)
        server.may_answer.clear()
        with in_thread(site.deliver):
            assert server.at_dot.wait(20)
            update(site, "courier_message", lease_token="f" * 32)
            server.may_answer.set()
    assert ([("processing", None)], "accepted") == (
        states(site),
        only(site, "courier_attempt")["outcome"],
    )


def test_lease_lost_before_the_wire_sends_nothing(
    mailing_site: Site, mail_server: MailServer
) -> None:
    """A claim that another worker took over while it waited is not prepared."""
    site = mailing_site
    queue_own(site)
    database = site.app.extensions["courier"].database
    preparer = site.app.extensions["courier"].worker_parts("test").preparer
    [claim] = database.transact(worker_claim)
    update(site, "courier_message", lease_token="f" * 32)
    batch = database.transact(lambda session: preparer.batch(session, [claim]))
    assert ([], {}) == (batch.parcels, batch.settled)
    assert 0 == mail_server.connections


def worker_claim(session: Any) -> Any:
    """Claim one message as a worker does."""
    from flask_courier.delivery.prepare import LEASE
    from flask_courier.storage import outbox

    return outbox.claim(session, count=1, lease=LEASE)


def test_drain_of_a_locked_database_raises(sites: MakeSite) -> None:
    """``deliver_pending`` tells its caller that the queue cannot be read."""
    site = sites(**IMPATIENT)
    queue_own(site)
    with locked(site.url), pytest.raises(Exception) as caught:  # noqa: PT011
        site.deliver()
    assert "Conflict" == type(caught.value).__name__


def test_drain_goes_on_behind_mail_that_is_given_up(sites: MakeSite) -> None:
    """A look that brings nothing but poison is not the last one."""
    with scripted_smtp() as server:
        site = site_at(sites, server, COURIER_SMTP_CONNECTIONS=1)
        for number in range(8):
            queue_own(site, f"poison{number}@example.com")
        update(site, "courier_message", claims=POISON_CLAIMS, next_attempt_at=LONG_AGO)
        queue_own(site)
        assert {"abandoned": 8, "sent": 1} == site.deliver()


def test_one_connection_takes_all(sites: MakeSite) -> None:
    """With one connection allowed, ten mails share one connection and one login."""
    with scripted_smtp() as server:
        site = site_at(sites, server, COURIER_SMTP_CONNECTIONS=1)
        for number in range(10):
            queue_own(site, f"user{number}@example.com")
        assert {"sent": 10} == site.deliver()
    assert [10] == [len(dialogue.payloads) for dialogue in server.dialogues]


def test_connections_are_bounded(
    sites: MakeSite, mail_server: MailServer, mail_config: dict[str, Any]
) -> None:
    """More mails than connections open no more connections than are allowed, each with one AUTH."""
    site = sites(**mail_config, COURIER_SMTP_CONNECTIONS=2)
    for number in range(9):
        queue_own(site, f"user{number}@example.com")
    assert {"sent": 9} == site.deliver()
    assert (2, 2) == (mail_server.connections, len(mail_server.logins))


def test_account_mail_goes_first(sites: MakeSite) -> None:
    """Account mail that was asked for last overtakes the notices before it."""
    with scripted_smtp() as server:
        site = site_at(sites, server, COURIER_SMTP_CONNECTIONS=1)
        site.add_user()
        for number in range(5):
            queue_own(site, f"user{number}@example.com")
        queue_recovery(site)
        site.deliver()
    recipients = [line for line in server.dialogues[0].commands if line.startswith(b"RCPT")]
    assert b"RCPT TO:<ada@example.com>" in recipients[:2]


@pytest.mark.parametrize("breakage", ["template", "table"])
def test_log_names_no_address(site: Site, caplog: pytest.LogCaptureFixture, breakage: str) -> None:
    """What the worker logs of a failure, its SQL included, names no address."""
    if breakage == "template":
        site.app.jinja_env.globals["refuse"] = [].index
        queue_own(site, "secret.person@example.com", text="{{ refuse(address) }}")
    else:
        queue_recovery(site, "secret.person@example.com")
        with site.app.app_context(), site.db.engine.begin() as connection:
            connection.exec_driver_sql('DROP TABLE "user"')
    site.deliver()
    expected = {"template": "no mail can be made", "table": "a message could not be handled"}
    assert expected[breakage] in caplog.text
    assert "secret.person" not in caplog.text
