"""What the delivery log says in words: statuses, reasons, outcomes, events and times."""

from __future__ import annotations

from datetime import datetime, timedelta

from markupsafe import Markup

from flask_courier.core.causes import CAUSES, Cause
from flask_courier.core.clock import utc_now
from flask_courier.core.replies import Outcome
from flask_courier.core.status import Status
from flask_courier.storage.log import AttemptEntry, Entry

STATUS_LABELS = {
    Status.QUEUED: "Waiting",
    Status.PROCESSING: "Being sent",
    Status.SENT: "Sent",
    Status.ABANDONED: "Given up",
    Status.SUPPRESSED: "Not sent on purpose",
    Status.EXPIRED: "Too late",
    Status.HELD: "Outcome unknown",
    Status.CANCELLED: "Taken back",
}

#: What one attempt came to.
OUTCOME_LABELS = {
    Outcome.ACCEPTED: "Accepted",
    Outcome.DEFERRED: "Put off",
    Outcome.REJECTED: "Refused",
    Outcome.THROTTLED: "Slowed down",
    Outcome.TRANSPORT_FAULT: "Connection failed",
    Outcome.OPERATOR_FAULT: "Needs a change here",
    Outcome.UNKNOWN: "Outcome unknown",
}

REASON_LABELS = {
    "transport_fault": "The connection to the SMTP server failed",
    "operator_fault": "The SMTP server needs a change here",
    "throttled": "The SMTP server wants less mail",
    "deferred": "Put off by the receiving side",
    "outcome_unknown": "No final answer from the SMTP server",
    "lease_expired": "Its worker is gone",
    "unknown_kind": "No template for it yet",
    "failed": "Something unforeseen happened",
    "retried": "Tried again by an operator",
    "rejected": "Refused for good",
    "retries_exhausted": "Put off every time",
    "template": "Its template failed",
    "poison": "Ends badly whenever it is tried",
    "no_account": "No such account",
    "inactive": "The account is switched off",
    "bad_address": "The account's address is none",
    "already_verified": "Verified already",
    "recipient_limit": "Too many in a short time",
    "day_limit": "Too many in one day",
    "superseded": "A newer mail took its place",
    "operator": "Taken back by an operator",
}

EVENT_LABELS = {
    "link_fetched": "The link was fetched, by a person or by a mail scanner",
    "code_accepted": "The right code was typed",
    "completed": "Completed",
    "retried": "Tried again by an operator",
    "cancelled": "Taken back by an operator",
    "resent": "Sent anew by an operator, as another message",
}

_HEADLINES = {
    Status.QUEUED: "This mail is waiting for its next attempt.",
    Status.PROCESSING: "A worker is sending this mail right now.",
    Status.SENT: "The SMTP server accepted this mail.",
    Status.ABANDONED: "This mail was given up.",
    Status.SUPPRESSED: "This mail was not sent, on purpose.",
    Status.EXPIRED: "This mail was not sent in time.",
    Status.HELD: "This mail may or may not have been delivered.",
    Status.CANCELLED: "This mail was taken back before it was sent.",
}

_LATE = "Its time ran out before an SMTP server took it. The person can ask for a new one."
_ONCE = "It was tried once, as a test, and is not tried again; see the attempt below."

