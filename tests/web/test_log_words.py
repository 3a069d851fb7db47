"""What the delivery log and the worker's log say when something is wrong."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest

from tests.databases import every_database
from tests.site import Site
from tests.smtp_server import MailServer
from tests.visitor import ADA, NO_LIMITS, Visitor, mailed, request_mail


def message_page(site: Site) -> str:
    """The page of the only message."""
    site.courier.log_access(lambda _permission: True)
    (row,) = site.rows("courier_message")
    return Visitor(site).get(f"/courier/messages/{row['id']}").text


def test_a_missing_template_is_named(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """The page and the worker's log name the template that a mail waits for."""
    with site.app.app_context():
        site.courier.send("nosuch", to=ADA)
        site.db.session.commit()
    site.deliver()

    assert "no mail template &#39;courier/mail/nosuch.subject.txt&#39;" in message_page(site)
    assert "courier/mail/nosuch.subject.txt" in caplog.text


@every_database
def test_a_spent_link_is_not_offered(sites: Callable[..., Site]) -> None:
    """The live link of a log: delivery disappears from the page once it is used."""
    site = sites(**NO_LIMITS)
    site.add_user(ADA)
    token = mailed(site, "verification").token
    assert token in message_page(site)
    Visitor(site).redeem("verification", token)

    assert token not in message_page(site)


def test_a_failed_attempt_is_logged_without_the_servers_words(
    mailing_site: Site, mail_server: MailServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker's log has phase and code of a refusal, and no word that may hold an address."""
    mailing_site.add_user(ADA)
    mail_server.answers["RCPT"] = f"550 5.1.1 <{ADA}>: user unknown"
    request_mail(mailing_site, "recovery")
    with caplog.at_level(logging.WARNING, logger="flask_courier.worker"):
        mailing_site.deliver()

    ours = [record.getMessage() for record in caplog.records if record.name.startswith("flask")]
    assert ["attempt rejected at rcpt, code 550; the delivery log has the server's words"] == ours
