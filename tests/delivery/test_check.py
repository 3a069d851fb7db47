"""The check: what is wrong with an installation, in words, from the configuration to the DNS."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

import dns.resolver
import pytest
import sqlalchemy as sa

from flask_courier.core.breaker import wait_after
from flask_courier.core.replies import Outcome
from flask_courier.core.smtp_uri import parse_smtp_uri
from flask_courier.core.steps import State, Step
from flask_courier.delivery import check, check_dns, check_tls
from flask_courier.delivery.check_smtp import PATIENCE
from flask_courier.delivery.probe import Certificate
from flask_courier.flows.samples import samples
from flask_courier.state import state_of
from flask_courier.storage import transports, workers
from tests.databases import every_database
from tests.delivery.dns_server import dns_server, silent_dns_server
from tests.delivery.mails import make_due, queue_own
from tests.delivery.test_dial import silent
from tests.scripted_smtp import DROP, EHLO, ScriptedServer, scripted_smtp
from tests.site import Site
from tests.smtp_server import (
    PASSWORD,
    USERNAME,
    Authority,
    MailServer,
    closed_port,
    served,
    smtp_server,
)

MakeSite = Callable[..., Site]
LOGIN = f"{quote(USERNAME, safe='')}:{quote(PASSWORD, safe='')}@"
#: Of the form that real domains have; asked of our own DNS server alone.
SENDER = "Acme <no-reply@mail.acme-post.com>"
DOMAIN = "mail.acme-post.com"
RECORDS = {
    DOMAIN: ["v=spf1 include:_spf.provider.com ~all"],
    f"_dmarc.{DOMAIN}": ["v=DMARC1; p=none"],
}
NOW = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)

ALL = (
    "configuration", "public_url", "templates", "database", "tables", "clock", "worker",
    "dns", "tcp", "ehlo", "tls", "auth", "sender", "breaker", "spf", "dmarc", "dkim", "proxy",
)  # fmt: skip


@pytest.fixture(scope="module")
def resolver() -> Iterator[dns.resolver.Resolver]:
    """Who is asked for the records of the sender's domain."""
    with dns_server(RECORDS) as asked:
        yield asked


@dataclass
class Checks:
    """Makes sites and checks them."""

    sites: MakeSite
    resolver: dns.resolver.Resolver
    authority: Authority

    def site(self, uri: str, *, trust: bool = True, **config: Any) -> Site:
        """A site that sends through ``uri``."""
        if trust:
            config["COURIER_SMTP_CA_FILE"] = str(self.authority.path)
        config.setdefault("COURIER_DEFAULT_SENDER", SENDER)
        return self.sites(COURIER_SMTP_URI=uri, **config)

    def of(self, site: Site) -> dict[str, Step]:
        """The steps by name."""
        state = state_of(site.app)
        name = state.worker_parts("check").transport().name
        subject = check.Subject(
            state.config,
            state.database,
            name,
            state.worker_parts("check").preparer,
            samples(state.flows),
            self.resolver,
            PATIENCE,
        )
        steps = check.steps(subject)
        assert len({step.name for step in steps}) == len(steps)
        return {step.name: step for step in steps}

    def __call__(self, uri: str, *, trust: bool = True, **config: Any) -> dict[str, Step]:
        """The steps of a site that sends through ``uri``."""
        return self.of(self.site(uri, trust=trust, **config))


@pytest.fixture
def checks(sites: MakeSite, resolver: dns.resolver.Resolver, authority: Authority) -> Checks:
    """Makes sites and checks them."""
    return Checks(sites, resolver, authority)


def states(steps: dict[str, Step], state: State) -> list[str]:
    """The names of the steps in this state."""
    return [step.name for step in steps.values() if step.state is state]


def certificate(authority: Authority, *names: str, **dates: Any) -> ssl.SSLContext:
    """A server's TLS context with a certificate of these dates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.ca.issue_cert(*names, **dates).configure_cert(context)
    return context


def today() -> datetime:
    """This machine's time."""
    return datetime.now(timezone.utc)


