"""Where messages stand: a row for each status and reason, and for what became of a link.

No sentence holds an address or a name. "Sent" is accepted by the SMTP server, and no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from flask_courier.core.actions import Action
from flask_courier.core.outlook_row import Outlook
from flask_courier.core.outlook_rows_over import ABANDONED, CANCELLED, EXPIRED, SUPPRESSED
from flask_courier.core.status import Status

_RETRY, _RESEND = Action.RETRY, Action.RESEND
_WAIT = "Nothing: it is tried again by itself, as often as its time allows."
_SPAM = (
    "If it is missing: look in the spam folder, then ask whoever runs the SMTP server for its log, "
    "quoting the Message-ID."
)
_ACCEPTED = (
    "Accepted is not delivered: the server can still delay the mail, file it as spam or return it."
)
_FETCHED = "The link was fetched, by a person or by a mail scanner, which does so within seconds."

_WAITING: Mapping[str | None, Outlook] = {
    None: Outlook(
        "This mail is waiting to be sent.", "A worker takes it as soon as it is due.",
        "us", "Nothing. If it stays here, the health page says whether a worker is at work.",
    ),
    "retried": Outlook(
        "This mail is waiting to be tried again.", "An operator asked for it; a worker takes it.",
        "us", "Nothing. If it stays here, the health page says whether a worker is at work.",
    ),
    "transport_fault": Outlook(
        "This mail is waiting: the SMTP server cannot be used for now.",
        "The connection to the SMTP server failed, which says nothing of this mail.",
        "network", _WAIT, _RETRY,
    ),
    "operator_fault": Outlook(
        "This mail is waiting until somebody changes a setting.",
        "The SMTP server refused the connection, the login or the sender, and will go on to.",
        "sender", "Tell whoever runs this application. No mail is lost: all of it waits.", _RETRY,
    ),
    "throttled": Outlook(
        "This mail is waiting: the SMTP server wants less mail for now.",
        "The server limits how much mail it takes in a time.",
        "provider", "Nothing: sending slows down by itself, and this mail is tried again.",
    ),
    "deferred": Outlook(
        "This mail is waiting: it was put off for now.",
        "A server asked to come back later.",
        "recipient_server", _WAIT, _RETRY,
    ),
    "outcome_unknown": Outlook(
        "This mail may have arrived, and is sent once more.",
        "The connection broke before the server confirmed. A second copy has the same link.",
        "network", "Ask whether it arrived; if so, the copy does no harm.",
    ),
    "lease_expired": Outlook(
        "This mail is back in the queue.", "The worker that had it is gone.",
        "us", "Nothing: another worker takes it. If it goes on, see the workers' logs.",
    ),
    "unknown_kind": Outlook(
        "This mail is waiting for its template.",
        "There is no template for it here; a newer release of the application may have it.",
        "sender", "Finish the release, or add the template that the error names.",
    ),
    "template": Outlook(
        "This mail is waiting: its template fails.",
        "Its template raised an error, which names the template, the line and what is wrong.",
        "sender", "Mend the template and release it: what waits is then sent by itself.",
    ),
    "hourly_budget": Outlook(
        "This mail is waiting for the next hour.",
        "As many mails went out this hour as COURIER_HOURLY_BUDGET allows.",
        "sender", "Nothing, or raise COURIER_HOURLY_BUDGET.",
    ),
    "failed": Outlook(
        "This mail is waiting after something unforeseen.",
        "An error of this software or of the application stopped it; the worker's log has it.",
        "us", "See the worker's log.", _RETRY,
    ),
}  # fmt: skip

_SENT: Mapping[str | None, Outlook] = {
    None: Outlook(
        "The SMTP server accepted this mail.", _ACCEPTED, "provider", _SPAM, _RESEND,
    ),
    "unopened": Outlook(
        "The SMTP server accepted this mail; nobody has opened its link yet.",
        _ACCEPTED, "recipient", _SPAM, _RESEND,
    ),
    "never_opened": Outlook(
        "The SMTP server accepted this mail; its link ran out and nobody had opened it.",
        _ACCEPTED, "recipient", f"{_SPAM} Sent again, it has a new link.", _RESEND,
    ),
    "opened": Outlook(
        "The SMTP server accepted this mail and its link was opened, but not used yet.",
        _FETCHED, "recipient",
        "Ask the person to open the link again and finish, or to type the code.", _RESEND,
    ),
    "not_completed": Outlook(
        "The SMTP server accepted this mail; its link was opened, and ran out before it was used.",
        _FETCHED, "recipient", "Send it again, and ask the person to finish in time.", _RESEND,
    ),
    "used": Outlook(
        "The SMTP server accepted this mail, and the person did what it asked for.",
        "Its link or its code was used, so it arrived.", "recipient", "Nothing: all is done.",
    ),
    "replaced": Outlook(
        "The SMTP server accepted this mail; its link is void, for something newer took its place.",
        "A newer mail, or a change of the account, ended this link.",
        "recipient", "Ask the person to use the newest mail of this kind.",
    ),
    "disowned": Outlook(
        'The SMTP server accepted this mail; the owner answered "this was not me".',
        "Every open link of the account was made void at that moment.",
        "recipient", "Talk to the owner: somebody else may have tried to get in.",
    ),
    "stayed": Outlook(
        "This mail stayed on this machine, in this log.",
        "COURIER_SMTP_URI is log:, so nothing leaves.",
        "sender", "Nothing. Set COURIER_SMTP_URI to send mail for real.",
    ),
}  # fmt: skip

_HELD: Mapping[str | None, Outlook] = {
    None: Outlook(
        "This mail may or may not have been delivered.",
        "The connection broke after the mail was handed over and before the server confirmed.",
        "network", "Ask whether it arrived. If not, try it again: twice does little harm.", _RETRY,
    ),
}  # fmt: skip

_PROCESSING: Mapping[str | None, Outlook] = {
    None: Outlook(
        "A worker is sending this mail right now.", "It has left the queue and has no answer yet.",
        "us", "Nothing: look again in a moment.",
    ),
}  # fmt: skip

_BY_STATUS: Mapping[Status, Mapping[str | None, Outlook]] = {
    Status.QUEUED: _WAITING,
    Status.PROCESSING: _PROCESSING,
    Status.SENT: _SENT,
    Status.ABANDONED: ABANDONED,
    Status.SUPPRESSED: SUPPRESSED,
    Status.EXPIRED: EXPIRED,
    Status.HELD: _HELD,
    Status.CANCELLED: CANCELLED,
}
#: By status and reason; of a sent message, by what became of its link. None: any other.
OUTLOOKS: Mapping[tuple[Status, str | None], Outlook] = MappingProxyType(
    {(status, word): row for status, rows in _BY_STATUS.items() for word, row in rows.items()}
)
