"""What each cause means that speaks of the message: its address, its content, what became of it."""

from __future__ import annotations

from collections.abc import Mapping

from flask_courier.core.cause import Cause

RECIPIENT: Mapping[str, Cause] = {
    "no_such_mailbox": Cause(
        "There is no such mailbox.",
        "recipient", "Ask for the right address, then send a new message.",
    ),
    "no_such_domain": Cause(
        "The domain of the address does not exist or cannot be reached.",
        "recipient", "Look for a typing error after the @ and ask for the right address.",
    ),
    "takes_no_mail": Cause(
        "The domain of the address says that it takes no mail.",
        "recipient", "Ask for another address.",
    ),
    "bad_address": Cause(
        "The server does not accept the address as it is written.",
        "recipient", "Look for a typing error and ask for the right address.",
    ),
    "mailbox_moved": Cause(
        "The mailbox has moved.",
        "recipient", "Ask for the new address.",
    ),
    "mailbox_disabled": Cause(
        "The mailbox is switched off.",
        "recipient", "Ask for another address, or have its owner switch it on.",
    ),
    "mailbox_refused": Cause(
        "The recipient's server takes no mail for this address, or none from here.",
        "recipient_server", "Read the server's words: they say whether the address or the "
        "sender is why.",
    ),
    "mailbox_full": Cause(
        "The mailbox is full.",
        "recipient", "Ask its owner to make room, or for another address.",
    ),
    "mailbox_unavailable": Cause(
        "The mailbox cannot take mail at the moment.",
        "recipient", "Nothing: it is tried again. If it goes on, ask for another address.",
    ),
    "no_valid_recipient": Cause(
        "The server says that nobody is left to take the mail.",
        "recipient", "Ask for the right address, then send a new message.",
    ),
    "greylisted": Cause(
        "The recipient's server puts off senders whom it does not know yet.",
        "recipient_server", "Nothing: the mail is offered again in a few minutes, and is "
        "mostly taken.",
    ),
    "policy_delay": Cause(
        "The recipient's server puts this mail off by its own rules.",
        "recipient_server", "Nothing: it is tried again. If it goes on, read the server's words.",
    ),
    "try_later": Cause(
        "The server asks to come back later.",
        "recipient_server", "Nothing: it is tried again. If it goes on, read the server's words.",
    ),
    "no_smtputf8": Cause(
        "An address has letters that the mail server cannot handle (SMTPUTF8).",
        "provider", "Use an address in plain letters, or a provider that supports SMTPUTF8.",
    ),
    "too_big": Cause(
        "The mail is larger than the server takes.",
        "sender", "Make the mail's template smaller.",
    ),
    "content_refused": Cause(
        "The server does not accept the form or content of the mail.",
        "sender", "Read the server's words and correct the template.",
    ),
    "policy_refused": Cause(
        "The recipient's server refused the mail by its rules, often as spam.",
        "recipient_server", "Read the server's words; check the sender's reputation, or ask for "
        "another address.",
    ),
    "refused": Cause(
        "The server refused the mail for good.",
        "recipient_server", "Read the server's words: they are all that is known.",
    ),
}  # fmt: skip

OURS: Mapping[str, Cause] = {
    "worker_stopped": Cause(
        "This worker was told to stop and hung up before the server's last answer came.",
        "us", "Nothing, if it is tried again. If it is held, ask whether it arrived first.",
    ),
}  # fmt: skip

HANDED_OVER: Mapping[str, Cause] = {
    "accepted": Cause(
        "The SMTP server took the mail and is now responsible for it.",
        "provider", "If it does not arrive, look in the spam folder and the server's own log.",
    ),
    "no_final_answer": Cause(
        "The connection broke after the mail was handed over: it may have arrived, or not.",
        "network", "Ask whether it arrived before sending it again.",
    ),
    "unclear_answer": Cause(
        "The server's last answer says neither yes nor no: the mail may have arrived, or not.",
        "provider", "Ask whether it arrived before sending it again.",
    ),
}  # fmt: skip