def open_breaker(site: Site) -> str:
    """Let the breaker of the site's transport open; answer the transport's name."""
    state = state_of(site.app)
    name = state.worker_parts("test").transport().name
    state.database.transact(
        lambda session: transports.fault(
            session,
            name,
            outcome=Outcome.OPERATOR_FAULT,
            cause="login_refused",
            reason="User name or password was refused.",
            error="535",
            message_id=None,
            wait=lambda faults: wait_after(Outcome.OPERATOR_FAULT, faults, jitter=0.5),
        )
    )
    return name


def breaker(site: Site, name: str) -> str:
    """Whether the breaker is open or closed."""
    row = state_of(site.app).database.transact(lambda session: transports.read(session, name))
    assert row is not None
    return row.breaker


@pytest.mark.parametrize(
    ("security", "agreed"),
    [("starttls", "TLSv1.3"), ("implicit", "TLSv1.3"), ("none", "Not encrypted")],
)
def test_good_server(checks: Checks, authority: Authority, security: str, agreed: str) -> None:
    """With a good server, in each of the three securities, every step up to the DNS is good."""
    with smtp_server(tls=authority.context("localhost"), security=security) as server:
        steps = checks(server.uri)
    assert (["dkim", "proxy"], set(ALL)) == (states(steps, State.SKIPPED), set(steps))
    assert [] == [*states(steps, State.WARNING), *states(steps, State.FAILED)]
    assert steps["tls"].words.startswith(agreed)
    assert "Logged in with AUTH PLAIN." == steps["auth"].words


def test_nothing_is_sent(checks: Checks, mail_server: MailServer) -> None:
    """A check sends no mail, and logs in once."""
    checks(mail_server.uri)
    assert ([], [(USERNAME, PASSWORD)]) == (mail_server.envelopes, mail_server.logins)


def test_what_is_said(checks: Checks) -> None:
    """One connection looks and says EHLO and QUIT; the other goes on to MAIL, and takes it back."""
    with scripted_smtp() as server:
        checks(server.uri)
    said = [dialogue.commands for dialogue in server.dialogues if dialogue.commands]
    assert [
        [b"EHLO acme.example", b"EHLO acme.example", b"QUIT"],
        [b"EHLO acme.example", b"MAIL FROM:<no-reply@mail.acme-post.com>", b"RSET", b"QUIT"],
    ] == said


def test_steps_are_told_as_they_come(checks: Checks, mail_server: MailServer) -> None:
    """Each step is told at once, in the order of the answer."""
    state = state_of(checks.site(mail_server.uri).app)
    told: list[Step] = []
    preparer, mails = state.worker_parts("check").preparer, samples(state.flows)
    subject = check.Subject(state.config, state.database, "name", preparer, mails, checks.resolver)
    assert check.steps(subject, told.append) == told
    assert ALL == tuple(step.name for step in told)


def test_features(checks: Checks, mail_server: MailServer) -> None:
    """What EHLO offers is named with its parameters, and what it does not offer too."""
    steps = checks(mail_server.uri)
    assert (
        "The server answers and offers STARTTLS, AUTH LOGIN PLAIN, SIZE 33554432, 8BITMIME,"
        " SMTPUTF8. Not offered: PIPELINING."
    ) == steps["ehlo"].words


def test_hostile_features(checks: Checks) -> None:
    """What a server offers holds nothing that a terminal obeys, and has an end."""
    hello = f"250-mail.acme.example\r\n250 SIZE \x1b[31m\x00{'9' * 3000}"
    with scripted_smtp(EHLO=hello) as server:
        words = checks(server.uri)["ehlo"].words
    assert "SIZE \N{REPLACEMENT CHARACTER}[31m" in words
    assert (True, True) == (words.isprintable(), len(words) < 300)