#: By status and reason: what it means and what to do.
_ADVICE: dict[tuple[Status, str | None], str] = {
    (Status.QUEUED, None): "It will go out as soon as a worker takes it.",
    (Status.QUEUED, "transport_fault"): (
        "The connection to the SMTP server failed, which says nothing of this mail: see the last "
        "attempt. It is tried again by itself, as often as its time allows."
    ),
    (Status.QUEUED, "operator_fault"): (
        "The SMTP server refused the connection, the login or the sender. That stays so until "
        "somebody here changes something: see the last attempt. The mail waits in the queue."
    ),
    (Status.QUEUED, "throttled"): (
        "The SMTP server wants less mail for now. Sending slows down by itself, and this mail is "
        "tried again."
    ),
    (Status.QUEUED, "deferred"): (
        "The receiving side asked to try again later. It is tried again by itself."
    ),
    (Status.QUEUED, "outcome_unknown"): (
        "The connection broke before the server confirmed. The same mail is sent once more; a "
        "second copy does no harm, it carries the same link."
    ),
    (Status.QUEUED, "lease_expired"): (
        "The worker that had it is gone. The mail is back in the queue."
    ),
    (Status.QUEUED, "unknown_kind"): (
        "There is no template for it here. It waits for one: a newer release may have it."
    ),
    (Status.QUEUED, "failed"): "Something unforeseen happened; see the worker's log.",
    (Status.ABANDONED, "rejected"): (
        "The server refused this mail for good; its words are below. Trying again would not help: "
        "check the address with the person."
    ),
    (Status.ABANDONED, "retries_exhausted"): (
        "The receiving side put it off every time; its words are below."
    ),
    (Status.ABANDONED, "template"): (
        "Its template could not be turned into a mail; the error names it. Mend the template."
    ),
    (Status.ABANDONED, "poison"): (
        "Each time it was tried, a connection or a worker came to an end. Something in it may be "
        "the cause: see the attempts and the worker's log before it is tried again."
    ),
    (Status.ABANDONED, "deferred"): _ONCE,
    (Status.ABANDONED, "throttled"): _ONCE,
    (Status.ABANDONED, "transport_fault"): _ONCE,
    (Status.ABANDONED, "operator_fault"): _ONCE,
    (Status.ABANDONED, "failed"): "It could not be handled; see what the command said.",
    (Status.SUPPRESSED, "no_account"): "There is no account with this address.",
    (Status.SUPPRESSED, "inactive"): "The account is switched off.",
    (Status.SUPPRESSED, "bad_address"): (
        "What the account has for an address is none; correct it in the account."
    ),
    (Status.SUPPRESSED, "already_verified"): "The address of the account is verified already.",
    (Status.SUPPRESSED, "recipient_limit"): (
        "Too many were asked for in a short time. An earlier mail with a working link is out."
    ),
    (Status.SUPPRESSED, "day_limit"): "The limit of mails for one address in one day was reached.",
    (Status.EXPIRED, None): _LATE,
    (Status.EXPIRED, "transport_fault"): _LATE + " The SMTP server was out of reach; see below.",
    (Status.EXPIRED, "operator_fault"): _LATE + " The SMTP server needs a change here; see below.",
    (Status.EXPIRED, "throttled"): _LATE + " The SMTP server wanted less mail; see below.",
    (Status.EXPIRED, "unknown_kind"): _LATE + " No release with its template came.",
    (Status.EXPIRED, "deferred"): _LATE + " The receiving side kept putting it off; see below.",
    (Status.HELD, "outcome_unknown"): (
        "The connection broke after the mail was handed over and before the server confirmed. It "
        "is not sent again by itself: the person might get it twice."
    ),
    (Status.QUEUED, "retried"): "An operator had it tried again; a worker takes it soon.",
    (Status.CANCELLED, "superseded"): (
        "The person asked again before this one went out: a newer mail took its place."
    ),
    (Status.CANCELLED, "operator"): "An operator took it back before it went out.",
}


def headline(entry: Entry) -> str:
    """What became of the message, in one sentence."""
    if entry.transport == "log:" and entry.status is Status.SENT:
        return "This mail stayed on this machine, in this log."
    return _HEADLINES[entry.status]


def advice(entry: Entry) -> str | None:
    """What that means and what to do, or None if there is nothing to add."""
    return _ADVICE.get((entry.status, entry.reason)) or _ADVICE.get((entry.status, None))


def reason(entry: Entry) -> str | None:
    """Why the message is where it is, in a few words."""
    return None if entry.reason is None else REASON_LABELS.get(entry.reason, entry.reason)


def outcome(attempt: AttemptEntry) -> str:
    """What the attempt came to, in a word or two."""
    return OUTCOME_LABELS[Outcome(attempt.outcome)]


def cause(attempt: AttemptEntry) -> Cause | None:
    """What the attempt's failure means and what to do; None if it was none, or is unexplained."""
    if attempt.cause is None or attempt.outcome == Outcome.ACCEPTED:
        return None
    return CAUSES.get(attempt.cause)


def server(transport: str | None) -> str | None:
    """``transport`` without the fingerprint that tells its configurations apart."""
    return None if transport is None else transport.partition("#")[0]


def exact(moment: datetime) -> Markup:
    """``moment`` in UTC, to the second."""
    return _time(moment, f"{moment:%Y-%m-%d %H:%M:%S} UTC")


def relative(moment: datetime) -> Markup:
    """``moment`` as people say it, exact where one points at it."""
    return _time(moment, _distance(moment - utc_now()))


def _time(moment: datetime, text: str) -> Markup:
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S}", text
    )


def _distance(distance: timedelta) -> str:
    seconds = round(abs(distance.total_seconds()))
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            words = f"{count} {unit}" if count == 1 else f"{count} {unit}s"
            break
    else:
        if seconds < 5:
            return "just now"
        words = f"{seconds} seconds"
    return f"in {words}" if distance > timedelta(0) else f"{words} ago"
