"""What the delivery log says in words: statuses, reasons, outcomes, events and times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from markupsafe import Markup

from flask_courier.core.cause import Cause, Side
from flask_courier.core.causes import CAUSES
from flask_courier.core.clock import utc_now
from flask_courier.core.replies import Outcome, Phase
from flask_courier.core.status import Status
from flask_courier.storage.details import AttemptEntry
from flask_courier.storage.log import Entry

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

#: States of a message that are no statuses.
STATE_LABELS = {
    "attention": "Needs attention",
    "stuck": "Stuck",
    "overdue": "Overdue",
    "due": "Due",
    "retrying": "Retrying",
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
    "deferred": "Put off for now",
    "outcome_unknown": "No final answer from the SMTP server",
    "lease_expired": "Its worker is gone",
    "unknown_kind": "No template for it yet",
    "hourly_budget": "The mails of this hour are used up",
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
    "disowned": 'Taken back: "this was not me"',
    "frozen": 'Held back after "this was not me"',
    "address_taken": "Another account has the address",
    "address_unchanged": "It is the account's address already",
    "undone": "The change it tells of was taken back",
    "account_changed": "The account has changed since it was asked for",
    "handed_over": "Its link was handed over by support",
}

EVENT_LABELS = {
    "link_fetched": "The link was fetched, by a person or by a mail scanner",
    "code_accepted": "The right code was typed",
    "completed": "Completed",
    "retried": "Tried again by an operator",
    "cancelled": "Taken back by an operator",
    "resent": "Sent anew by an operator, as another message",
    "hurried": "Made due at once by an operator",
    "content_deleted": "Its content was deleted by an operator",
    "undone": "The change of address was taken back",
    "address_vacated": (
        "Another account had the old address, never verified: its own now ends in .invalid"
    ),
    "disowned": 'The account\'s owner said: "this was not me"',
    "handed_over": "A recovery link was made and handed over",
    "test_asked": "Asked for on the health page, as a test",
    "link_replaced": "Its link was made void: something newer took its place",
    "link_disowned": 'Its link was made void: "this was not me"',
    "link_expired": "Its link ran out without being used",
    "not_me_fetched": 'The "this was not me" link was fetched, by a person or by a mail scanner',
}

#: Whose side a cause is on.
SIDE_LABELS: Mapping[Side, str] = {
    "recipient": "The recipient's",
    "recipient_server": "The recipient's mail server's",
    "sender": "Ours: whoever runs this application",
    "provider": "The SMTP provider's",
    "network": "Nobody's yet: the network in between",
    "us": "Ours: the worker that sends",
}

#: How far an attempt had come.
PHASE_LABELS = {
    Phase.DIAL: "while connecting",
    Phase.TLS: "while encryption was agreed on",
    Phase.BANNER: "at the greeting",
    Phase.EHLO: "at EHLO",
    Phase.AUTH: "while logging in",
    Phase.MAIL: "at MAIL FROM",
    Phase.RCPT: "at RCPT TO",
    Phase.DATA: "at DATA",
    Phase.DOT: "at the end of the message",
}


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
    return _time(moment, f"{moment:%Y-%m-%d %H:%M:%S} UTC", " data-exact")


def relative(moment: datetime) -> Markup:
    """``moment`` as people say it, exact where one points at it."""
    return _time(moment, _distance(moment - utc_now()))


def _time(moment: datetime, text: str, kind: str = "") -> Markup:
    # log.js writes the zone of the browser in place of UTC.
    return Markup('<time datetime="{}" title="{} UTC"{}>{}</time>').format(
        moment.isoformat(timespec="seconds"), f"{moment:%Y-%m-%d %H:%M:%S}", kind, text
    )


def span(duration: timedelta) -> str:
    """``duration`` in its largest unit: ``4 minutes``."""
    seconds = round(abs(duration.total_seconds()))
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            return _counted(seconds // size, unit)
    return _counted(seconds, "second")


def gap(duration: timedelta) -> str:
    """``duration`` in its two largest units, short: ``4 min 5 s``."""
    if duration < timedelta(seconds=1):
        return f"{duration // timedelta(milliseconds=1)} ms"
    minutes, seconds = divmod(duration.seconds, 60)
    hours, minutes = divmod(minutes, 60)
    counts = ((duration.days, "d"), (hours, "h"), (minutes, "min"), (seconds, "s"))
    return " ".join([f"{count} {unit}" for count, unit in counts if count][:2])


def _counted(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


def _distance(distance: timedelta) -> str:
    if abs(distance) < timedelta(seconds=4.5):
        return "in a moment" if distance > timedelta(0) else "just now"
    words = span(distance)
    return f"in {words}" if distance > timedelta(0) else f"{words} ago"