def test_wrong_password(checks: Checks, mail_server: MailServer) -> None:
    """A refused login says so, and where to correct it; what comes after it is skipped."""
    steps = checks(mail_server.uri.replace(quote(PASSWORD, safe=""), "wrong"))
    assert (State.FAILED, State.OK) == (steps["auth"].state, steps["tls"].state)
    assert steps["auth"].words.startswith("User name or password was refused. The server's answer:")
    assert "Correct them in COURIER_SMTP_URI" in steps["auth"].advice
    assert (State.SKIPPED, "Not looked at, because auth failed.") == (
        steps["sender"].state,
        steps["sender"].words,
    )


def test_auth_missing(checks: Checks) -> None:
    """A login where the server offers none: the words say that, and the password stays here."""
    with scripted_smtp(EHLO="250-mail.acme.example\r\n250-AUTH XOAUTH2\r\n250 SIZE") as server:
        steps = checks(server.uri.replace("://", f"://{LOGIN}"))
    assert ["auth"] == states(steps, State.FAILED)
    assert "The server offers no way to log in that is known here." == steps["auth"].words
    assert "AUTH XOAUTH2" in steps["ehlo"].words
    assert not any(b"AUTH" in line for talk in server.dialogues for line in talk.commands)


@pytest.mark.parametrize("security", ["starttls", "implicit"])
def test_unknown_authority(checks: Checks, authority: Authority, security: str) -> None:
    """A certificate of an unknown authority: its name is said, and nobody logs in."""
    with smtp_server(tls=authority.context("localhost"), security=security) as server:
        steps = checks(server.uri, trust=False)
    assert ["tls"] == states(steps, State.FAILED)
    assert steps["tls"].words.startswith(
        "The authority that signed the server's certificate (trustme v"
    )
    assert "COURIER_SMTP_CA_FILE" in steps["tls"].advice
    assert [] == server.logins


@pytest.mark.parametrize("security", ["starttls", "implicit"])
def test_wrong_name(checks: Checks, authority: Authority, security: str) -> None:
    """A certificate for other names: all are said, and one that could be meant."""
    context = authority.context("*.acme.example", "10.0.0.1", "mail.acme.example")
    with smtp_server(tls=context, security=security) as server:
        steps = checks(server.uri)
    assert ["tls"] == states(steps, State.FAILED)
    assert (
        "The server's certificate is for *.acme.example, 10.0.0.1, mail.acme.example, and not for"
        " localhost."
    ) == steps["tls"].words
    assert "server_name=mail.acme.example" in steps["tls"].advice
    assert [] == server.logins


@pytest.mark.parametrize("trust", [True, False])
def test_expired(checks: Checks, authority: Authority, *, trust: bool) -> None:
    """An expired certificate: the day is said, also where its authority is unknown."""
    end = today() - timedelta(days=3, hours=1)
    context = certificate(
        authority, "localhost", not_before=end - timedelta(days=90), not_after=end
    )
    with smtp_server(tls=context) as server:
        steps = checks(server.uri, trust=trust)
    assert ["tls"] == states(steps, State.FAILED)
    assert f" It expired on {end:%Y-%m-%d}, 3 days ago." in steps["tls"].words
    assert trust is steps["tls"].words.startswith("The server's certificate has expired.")


