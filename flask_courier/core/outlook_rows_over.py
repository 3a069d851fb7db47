"""Where messages stand that were never sent, and will not be by themselves."""

from __future__ import annotations

from collections.abc import Mapping

from flask_courier.core.actions import Action
from flask_courier.core.outlook_row import Outlook

_RETRY, _RESEND = Action.RETRY, Action.RESEND
_LATE = "Its time ran out before an SMTP server took it."
_NEW = "Send it again if it is still wanted: the new mail has a new life, and a new link."
_TRIED_ONCE = (
    "It was tried once, as a test, and is not tried again; the attempt says why it failed."
)
_ASK = "The person can ask for a new one, which goes out at once."

ABANDONED: Mapping[str | None, Outlook] = {
    None: Outlook(
        "This mail was given up.", "The attempts say why.", "sender", "Read the attempts.", _RETRY,
    ),
    "rejected": Outlook(
        "This mail was refused for good.",
        "A server refused it with a final answer; its words are below.",
        "recipient_server", "This mail is not tried again, only sent anew.",
        _RESEND,
    ),
    "retries_exhausted": Outlook(
        "This mail was given up: it was put off every time.",
        "A server asked to come back later until no attempt was left.",
        "recipient_server", "Try it again later, or reach the person in another way.", _RETRY,
    ),
    "template": Outlook(
        "This mail was given up: its template failed.",
        "Its template could not be turned into a mail; the error names it.",
        "sender", "Mend the template, then try again.", _RETRY,
    ),
    "poison": Outlook(
        "This mail was given up: it ended badly whenever it was tried.",
        "Each attempt ended a connection, a worker or in an error. Something in the mail may be "
        "the cause.",
        "us", "See the attempts and the worker's log before it is tried again.", _RETRY,
    ),
    "deferred": Outlook(
        "This test mail was put off.", _TRIED_ONCE, "recipient_server", "Ask for another test.",
    ),
    "throttled": Outlook(
        "This test mail was put off.", _TRIED_ONCE, "provider", "Ask for another test later.",
    ),
    "transport_fault": Outlook(
        "This test mail did not get through.", _TRIED_ONCE, "network", "Then ask for another test.",
    ),
    "operator_fault": Outlook(
        "This test mail did not get through.", _TRIED_ONCE, "sender", "Then ask for another test.",
    ),
    "failed": Outlook(
        "This mail was given up.", "It could not be handled; the command that sent it said why.",
        "us", "See what the command said.", _RETRY,
    ),
}  # fmt: skip

