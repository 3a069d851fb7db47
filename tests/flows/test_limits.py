"""Limits on mail to one recipient, and on requests of one client."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.databases import every_database
from tests.observation import age
from tests.site import Site
from tests.smtp_server import MailServer
from tests.visitor import ADA, NO_LIMITS, Visitor, mailed, request_mail

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
#: A public address, as the peer of a site without a proxy; those of documentation count as private.
CLIENT = "9.9.9.9"


def outcome(site: Site, kind: str = "recovery", email: str = ADA) -> tuple[str, str | None]:
    """Ask for a mail, deliver what is due; answer the status and reason of the new message."""
    request_mail(site, kind, email)
    site.deliver()
    newest = max(site.rows("courier_message"), key=lambda row: str(row["id"]))
    return newest["status"], newest["reason"]


def ask(site: Site, client: str = CLIENT, *, email: str = ADA, **options: Any) -> TestResponse:
    """Ask for a recovery mail by JSON from the address ``client``."""
    peer = {"REMOTE_ADDR": client}
    return Visitor(site).post(
        "/account/recovery", json={"email": email}, environ_base=peer, **options
    )


def statuses(site: Site, *clients: str, **options: Any) -> list[int]:
    """Ask from each of ``clients`` in turn; answer the statuses."""
    return [ask(site, client, **options).status_code for client in clients]


def grow_old(site: Site, by: timedelta) -> None:
    """Let ``by`` pass for counters, tokens and messages."""
    for table in ("courier_limit", "courier_token", "courier_message"):
        age(site, table, by)


@pytest.fixture
def strict_site(sites: Callable[..., Site]) -> Site:
    """A site that answers two requests of a client in ten minutes."""
    return sites(COURIER_REQUESTER_LIMIT="2/10 minutes")


@every_database
def test_one_a_minute(site: Site) -> None:
    """A second mail within a minute is not sent, and the log says why."""
    site.add_user()
    assert [("sent", None), ("suppressed", "recipient_limit")] == [outcome(site) for _ in range(2)]


@every_database
def test_next_minute(site: Site) -> None:
    """A minute later the next mail is sent."""
    site.add_user()
    outcome(site)
    grow_old(site, MINUTE)
    assert ("sent", None) == outcome(site)


def test_five_an_hour(site: Site) -> None:
    """The sixth mail within an hour is not sent while an earlier one is good."""
    site.add_user()
    found = []
    for _ in range(6):
        found.append(outcome(site))
        grow_old(site, MINUTE)
    assert [("sent", None)] * 5 + [("suppressed", "recipient_limit")] == found


def test_limits_of_the_other_flow(site: Site) -> None:
    """A recovery mail leaves the limit of verification mails alone."""
    site.add_user()
    assert ("sent", None) == outcome(site, "recovery")
    assert ("sent", None) == outcome(site, "verification")


def test_limits_of_another_account(site: Site) -> None:
    """A mail to one account leaves the limit of another alone."""
    site.add_user()
    site.add_user("grace@example.com")
    assert ("sent", None) == outcome(site)
    assert ("sent", None) == outcome(site, email="grace@example.com")


def test_spellings(site: Site) -> None:
    """Another spelling of an address has no limit of its own."""
    site.add_user()
    outcome(site)
    assert ("suppressed", "recipient_limit") == outcome(site, email="ADA@Example.COM")


def test_parallel_workers(site: Site) -> None:
    """Two requests that are in the queue together give one mail."""
    site.add_user()
    request_mail(site, "recovery")
    request_mail(site, "recovery")
    assert {"sent": 1, "suppressed": 1} == count_by_status(site)


def count_by_status(site: Site) -> dict[str, int]:
    """Deliver what is due; answer how many messages have each status then."""
    site.deliver()
    found = [row["status"] for row in site.rows("courier_message")]
    return {status: found.count(status) for status in sorted(set(found))}


def test_used_link(site: Site) -> None:
    """An owner who has used the link gets another mail at once, whatever the short limits say."""
    site.add_user()
    Visitor(site).redeem("recovery", mailed(site, "recovery").token)
    assert ("sent", None) == outcome(site)


def test_rejected_mail(mailing_site: Site, mail_server: MailServer) -> None:
    """An owner whose mail was rejected gets another one at once."""
    mailing_site.add_user()
    mail_server.answers["RCPT"] = "550 5.1.1 no such user"
    assert ("abandoned", "rejected") == outcome(mailing_site)
    mail_server.answers.clear()
    assert ("sent", None) == outcome(mailing_site)


@every_database
def test_twenty_a_day(site: Site) -> None:
    """After twenty mails in a day another goes out only where no link works, till the day ends."""
    site.add_user()
    found = set()
    for _ in range(20):
        found.add(outcome(site))
        grow_old(site, HOUR + MINUTE)
    assert {("sent", None)} == found
    assert ("sent", None) == outcome(site)
    grow_old(site, MINUTE)
    assert ("suppressed", "day_limit") == outcome(site)
    grow_old(site, DAY)
    assert ("sent", None) == outcome(site)


def test_supersedes(mailing_site: Site, mail_server: MailServer) -> None:
    """A mail that passes its limits takes the place of one that still waits."""
    mailing_site.add_user()
    mail_server.answers["RCPT"] = "450 4.2.1 try again later"
    assert ("queued", "deferred") == outcome(mailing_site)
    age(mailing_site, "courier_limit", MINUTE)
    mail_server.answers.clear()
    assert ("sent", None) == outcome(mailing_site)
    older = min(mailing_site.rows("courier_message"), key=lambda row: str(row["id"]))
    assert ("cancelled", "superseded") == (older["status"], older["reason"])


def test_suppressed_supersedes_nothing(mailing_site: Site, mail_server: MailServer) -> None:
    """A mail that its limits hold back leaves the one that waits alone."""
    mailing_site.add_user()
    mail_server.answers["RCPT"] = "450 4.2.1 try again later"
    assert ("queued", "deferred") == outcome(mailing_site)
    assert ("suppressed", "recipient_limit") == outcome(mailing_site)
    older = min(mailing_site.rows("courier_message"), key=lambda row: str(row["id"]))
    assert ("queued", "deferred") == (older["status"], older["reason"])


@every_database
def test_s24_requester(strict_site: Site) -> None:
    """A client that asks too often is told so, and when to come back."""
    assert [202, 202] == statuses(strict_site, CLIENT, CLIENT)
    answer = ask(strict_site)
    assert (429, "600", "too_many_requests") == (
        answer.status_code,
        answer.headers["Retry-After"],
        answer.get_json()["reason"],
    )


def test_requester_page(strict_site: Site) -> None:
    """In HTML a page says so."""
    statuses(strict_site, "127.0.0.1", "127.0.0.1")
    answer = Visitor(strict_site).fill("/account/recovery", email=ADA)
    assert (429, "600", True) == (
        answer.status_code,
        answer.headers["Retry-After"],
        "Wait a while before you ask again." in answer.text,
    )


def test_s24_requester_alike(strict_site: Site) -> None:
    """Known and unknown addresses get the same answer to one request too many."""
    strict_site.add_user()
    statuses(strict_site, CLIENT, CLIENT)
    known, unknown = (ask(strict_site, email=email) for email in (ADA, "bob@example.com"))
    assert (known.status_code, known.data, list(known.headers)) == (
        unknown.status_code,
        unknown.data,
        list(unknown.headers),
    )


def test_requester_queues_nothing(strict_site: Site) -> None:
    """A request that is refused queues nothing."""
    assert [202, 202, 429] == statuses(strict_site, CLIENT, CLIENT, CLIENT)
    assert 2 == len(strict_site.rows("courier_message"))


def test_requester_again(strict_site: Site) -> None:
    """When the window is over the client is answered again."""
    statuses(strict_site, CLIENT, CLIENT)
    age(strict_site, "courier_limit", timedelta(minutes=9))
    assert [429] == statuses(strict_site, CLIENT)
    age(strict_site, "courier_limit", timedelta(minutes=1))
    assert [202] == statuses(strict_site, CLIENT)


def test_requester_of_both_flows(strict_site: Site) -> None:
    """Recovery and verification share the limit of a client."""
    statuses(strict_site, "127.0.0.1")
    visitor = Visitor(strict_site)
    assert 202 == visitor.json("/account/verification", email=ADA)[0]
    assert 429 == visitor.json("/account/verification", email=ADA)[0]


@every_database
def test_requester_in_parallel(strict_site: Site) -> None:
    """Of many simultaneous requests of one client, as many as the limit says are answered."""
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: ask(strict_site).status_code, range(8)))
    assert [202] * 2 + [429] * 6 == sorted(answers)


@pytest.mark.parametrize(
    ("other", "status"),
    [
        ("2001:db8:1:2::1", 429),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", 429),
        ("2001:db8:1:3::1", 202),
    ],
)
def test_ipv6(strict_site: Site, other: str, status: int) -> None:
    """One IPv6 client has a /64, and whoever is in it shares the limit."""
    statuses(strict_site, "2001:db8:1:2::1", "2001:db8:1:2:a:b:c:d")
    assert [status] == statuses(strict_site, other)


def test_mapped_ipv4(strict_site: Site) -> None:
    """An IPv4 client at a dual-stack socket is counted by its IPv4 address."""
    statuses(strict_site, "::ffff:9.9.9.9", "::ffff:9.9.9.9")
    assert [429, 202] == statuses(strict_site, CLIENT, "::ffff:9.9.9.10")


def test_scoped_ipv6(strict_site: Site) -> None:
    """A link-local client with a zone is counted."""
    assert [202, 202, 429] == statuses(strict_site, *["fe80::1%eth0"] * 3)


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.1.2.3", "::1", "fd00::1", "::ffff:10.1.2.3", ""])
@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded"])
def test_proxy(strict_site: Site, peer: str, header: str) -> None:
    """Behind a proxy that Flask was not told of, the limit is off: it would be everybody's."""
    assert {202} == set(statuses(strict_site, *[peer] * 4, headers={header: "for=198.51.100.7"}))


def test_forwarding_header_of_a_client(strict_site: Site) -> None:
    """A forwarding header of a public client frees nobody from the limit."""
    headers = {"X-Forwarded-For": "192.0.2.1"}
    assert [202, 202, 429] == statuses(strict_site, *[CLIENT] * 3, headers=headers)


def test_no_limits(sites: Callable[..., Site]) -> None:
    """The limits of recipients and requesters are the configuration's."""
    site = sites(**NO_LIMITS)
    site.add_user()
    assert [("sent", None)] * 7 == [outcome(site) for _ in range(7)]