def test_certificate_that_changes(checks: Checks, authority: Authority) -> None:
    """A server that shows another certificate when it is read: what OpenSSL found is said."""
    other = authority.context("mail.acme.example")
    context = authority.context("smtp.acme.example")
    seen: list[str | None] = []

    def change(sock: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> None:
        seen.append(name)
        if len(seen) > 2:
            sock.context = other

    context.sni_callback = change
    with smtp_server(tls=context) as server:
        steps = checks(server.uri)
    assert "The server's certificate is not for localhost." == steps["tls"].words


def test_not_yet_valid(checks: Checks, authority: Authority) -> None:
    """A certificate that is not valid yet: the clock may be why."""
    begin = today() + timedelta(days=3)
    context = certificate(authority, "localhost", not_before=begin)
    with smtp_server(tls=context) as server:
        steps = checks(server.uri)
    assert ["tls"] == states(steps, State.FAILED)
    assert (
        f"The server's certificate is not valid yet. It begins on {begin:%Y-%m-%d}."
        == steps["tls"].words
    )
    assert steps["tls"].advice.startswith("Check the clock of this machine")


def test_expires_soon(checks: Checks, authority: Authority) -> None:
    """A certificate that ends within 14 days is a warning, and mail goes out."""
    end = today() + timedelta(days=5, hours=1)
    with smtp_server(tls=certificate(authority, "localhost", not_after=end)) as server:
        steps = checks(server.uri)
    assert (["tls"], []) == (states(steps, State.WARNING), states(steps, State.FAILED))
    assert f"until {end:%Y-%m-%d}, 5 days from now." in steps["tls"].words


def test_verification_off(checks: Checks, mail_server: MailServer) -> None:
    """``skip_ssl_verify`` is a warning that says what it means."""
    steps = checks(f"{mail_server.uri}?skip_ssl_verify=true", trust=False)
    assert (["tls"], []) == (states(steps, State.WARNING), states(steps, State.FAILED))
    assert "The certificate is NOT verified (skip_ssl_verify)" in steps["tls"].words


def test_starttls_not_offered(checks: Checks) -> None:
    """A server without STARTTLS fails at TLS and gets no login."""
    with smtp_server(security="none") as server:
        steps = checks(f"smtp://{LOGIN}localhost:{server.port}/")
    assert ["tls"] == states(steps, State.FAILED)
    assert "The server offers no encryption, so nothing was sent." == steps["tls"].words
    assert "STARTTLS" not in steps["ehlo"].words
    assert [] == server.logins


def test_smtps_at_a_starttls_port(checks: Checks, mail_server: MailServer) -> None:
    """TLS from the first byte at a port that offers STARTTLS: the other scheme is advised."""
    steps = checks(mail_server.uri.replace("smtp://", "smtps://"))
    assert ["tls"] == states(steps, State.FAILED)
    assert "begin COURIER_SMTP_URI with smtp:// instead" in steps["tls"].advice
    assert [] == mail_server.logins


def test_smtps_at_a_cleartext_port(checks: Checks) -> None:
    """TLS from the first byte where nothing is encrypted: that is said, and no scheme advised."""
    with smtp_server(security="none") as server:
        steps = checks(f"smtps://{LOGIN}localhost:{server.port}/")
    assert ["tls"] == states(steps, State.FAILED)
    assert "speaks SMTP in the clear and offers no encryption" in steps["tls"].advice


def test_starttls_at_an_smtps_port(checks: Checks, authority: Authority) -> None:
    """STARTTLS at a port that wants TLS from the first byte: no banner comes, smtps is advised."""
    with smtp_server(tls=authority.context("localhost"), security="implicit") as server:
        steps = checks(server.uri.replace("smtps://", "smtp://"))
    assert ["ehlo"] == states(steps, State.FAILED)
    assert (
        "This port wants TLS from the first byte: begin COURIER_SMTP_URI with smtps:// instead of"
        " smtp://."
    ) == steps["ehlo"].advice


def test_silent_banner(checks: Checks) -> None:
    """A server that never says a word is given up on, and no scheme is advised."""
    with scripted_smtp(BANNER="") as server:
        steps = checks(server.uri)
    assert ["ehlo"] == states(steps, State.FAILED)
    assert steps["ehlo"].words.startswith(
        "The SMTP server did not answer in time. No answer within"
    )
    assert "smtps" not in steps["ehlo"].advice


def test_banner_refused_over_tls(checks: Checks, authority: Authority) -> None:
    """TLS that stands before a refusing banner is not said to be good: nobody has verified it."""
    server = ScriptedServer({"BANNER": "421 4.3.2 busy" + DROP})

    def protocol() -> asyncio.BaseProtocol:
        return asyncio.StreamReaderProtocol(asyncio.StreamReader(), server.converse)

    with served(protocol, tls=authority.context("localhost")) as port:
        steps = checks(f"smtps://localhost:{port}/")
    assert ["ehlo"] == states(steps, State.FAILED)
    assert 'The server\'s answer: "421 4.3.2 busy".' in steps["ehlo"].words
    assert State.SKIPPED is steps["tls"].state


def test_server_goes_away(checks: Checks) -> None:
    """A server that is gone after its address was reached fails the step that needs it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept_one() -> None:
            connection, _ = listener.accept()
            listener.close()
            connection.close()

        port = listener.getsockname()[1]
        thread = threading.Thread(target=accept_one)
        thread.start()
        steps = checks(f"smtp://127.0.0.1:{port}/")
        thread.join(20)
    assert (["ehlo"], State.OK) == (states(steps, State.FAILED), steps["tcp"].state)


def test_one_of_two_addresses(checks: Checks, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address of the host that takes no connection is a warning: mail goes to the other."""

    def look_up(_host: str, port: int, *_arguments: Any, **_options: Any) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, (address, port)) for address in ("127.0.0.2", "127.0.0.1")]

    with scripted_smtp() as server:
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        steps = checks(f"smtp://smtp.acme.example:{server.port}/?disable_starttls=true")
    assert (["tcp", "tls"], []) == (states(steps, State.WARNING), states(steps, State.FAILED))
    assert "127.0.0.2: Connection refused" in steps["tcp"].words
    assert steps["dns"].words.startswith("smtp.acme.example is 127.0.0.2, 127.0.0.1")