SUPPRESSED: Mapping[str | None, Outlook] = {
    None: Outlook(
        "This mail was not sent, on purpose.", "A rule of the application kept it back.",
        "sender", "Nothing.",
    ),
    "no_account": Outlook(
        "This mail was not sent: there is no account with this address.",
        "Whoever asked was told the same as everybody, so that nobody learns who has an account.",
        "recipient", "Ask the person which address they signed up with.",
    ),
    "inactive": Outlook(
        "This mail was not sent: the account is switched off.",
        "Accounts that are not active get no such mail.",
        "sender", "Switch the account on if it should be, then have the person ask again.",
    ),
    "bad_address": Outlook(
        "This mail was not sent: the account's address is none.",
        "What the account has for an address cannot be written to.",
        "sender", "Correct the address in the account, then have the person ask again.",
    ),
    "already_verified": Outlook(
        "This mail was not sent: the address is verified already.",
        "There is nothing left to verify.", "recipient", "Tell the person to sign in.",
    ),
    "recipient_limit": Outlook(
        "This mail was not sent: too many were asked for in a short time.",
        "COURIER_RECIPIENT_LIMIT holds it back. An earlier mail with a working link is out.",
        "recipient", "Look for the earlier mail below, and ask the person to use its link.",
    ),
    "day_limit": Outlook(
        "This mail was not sent: the address had its mails for today.",
        "COURIER_RECIPIENT_LIMIT says how many one address gets in a day.",
        "recipient", "Support can make a recovery link, or the person asks again tomorrow.",
    ),
    "superseded": Outlook(
        "This mail was not sent: another new address was asked for after this one.",
        "Only the newest change of address counts.", "recipient", "Look for the newer mail.",
    ),
    "frozen": Outlook(
        'This mail was not sent: the owner said "this was not me" a while ago.',
        "For COURIER_NOT_ME_FREEZE after that, no such mail goes out.",
        "recipient", "Make sure who is asking; support can then make a recovery link.",
    ),
    "address_taken": Outlook(
        "This mail was not sent: another account has this address.",
        "Whoever asked was not told, so that nobody learns who has an account.",
        "recipient", "Ask the person whether they have a second account.",
    ),
    "address_unchanged": Outlook(
        "This mail was not sent: the account has this address already.",
        "The address that was asked for is the account's, and verified.", "recipient", "Nothing.",
    ),
    "undone": Outlook(
        "This mail was not sent: the change of address that it tells of was taken back.",
        "Its link would have given the account to an address that it no longer has.",
        "recipient", "Nothing.",
    ),
    "account_changed": Outlook(
        "This mail was not sent: the account has changed since it was asked for.",
        "It got another password, address or security stamp, under which the link would be void.",
        "recipient", "Have the person ask again, if it is still wanted.",
    ),
    "handed_over": Outlook(
        "No mail was meant to go out: the link was handed over by hand.",
        "Somebody here made a recovery link; the history says who.", "sender", "Nothing.",
    ),
}  # fmt: skip

EXPIRED: Mapping[str | None, Outlook] = {
    None: Outlook(
        "This mail was not sent in time.", f"{_LATE} It is never sent late.", "us",
        f"{_ASK} See the health page if others wait too.", _RESEND,
    ),
    "transport_fault": Outlook(
        "This mail was not sent in time: the SMTP server could not be used.", _LATE, "network",
        _NEW, _RESEND,
    ),
    "operator_fault": Outlook(
        "This mail was not sent in time: a setting had to be changed first.", _LATE, "sender",
        _NEW, _RESEND,
    ),
    "throttled": Outlook(
        "This mail was not sent in time: the SMTP server wanted less mail.", _LATE, "provider",
        _NEW, _RESEND,
    ),
    "deferred": Outlook(
        "This mail was not sent in time: it was put off every time.", _LATE,
        "recipient_server", _NEW, _RESEND,
    ),
    "unknown_kind": Outlook(
        "This mail was not sent in time: its template did not come.",
        f"{_LATE} No release with its template came.", "sender", "Add the template. " + _NEW,
        _RESEND,
    ),
    "template": Outlook(
        "This mail was not sent in time: its template failed.",
        f"{_LATE} The error names the template, the line and what is wrong.", "sender",
        "Mend the template. " + _NEW, _RESEND,
    ),
    "hourly_budget": Outlook(
        "This mail was not sent in time: the mails of that hour were used up.",
        f"{_LATE} COURIER_HOURLY_BUDGET says how many go out in an hour.", "sender", _NEW, _RESEND,
    ),
}  # fmt: skip

CANCELLED: Mapping[str | None, Outlook] = {
    None: Outlook(
        "This mail was taken back before it was sent.", "It did not go out, and will not.",
        "sender", "Nothing. Sent again, it goes out as a new message.", _RESEND,
    ),
    "superseded": Outlook(
        "This mail was taken back: a newer one took its place.",
        "The person asked again before this one went out.", "recipient", "Look at the newer mail.",
    ),
    "disowned": Outlook(
        'This mail was taken back: the owner said "this was not me".',
        "Everything that waited for the account was taken back at that moment.",
        "recipient", "Talk to the owner: somebody else may have tried to get in.",
    ),
    "operator": Outlook(
        "This mail was taken back by an operator.", "The history says who, and when.",
        "sender", "Nothing. Sent again, it goes out as a new message.", _RESEND,
    ),
}  # fmt: skip
