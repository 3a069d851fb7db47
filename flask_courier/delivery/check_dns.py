"""What the DNS says of the domain that mail comes from: SPF, DMARC, and what is known of DKIM.

Servers that get the mail ask the same. Here the answers are hints: this machine's resolver may see
another DNS than they do, so that nothing found here keeps mail from going out.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

import dns.exception
import dns.rdatatype
import dns.resolver

from flask_courier.core.steps import State, Step

#: The steps, in order.
NAMES = ("spf", "dmarc", "dkim")
#: Seconds for all questions together.
PATIENCE = 2.0
#: Policies are looked for here too, up from the sender's own domain.
_MOST_PARENTS = 4

_SPF = re.compile(r"v=spf1(?= |\Z)", re.IGNORECASE)
_DMARC = re.compile(r"v\s*=\s*DMARC1\s*(?=;|\Z)")
_POLICY = re.compile(r";\s*p\s*=\s*(none|quarantine|reject)\s*(?=;|\Z)", re.IGNORECASE)
_PASS_ALL = re.compile(r"(?:\A| )\+?all(?= |\Z)", re.IGNORECASE)
_DKIM = Step(
    "dkim",
    State.SKIPPED,
    "A DKIM key cannot be looked for: only who signs knows its selector. The header DKIM-Signature"
    " of a mail that arrived names it, as s=.",
)
_NO_ANSWER = "No resolver answers, so the DNS records of {} cannot be seen from here."


class _Silence(Exception):
    """The resolver does not answer, or not in time."""


class Records:
    """Looks up text records, for two seconds in all.

    :param resolver: which one is asked; None for the one of this machine.
    """

    def __init__(self, resolver: dns.resolver.Resolver | None = None) -> None:
        self._resolver = resolver
        self._deadline = time.monotonic() + PATIENCE

    def texts(self, name: str) -> list[str] | None:
        """The TXT records at ``name``; None if there is no such name.

        :raises _Silence: if nobody can tell.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise _Silence
        try:
            resolver = self._resolver or dns.resolver.Resolver()
            found = resolver.resolve(f"{name}.", dns.rdatatype.TXT, lifetime=left, search=False)
        except dns.resolver.NXDOMAIN:
            return None
        except dns.resolver.NoAnswer:
            return []
        except (dns.exception.DNSException, OSError) as error:
            raise _Silence from error
        # A record comes in pieces, which are put together without a space (RFC 7208 section 3.3).
        return [b"".join(record.strings).decode("utf-8", "replace") for record in found]


def steps(domain: str, resolver: dns.resolver.Resolver | None = None) -> list[Step]:
    """The steps "spf", "dmarc" and "dkim"; none of them ever fails."""
    if "." not in domain:
        words = f"{domain} is a name of this machine or network: nobody outside knows it."
        return [Step(name, State.SKIPPED, words) for name in NAMES]
    records = Records(resolver)
    found: list[Step] = []
    for name, look in (("spf", _spf), ("dmarc", _dmarc)):
        try:
            found.append(look(domain, records))
        except _Silence:
            found.append(Step(name, State.SKIPPED, _NO_ANSWER.format(domain)))
    return [*found, _DKIM]


def _spf(domain: str, records: Records) -> Step:
    texts = records.texts(domain)
    if texts is None:
        return Step(
            "spf",
            State.WARNING,
            f"The domain {domain} does not exist in the DNS: servers refuse mail from it.",
            "Correct COURIER_DEFAULT_SENDER, or register the domain.",
        )
    found = [text for text in texts if _SPF.match(text)]
    ask = "Ask the provider for the record to publish."
    if not found:
        words = f"{domain} has no SPF record: mail from it is easily taken for spam."
        return Step("spf", State.WARNING, words, ask)
    if len(found) > 1:
        return Step(
            "spf",
            State.WARNING,
            f"{domain} has {len(found)} SPF records, so that none counts (RFC 7208 section 4.5).",
            "Join them into one.",
        )
    if _PASS_ALL.search(found[0]):
        words = f"The SPF record of {domain} lets every machine send mail from it (+all)."
        return Step("spf", State.WARNING, words, f"End it with ~all or -all. {ask}")
    words = f"{domain} has an SPF record. Whether it names the SMTP server, the provider knows."
    return Step("spf", State.OK, words)


def _dmarc(domain: str, records: Records) -> Step:
    for name in _with_parents(domain):
        texts = records.texts(f"_dmarc.{name}") or []
        found = [text for text in texts if _DMARC.match(text)]
        if len(found) == 1:
            return _policy(name, found[0])
        if found:
            return Step(
                "dmarc",
                State.WARNING,
                f"{name} has {len(found)} DMARC records, so that none counts.",
                "Keep one.",
            )
    return Step(
        "dmarc",
        State.WARNING,
        f"{domain} has no DMARC record: anybody can write mail that seems to come from it, and"
        " large providers ask for one.",
        f"Publish it as the TXT record of _dmarc.{domain}; 'v=DMARC1; p=none' is a beginning.",
    )


def _policy(name: str, record: str) -> Step:
    policy = _POLICY.search(record)
    if policy is None:
        return Step(
            "dmarc",
            State.WARNING,
            f"The DMARC record of {name} names no policy that is known.",
            "Give it p=none, p=quarantine or p=reject.",
        )
    return Step("dmarc", State.OK, f"{name} has a DMARC record (p={policy[1].lower()}).")


def _with_parents(domain: str) -> Iterable[str]:
    """The domain and those above it, never a top-level one (RFC 7489 section 6.6.3, as a walk)."""
    labels = domain.split(".")
    last = min(len(labels) - 1, _MOST_PARENTS)
    return (".".join(labels[start:]) for start in range(last))