def test_nobody_listens(checks: Checks) -> None:
    """Where nobody listens, TCP fails, and the address and port are said."""
    with closed_port() as port:
        steps = checks(f"smtp://127.0.0.1:{port}/")
    assert (["tcp"], State.SKIPPED) == (states(steps, State.FAILED), steps["dns"].state)
    assert (
        "Nobody answers at the SMTP server's address and port. "
        f"Port {port} at 127.0.0.1: Connection refused."
    ) == steps["tcp"].words


def test_nobody_answers(checks: Checks) -> None:
    """Where packets are dropped, TCP fails after a while, and firewalls are thought of."""
    with silent() as address:
        steps = checks(f"smtp://127.0.0.1:{address.place[1]!r}/")
    assert ["tcp"] == states(steps, State.FAILED)
    assert "firewall" in steps["tcp"].advice


def test_unknown_host(checks: Checks) -> None:
    """A host that does not exist fails at the DNS, and the rest is skipped."""
    steps = checks("smtp://smtp.acme.invalid/")
    assert ["dns"] == states(steps, State.FAILED)
    assert "smtp.acme.invalid" in steps["dns"].words
    skipped = ["tcp", "ehlo", "tls", "auth", "sender", "dkim", "proxy"]
    assert skipped == states(steps, State.SKIPPED)


def test_sender_refused(checks: Checks, mail_server: MailServer) -> None:
    """A sender that the server refuses fails the last step of SMTP."""
    mail_server.answers["MAIL"] = "550 5.7.1 not from you"
    steps = checks(mail_server.uri)
    assert ["sender"] == states(steps, State.FAILED)
    assert steps["sender"].words.endswith('The server\'s answer: "550 5.7.1 not from you".')
    assert "COURIER_DEFAULT_SENDER" in steps["sender"].advice


@pytest.mark.parametrize("reply", [DROP, "421 4.3.2 closing" + DROP, "354 go on", "what?"])
def test_sender_unanswered(checks: Checks, reply: str) -> None:
    """Whatever is said to MAIL but yes fails that step."""
    with scripted_smtp(MAIL=reply) as server:
        steps = checks(server.uri)
    assert ["sender"] == states(steps, State.FAILED)


