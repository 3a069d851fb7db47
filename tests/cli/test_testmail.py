"""``flask courier test ADDRESS``: one mail at once, and what the server says to it."""

from __future__ import annotations

from collections.abc import Callable

import jinja2
import pytest

from flask_courier.core.causes import CAUSES
from tests.cli.commands import queue, run, run_json
from tests.delivery.mails import only, queue_own, states
from tests.scripted_smtp import DROP, scripted_smtp
from tests.site import Site
from tests.smtp_server import MailServer, closed_port, smtp_server

ADA = "ada@example.com"


def test_accepted(mailing_site: Site, mail_server: MailServer) -> None:
    """An accepted mail ends with 0; the page names the code, the TLS version and the message."""
    code, output = run(mailing_site, "test", ADA)
    [mail] = mail_server.mails
    assert (0, "Test mail from Acme", ADA) == (code, mail["Subject"], mail["To"])
    assert output.startswith("The SMTP server accepted the mail.\n")
    assert "code     250 2.0.0" in output
    assert "TLSv1.3" in output
    assert str(only(mailing_site)["id"]) in output
    assert [("sent", None)] == states(mailing_site)


def test_nothing_else_is_sent(mailing_site: Site, mail_server: MailServer) -> None:
    """Mail that waits goes on waiting: the test is about one mail."""
    queue(mailing_site, "bob@example.com")
    assert 0 == run(mailing_site, "test", ADA)[0]
    assert [ADA] == [mail["To"] for mail in mail_server.mails]


def test_rejected(sites: Callable[..., Site]) -> None:
    """A refusal ends with 3, with the server's words and what they mean; nothing is retried."""
    with scripted_smtp(RCPT="550 5.1.1 no such user") as server:
        site = sites(COURIER_SMTP_URI=server.uri)
        code, told = run_json(site, "test", ADA)
    assert (3, "rejected", "rcpt", 550) == (code, told["outcome"], told["phase"], told["code"])
    assert "no such user" in told["reply"]
    cause = CAUSES[told["cause"]]
    assert (cause.meaning, cause.advice) == (told["meaning"], told["advice"])
    assert [("abandoned", "rejected")] == states(site)


def test_unreachable(sites: Callable[..., Site]) -> None:
    """A server that is not there is told in plain words, with 3."""
    with closed_port() as port:
        site = sites(COURIER_SMTP_URI=f"smtp://127.0.0.1:{port}/?disable_starttls=true")
        code, output = run(site, "test", ADA)
    cause = CAUSES["connection_refused"]
    headline, meaning, advice = output.splitlines()[:3]
    assert (3, cause.meaning, cause.advice) == (code, meaning, advice)
    assert "did not get through" in headline
    assert [("abandoned", "transport_fault")] == states(site)


def test_outcome_unknown(sites: Callable[..., Site]) -> None:
    """A connection that breaks after the dot leaves the mail held."""
    with scripted_smtp(DOT=DROP) as server:
        site = sites(COURIER_SMTP_URI=server.uri)
        code, told = run_json(site, "test", ADA)
    assert (3, "unknown") == (code, told["outcome"])
    assert [("held", "outcome_unknown")] == states(site)


def test_a_good_test_closes_the_breaker(sites: Callable[..., Site]) -> None:
    """After a test that got through, mail flows again at once."""
    with closed_port() as port:
        site = sites(COURIER_SMTP_URI=f"smtp://localhost:{port}/?disable_starttls=true")
        queue_own(site)
        site.deliver()
        before = only(site, "courier_transport")["breaker"]
        with smtp_server(security="none", login=False, port=port):
            assert 0 == run(site, "test", ADA)[0]
    assert ("open", "closed") == (before, only(site, "courier_transport")["breaker"])


def test_without_a_server(site: Site) -> None:
    """``log:`` keeps the mail here: it says so first, and speaks of no SMTP server."""
    code, output = run(site, "test", ADA)
    assert 0 == code
    assert output.startswith("Nothing left this machine: the mail is in the delivery log.\n")
    assert "SMTP server" not in output


def test_without_a_server_as_json(site: Site) -> None:
    """With ``log:``, the meaning in the JSON speaks of no SMTP server either."""
    code, told = run_json(site, "test", ADA)
    assert (0, "COURIER_SMTP_URI is log:, so nothing leaves.") == (code, told["meaning"])


@pytest.mark.parametrize("address", ["ada", "ada@", "a@b@c.example", "ada@example.com\nBcc: x"])
def test_no_address(site: Site, address: str) -> None:
    """What is no address is a wrong command line; nothing is queued."""
    assert (2, []) == (run(site, "test", address)[0], site.rows("courier_message"))


def put(site: Site, subject: str, text: str = "hello") -> None:
    """Put templates of the application's own in the place of ours."""
    own = {"courier/mail/test.subject.txt": subject, "courier/mail/test.txt": text}
    site.app.jinja_env.loader = jinja2.DictLoader(own)


def test_template_that_makes_no_mail(site: Site) -> None:
    """Where a template of the application's own is of no use, the command says where to look."""
    put(site, subject="")
    code, output = run(site, "test", ADA)
    assert (1, [("abandoned", "template")]) == (code, states(site))
    assert "the mail cannot be made" in output


def test_template_that_is_missing(site: Site) -> None:
    """Without a template the mail is taken back: nobody sends it later."""
    site.app.jinja_env.loader = jinja2.DictLoader({})
    assert 1 == run(site, "test", ADA)[0]
    assert [("cancelled", "operator")] == states(site)


def test_template_that_raises(site: Site) -> None:
    """Where a template raises, the command says where to look, and nobody sends the mail later."""
    put(site, "x", "{{ 1 / 0 }}")
    code, output = run(site, "test", ADA)
    assert (1, [("cancelled", "operator")]) == (code, states(site))
    assert "the mail cannot be made" in output
