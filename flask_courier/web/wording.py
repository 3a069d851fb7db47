"""What the delivery log says in words: statuses, reasons, events and times."""

from __future__ import annotations

from datetime import datetime, timedelta

from markupsafe import Markup

from flask_courier.core.clock import utc_now
from flask_courier.core.status import Status
from flask_courier.storage.log import Entry

STATUS_LABELS = {
    Status.QUEUED: "Waiting",
    Status.PROCESSING: "Being sent",
    Status.SENT: "Sent",
    Status.ABANDONED: "Given up",
    Status.SUPPRESSED: "Not sent on purpose",
    Status.EXPIRED: "Too late",
    Status.HELD: "Outcome unknown",
    Status.CANCELLED: "Replaced",
}

EVENT_LABELS = {
    "link_fetched": "The link was fetched, by a person or by a mail scanner",
    "code_accepted": "The right code was typed",
    "completed": "Completed",
}

_HEADLINES = {
    Status.QUEUED: "This mail is waiting for its next attempt.",
    Status.PROCESSING: "A worker is sending this mail right now.",
    Status.SENT: "The SMTP server accepted this mail.",
    Status.ABANDONED: "This mail was given up.",
    Status.SUPPRESSED: "This mail was not sent, on purpose.",
    Status.EXPIRED: "This mail was not sent in time.",
    Status.HELD: "This mail may or may not have been delivered.",
    Status.CANCELLED: "A newer mail took the place of this one.",
}

_LATE = "Its time ran out before an SMTP server took it. The person can ask for a new one."

#: By status and reason: what it means and what to do.
_ADVICE: dict[tuple[Status, str | None], str] = {
    (Status.QUEUED, None): "It will go out as soon as a worker takes it.",
    (Status.QUEUED, "transport_fault"): (
        "The SMTP server could not be reached, refused the login or the sender. That is on our "
        "side: see the last attempt. The mail stays in the queue and is tried again by itself."
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
        "Handling it failed again and again; see the worker's log for what was raised."
    ),
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
    (Status.EXPIRED, "deferred"): _LATE + " The receiving side kept putting it off; see below.",
    (Status.HELD, "outcome_unknown"): (
        "The connection broke after the mail was handed over and before the server confirmed. It "
        "is not sent again by itself: the person might get it twice."
    ),
    (Status.CANCELLED, "superseded"): "The person asked again before this one went out.",
}


def headline(entry: Entry) -> str:
    """What became of the message, in one sentence."""
    if entry.transport == "log:" and entry.status is Status.SENT:
        return "This mail stayed on this machine, in this log."
    return _HEADLINES[entry.status]


def advice(entry: Entry) -> str | None:
    """What that means and what to do, or None if there is nothing to add."""
    return _ADVICE.get((entry.status, entry.reason)) or _ADVICE.get((entry.status, None))


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