@pytest.mark.parametrize("verb", ["AUTH", "MAIL"])
def test_server_that_quotes(checks: Checks, verb: str) -> None:
    """A server that quotes what it was told: no password, user name or address is in any step."""

    def quoted(line: bytes) -> str:
        return f"535 5.7.8 {line.decode().strip()} {PASSWORD} {USERNAME} no-reply@{DOMAIN}"

    with scripted_smtp(**{verb: quoted}) as server:
        steps = checks(server.uri.replace("://", f"://{LOGIN}"))
    words = " ".join(step.words + step.advice for step in steps.values())
    assert 1 == len(states(steps, State.FAILED))
    assert "••••" in words
    assert not [word for word in (PASSWORD, USERNAME, "no-reply@", "AG1h") if word in words]


def test_login_is_not_repeated(checks: Checks) -> None:
    """A refused login is tried once: repeated failures lock accounts."""
    with scripted_smtp(EHLO=EHLO, AUTH="535 5.7.8 no") as server:
        checks(server.uri.replace("://", f"://{LOGIN}"))
    verbs = [verb for dialogue in server.dialogues for verb in dialogue.verbs]
    assert 1 == verbs.count("AUTH")


def test_log_uri(checks: Checks) -> None:
    """``log:`` says loudly that nothing leaves; nothing of SMTP or the DNS is looked at."""
    steps = checks("log:")
    assert ["configuration"] == states(steps, State.WARNING)
    assert steps["configuration"].words.startswith("NOTHING LEAVES")
    assert {State.SKIPPED} == {steps[name].state for name in ("dns", "sender", "spf", "dkim")}


def test_no_public_url(checks: Checks) -> None:
    """With ``log:`` links may begin with the request's host."""
    steps = checks("log:", COURIER_PUBLIC_URL=None)
    assert State.OK is steps["public_url"].state
    assert "COURIER_PUBLIC_URL is not set" in steps["public_url"].words


def test_cleartext_public_url(checks: Checks, mail_server: MailServer) -> None:
    """Links that cross a network in the clear are a warning."""
    steps = checks(mail_server.uri, COURIER_PUBLIC_URL="http://www.acme.example")
    assert ["public_url"] == states(steps, State.WARNING)


@pytest.mark.parametrize(
    ("uri", "offered", "words", "advice"),
    [
        (
            "smtp://ada:secret@mail.acme.example",
            True,
            "the password and every link",
            "offers STARTTLS",
        ),
        ("smtp://ada:secret@mail.acme.example", False, "the password and every link", "587"),
        ("smtp://mail.acme.example", False, ": every link", "465"),
    ],
)
def test_cleartext(uri: str, words: str, advice: str, *, offered: bool) -> None:
    """Mail that crosses a network in the clear is a loud warning."""
    agreement = check_tls.Agreement(None, None, None)
    parsed = parse_smtp_uri(f"{uri}/?disable_starttls=true")
    step = check_tls.agreed(parsed, agreement, NOW, offered=offered)
    assert (State.WARNING, True) == (step.state, step.words.startswith("NOT ENCRYPTED"))
    assert words in step.words
    assert advice in step.advice


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (18, "The server's certificate is signed by nobody but itself."),
        (62, "The server's certificate is not for mail.acme.example."),
        (10, "A certificate in the server's chain has expired."),
        (26, "The server's certificate does not prove that it is mail.acme.example."),
    ],
)
def test_certificate_that_cannot_be_read(code: int, words: str) -> None:
    """Without the certificate's own words, what OpenSSL found wrong is said all the same."""
    step = check_tls.distrusted(code, "unsuitable purpose", None, "mail.acme.example", NOW)
    assert (State.FAILED, True) == (step.state, step.words.startswith(words))


def test_many_names() -> None:
    """Of a certificate with many names the first ones are said."""
    facts = Certificate(
        tuple(f"m{number}.acme.example" for number in range(9)), "Acme", NOW, NOW + timedelta(1)
    )
    step = check_tls.distrusted(62, "", facts, "mail.acme.example", NOW)
    assert "m5.acme.example and 3 more, and not for mail.acme.example." in step.words
    assert "m6" not in step.words


