"""Whether mail would go out, step by step: what there is, what is wrong, what to do.

No mail is sent and no message is touched. The one thing that is written: a check that gets as far
as the sender closes the transport's breaker, as a person who has mended something expects.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import dns.resolver

from flask_courier.core.clock import utc_now
from flask_courier.core.config import CourierConfig
from flask_courier.core.messages import Claim, Draft
from flask_courier.core.smtp_uri import Security, SmtpUri
from flask_courier.core.steps import State, Step
from flask_courier.core.urls import is_cleartext
from flask_courier.delivery import check_database, check_dns, check_templates
from flask_courier.delivery.check_smtp import NAMES as SMTP_NAMES
from flask_courier.delivery.check_smtp import PATIENCE, SmtpCheck
from flask_courier.delivery.envelope import Timeouts
from flask_courier.delivery.prepare import Preparer
from flask_courier.delivery.settings import smtp_settings
from flask_courier.storage.uow import Database

_NEEDED_BY_BREAKER = frozenset({"database", "tables"})
_PROTECTION = {
    Security.STARTTLS: "STARTTLS required",
    Security.IMPLICIT: "TLS from the first byte",
    Security.PLAINTEXT: "in the clear",
}


@dataclass(frozen=True)
class Subject:
    """What is checked."""

    config: CourierConfig
    database: Database
    #: What the transport's rows are called.
    transport: str
    preparer: Preparer
    #: A mail of each kind of our own.
    samples: Sequence[tuple[Claim, Draft]]
    #: Who is asked for DNS records; None for the resolver of this machine.
    resolver: dns.resolver.Resolver | None = None
    patience: Timeouts = PATIENCE


def steps(subject: Subject, note: Callable[[Step], None] = lambda _step: None) -> list[Step]:
    """Take every step, in order.

    Takes seconds, or minutes where servers are silent; not for an event loop's own thread.

    :param note: called with each step when it is known.
    """
    taken: list[Step] = []

    def take(step: Step) -> None:
        taken.append(step)
        note(step)

    def take_all(found: Iterable[Step]) -> None:
        for step in found:
            take(step)

    config, uri = subject.config, subject.config.smtp_uri
    take(_configuration(config))
    take(_public_url(config))
    take(check_templates.look(subject.preparer, subject.samples))
    take_all(check_database.look(subject.database, config.worker))
    failed = {step.name for step in taken if step.state is State.FAILED}
    works = False
    if uri is None:
        take_all(_skipped(SMTP_NAMES, "With `log:` there is no SMTP server."))
    else:
        works = _smtp(subject, uri, take)
    if not failed & _NEEDED_BY_BREAKER:
        take_all(check_database.breaker(subject.database, subject.transport, works=works))
    else:
        take_all(_skipped(("breaker",), "Not looked at without the database and its tables."))
    if uri is None:
        take_all(_skipped(check_dns.NAMES, "With `log:` nobody sees where mail comes from."))
    else:
        domain = config.default_sender.address.rpartition("@")[2]
        take_all(check_dns.steps(domain, subject.resolver))
    take(_proxy())
    return taken


def _smtp(subject: Subject, uri: SmtpUri, take: Callable[[Step], None]) -> bool:
    settings = smtp_settings(subject.config, uri, name=subject.transport)
    check = SmtpCheck(settings, subject.config, now=utc_now(), note=take, patience=subject.patience)
    return asyncio.run(check.run())


def _configuration(config: CourierConfig) -> Step:
    uri = config.smtp_uri
    if uri is None:
        return Step(
            "configuration",
            State.WARNING,
            "NOTHING LEAVES: COURIER_SMTP_URI is `log:`, or not set, so that mail is only shown in"
            " the delivery log.",
            "For real mail, set it to the server's URI, like"
            " smtp://user:password@smtp.acme.example:587/.",
        )
    domain = config.default_sender.address.rpartition("@")[2]
    login = "no login" if uri.username is None else "login"
    words = f"Mail from {domain} goes to {uri.origin} ({_PROTECTION[uri.security]}, {login})."
    return Step("configuration", State.OK, words)


def _public_url(config: CourierConfig) -> Step:
    url = config.public_url
    if url is None:
        words = "Links begin with the request's host; COURIER_PUBLIC_URL is not set."
        return Step("public_url", State.OK, words)
    if is_cleartext(url):
        return Step(
            "public_url",
            State.WARNING,
            f"Links begin with {url}: whoever is on the way can read them and set passwords.",
            "Serve the site with https, and let COURIER_PUBLIC_URL begin with https://.",
        )
    return Step("public_url", State.OK, f"Links begin with {url}.")


def _proxy() -> Step:
    words = (
        "A command sees no request. If a proxy stands in front of the application and Flask was"
        " not told of it, the limit on requests per client is off."
    )
    return Step("proxy", State.SKIPPED, words, "With a proxy, wrap it in werkzeug's ProxyFix.")


def _skipped(names: Iterable[str], words: str) -> Iterable[Step]:
    return (Step(name, State.SKIPPED, words) for name in names)