@every_database
def test_no_tables(checks: Checks, mail_server: MailServer) -> None:
    """Without the tables: how to make them; the SMTP server is looked at all the same."""
    site = checks.site(mail_server.uri, create=False)
    with site.app.app_context():
        site.db.drop_all()
    steps = checks.of(site)
    assert ["tables"] == states(steps, State.FAILED)
    assert "Tables that are missing: all 8." == steps["tables"].words
    assert "flask db upgrade" in steps["tables"].advice
    assert (State.OK, State.SKIPPED) == (steps["sender"].state, steps["breaker"].state)


@every_database
def test_column_is_missing(checks: Checks, mail_server: MailServer) -> None:
    """Of an older release's tables the missing columns are named."""
    site = checks.site(mail_server.uri)
    with site.app.app_context():
        with site.db.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE courier_message DROP COLUMN requester_key"))
            connection.execute(sa.text("DROP TABLE courier_event"))
        steps = checks.of(site)
        site.db.drop_all()
    assert ["tables"] == states(steps, State.FAILED)
    assert (
        "Tables that are missing: courier_event."
        " Columns that are missing: courier_message (requester_key)."
    ) == steps["tables"].words


@every_database
def test_database_is_good(checks: Checks) -> None:
    """On each database its tables and its clock are good."""
    steps = checks("log:")
    assert {State.OK} == {steps[name].state for name in ("database", "tables", "clock", "worker")}


def test_database_is_away(checks: Checks) -> None:
    """A database that cannot be opened fails; the SMTP server is looked at all the same."""
    with scripted_smtp() as server:
        steps = checks(server.uri, url="sqlite:////nonexistent/site.sqlite", create=False)
    assert ["database"] == states(steps, State.FAILED)
    assert "SQLALCHEMY_DATABASE_URI" in steps["database"].advice
    assert State.OK is steps["sender"].state


@pytest.mark.parametrize(
    ("seconds", "state", "words"),
    [
        ("+30", State.WARNING, "seconds ahead of"),
        ("-330", State.WARNING, "5 minutes behind"),
        ("+1", State.OK, "agree"),
    ],
)
def test_clock(checks: Checks, seconds: str, state: State, words: str) -> None:
    """A database whose clock is more than 5 seconds from this machine's is a warning."""
    site = checks.site("log:")
    with site.app.app_context():
        engine = site.db.engine
        engine.dispose()
    other = sa.create_engine("sqlite://")

    def strftime(form: str, moment: str, *offsets: str) -> str:
        with other.connect() as connection:
            shift = f"{seconds} seconds"
            shifted = sa.select(sa.func.strftime(form, moment, *offsets, shift))
            told: str = connection.execute(shifted).scalar_one()
            return told

    @sa.event.listens_for(engine, "connect")
    def shift(connection: Any, _record: Any) -> None:
        connection.create_function("strftime", -1, strftime)

    step = checks.of(site)["clock"]
    other.dispose()
    assert (state, True) == (step.state, words in step.words)


@pytest.mark.parametrize(
    ("mode", "late", "state"),
    [
        ("external", False, State.WARNING),
        ("external", True, State.FAILED),
        ("manual", False, State.OK),
        ("manual", True, State.WARNING),
        ("thread", False, State.OK),
        ("thread", True, State.WARNING),
    ],
)
def test_no_worker(checks: Checks, mode: str, *, late: bool, state: State) -> None:
    """Nobody at work is worse with an external worker, and where mail waits."""
    if late:
        # By another site, so that a worker thread of this process hears nothing of it.
        other = checks.site("log:")
        queue_own(other)
        make_due(other)
    step = checks("log:", COURIER_WORKER=mode)["worker"]
    assert (state, late) == (step.state, "Mail that is due has waited for" in step.words)


@pytest.mark.parametrize(("late", "state"), [(False, State.OK), (True, State.WARNING)])
def test_worker_at_work(checks: Checks, *, late: bool, state: State) -> None:
    """A worker that was seen is good, unless mail waits in spite of it."""
    site = checks.site("log:", COURIER_WORKER="external")
    state_of(site.app).database.transact(
        lambda session: workers.seen(session, name="one", kind="external")
    )
    if late:
        queue_own(site)
        make_due(site)
    assert state is checks.of(site)["worker"].state


def test_good_check_closes_the_breaker(checks: Checks, mail_server: MailServer) -> None:
    """A check that gets through closes an open breaker, and says why it was open."""
    site = checks.site(mail_server.uri)
    name = open_breaker(site)
    step = checks.of(site)["breaker"]
    assert (State.OK, "closed") == (step.state, breaker(site, name))
    assert "User name or password was refused. It is closed now" in step.words


def test_bad_check_leaves_the_breaker(checks: Checks, mail_server: MailServer) -> None:
    """A check that fails leaves an open breaker open, and says why and until when."""
    site = checks.site(mail_server.uri)
    name = open_breaker(site)
    mail_server.answers["AUTH"] = "535 5.7.8 no"
    step = checks.of(site)["breaker"]
    assert (State.WARNING, "open") == (step.state, breaker(site, name))
    assert "User name or password was refused. One mail tries again in" in step.words


SPF = "v=spf1 include:_spf.provider.com -all"
DMARC = "v=DMARC1; p=reject"
RECORD_CASES: list[tuple[dict[str, list[str]], str, State, str]] = [
    ({DOMAIN: ["else", SPF]}, "spf", State.OK, "has an SPF record"),
    ({DOMAIN: ["v=spf10 -all"]}, "spf", State.WARNING, "has no SPF record"),
    ({DOMAIN: []}, "spf", State.WARNING, "has no SPF record"),
    ({DOMAIN: [SPF, "V=SPF1 -all"]}, "spf", State.WARNING, "has 2 SPF records"),
    ({DOMAIN: ["v=spf1 +all"]}, "spf", State.WARNING, "every machine"),
    ({DOMAIN: ["v=spf1 mx all"]}, "spf", State.WARNING, "every machine"),
    ({}, "spf", State.WARNING, "does not exist"),
    ({f"_dmarc.{DOMAIN}": [DMARC]}, "dmarc", State.OK, f"{DOMAIN} has a DMARC record (p=reject)"),
    ({"_dmarc.acme-post.com": [DMARC]}, "dmarc", State.OK, "acme-post.com has a DMARC record"),
    ({"_dmarc.com": [DMARC]}, "dmarc", State.WARNING, "has no DMARC record"),
    ({f"_dmarc.{DOMAIN}": [DMARC, DMARC + ";"]}, "dmarc", State.WARNING, "has 2 DMARC records"),
    ({f"_dmarc.{DOMAIN}": ["v=DMARC1; p=maybe"]}, "dmarc", State.WARNING, "no policy"),
    ({f"_dmarc.{DOMAIN}": ["v=DMARC1; sp=none; p=none"]}, "dmarc", State.OK, "(p=none)"),
]


@pytest.mark.parametrize(("records", "name", "state", "words"), RECORD_CASES)
def test_records(records: dict[str, list[str]], name: str, state: State, words: str) -> None:
    """What the records of the sender's domain say."""
    with dns_server(records) as asked:
        step = next(step for step in check_dns.steps(DOMAIN, asked) if step.name == name)
    assert (state, True) == (step.state, words in step.words)


def test_no_resolver_answers() -> None:
    """Without a resolver that answers nothing is said of the records, within 2 seconds or so."""
    with silent_dns_server() as asked:
        steps = check_dns.steps(DOMAIN, asked)
    assert [State.SKIPPED] * 3 == [step.state for step in steps]
    assert steps[0].words.startswith("No resolver answers")


def test_domain_without_a_dot() -> None:
    """A name of this machine has no records that anybody else could ask for."""
    assert [State.SKIPPED] * 3 == [step.state for step in check_dns.steps("localhost")]
