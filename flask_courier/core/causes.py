"""What each cause of a failed attempt means, in plain words: for support staff, not for the sender.

No sentence holds an address, a name or a server's own words; those stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

#: Who can do something about it: whoever reads the mail, whoever runs this application, whoever
#: runs the SMTP server, the lines between, or this software.
Side = Literal["recipient", "sender", "provider", "network", "us"]


@dataclass(frozen=True)
class Cause:
    """One cause: a sentence on what it means, whose side it is on, and what to do."""

    meaning: str
    side: Side
    advice: str


_CONNECTION = {
    "no_such_host": Cause(
        "The name of the SMTP server does not exist.",
        "sender", "Correct the host in COURIER_SMTP_URI, or its DNS record.",
    ),
    "look_up_failed": Cause(
        "The name of the SMTP server could not be looked up for now.",
        "network", "Nothing, if it passes. Otherwise check the resolver of this machine.",
    ),
    "connection_refused": Cause(
        "Nobody answers at the SMTP server's address and port.",
        "network", "Check the port in COURIER_SMTP_URI, firewalls, and whether the server runs.",
    ),
    "timed_out": Cause(
        "The SMTP server did not answer in time.",
        "network", "Nothing, if it passes. Otherwise check firewalls and the server's load.",
    ),
    "connection_lost": Cause(
        "The connection broke before the mail was handed over.",
        "network", "Nothing: it is tried again. If it goes on, ask the provider for their log.",
    ),
    "server_closing": Cause(
        "The SMTP server is closing connections for now.",
        "provider", "Nothing: it is tried again. If it goes on, see the provider's status page.",
    ),
    "out_of_step": Cause(
        "The SMTP server answered something that was not asked.",
        "provider", "If it goes on, check that the port speaks SMTP and no firewall rewrites it.",
    ),
    "out_of_sequence": Cause(
        "The SMTP server says that a command came out of order.",
        "provider", "Nothing: it is tried on a new connection. If it goes on, report it to us.",
    ),
    "lease_lost": Cause(
        "This worker took too long and hung up, so that another one could send the mail.",
        "us", "Nothing: another worker sends it. If it goes on, look for a slow or paused machine.",
    ),
    "server_full": Cause(
        "The SMTP server has no room for more mail at the moment.",
        "provider", "Nothing: it is tried again. If it goes on, tell whoever runs the server.",
    ),
    "server_trouble": Cause(
        "The SMTP server has a passing trouble of its own.",
        "provider", "Nothing: it is tried again. If it goes on, see the provider's status page.",
    ),
    "server_refused": Cause(
        "The SMTP server refuses this connection for good.",
        "sender", "Read the server's words and check COURIER_SMTP_URI with the provider.",
    ),
    "banner_refused": Cause(
        "The SMTP server turns this machine away before anything is said.",
        "sender", "Ask the provider whether this machine's IP address is blocked or unknown.",
    ),
    "ehlo_refused": Cause(
        "The SMTP server does not accept the name by which this machine greets it.",
        "sender", "Set COURIER_SMTP_LOCAL_NAME to a full host name that exists.",
    ),
}  # fmt: skip

_ENCRYPTION_AND_LOGIN = {
    "certificate": Cause(
        "The server's certificate does not prove that it is the SMTP server.",
        "sender", "Renew it, name its issuer in COURIER_SMTP_CA_FILE, or set server_name in the "
        "URI to the name on it.",
    ),
    "tls_failed": Cause(
        "No encrypted connection could be agreed on.",
        "sender", "Check the scheme and port: smtps is mostly 465, smtp with STARTTLS mostly 587.",
    ),
    "no_starttls": Cause(
        "The server offers no encryption, so nothing was sent.",
        "sender", "Use the port that offers STARTTLS, or smtps. If it should offer it, something "
        "on the way may be hiding it.",
    ),
    "tls_unavailable": Cause(
        "The server cannot encrypt for the moment.",
        "provider", "Nothing: it is tried again. If it goes on, tell whoever runs the server.",
    ),
    "starttls_refused": Cause(
        "The server offers encryption and then refuses it, so nothing was sent.",
        "sender", "Check host and port with the provider.",
    ),
    "starttls_required": Cause(
        "The server takes mail on encrypted connections only.",
        "sender", "Take disable_starttls out of COURIER_SMTP_URI, or use smtps.",
    ),
    "no_auth": Cause(
        "The server offers no way to log in that is known here.",
        "sender", "Use the provider's submission port, or take the login out of the URI.",
    ),
    "login_refused": Cause(
        "User name or password was refused.",
        "sender", "Correct them in COURIER_SMTP_URI; write @ : / % in them percent-encoded.",
    ),
    "login_disabled": Cause(
        "The account at the SMTP server is switched off.",
        "sender", "Have the provider switch it on again.",
    ),
    "password_change": Cause(
        "The provider wants this account's password changed first.",
        "sender", "Change it there, then in COURIER_SMTP_URI.",
    ),
    "login_method": Cause(
        "The server does not accept this kind of login for this account.",
        "sender", "Often the provider wants a password made for applications: create one there.",
    ),
    "login_needs_tls": Cause(
        "The server takes passwords on encrypted connections only.",
        "sender", "Take disable_starttls out of COURIER_SMTP_URI, or use smtps.",
    ),
    "login_unavailable": Cause(
        "The server cannot check logins for the moment.",
        "provider", "Nothing: it is tried again. If it goes on, see the provider's status page.",
    ),
    "login_required": Cause(
        "The server takes mail only from those who log in.",
        "sender", "Put user name and password into COURIER_SMTP_URI.",
    ),
}  # fmt: skip

_SENDER = {
    "sender_refused": Cause(
        "The server does not let this application send from its sender address.",
        "sender", "Verify COURIER_DEFAULT_SENDER at the provider, or use an address it allows.",
    ),
    "sender_unproven": Cause(
        "The mail could not prove that it comes from its sender's domain (SPF, DKIM, DMARC).",
        "sender", "Check the sender domain's SPF, DKIM and DMARC records with the provider.",
    ),
    "relay_denied": Cause(
        "The server does not pass mail on to this domain for this application.",
        "sender", "Check the login and what the provider lets this account send.",
    ),
    "command_refused": Cause(
        "The server does not understand how the mail was announced.",
        "sender", "Check COURIER_DEFAULT_SENDER, and that the port is meant for sending mail.",
    ),
    "rate_limit": Cause(
        "The provider wants fewer mails or connections in this time.",
        "provider", "Nothing: sending slows down by itself. If it goes on, raise the limit there.",
    ),
    "sending_quota": Cause(
        "The provider's quota for this account is used up.",
        "provider", "Raise the quota at the provider, or wait until it is renewed.",
    ),
    "too_many_recipients": Cause(
        "The server has seen too many recipients in this time.",
        "provider", "Nothing: it is tried again. If it goes on, raise the limit at the provider.",
    ),
}  # fmt: skip

_RECIPIENT = {
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
        "recipient", "Read the server's words: they say whether the address or the sender is why.",
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
        "recipient", "Nothing: the mail is offered again in a few minutes, and is mostly taken.",
    ),
    "policy_delay": Cause(
        "The recipient's server puts this mail off by its own rules.",
        "recipient", "Nothing: it is tried again. If it goes on, read the server's words.",
    ),
    "try_later": Cause(
        "The server asks to come back later.",
        "recipient", "Nothing: it is tried again. If it goes on, read the server's words.",
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
        "recipient", "Read the server's words; check the sender's reputation, or ask for another "
        "address.",
    ),
    "refused": Cause(
        "The server refused the mail for good.",
        "recipient", "Read the server's words: they are all that is known.",
    ),
}  # fmt: skip

_OURS = {
    "worker_stopped": Cause(
        "This worker was told to stop and hung up before the server's last answer came.",
        "us", "Nothing, if it is tried again. If it is held, ask whether it arrived first.",
    ),
}  # fmt: skip

_HANDED_OVER = {
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

#: Causes that no server has a part in: the worker itself names them, and no row of the table.
OWN_CAUSES = frozenset(_OURS)
#: Every cause that a row of the reply table or a worker names.
CAUSES: Mapping[str, Cause] = MappingProxyType(
    {**_CONNECTION, **_ENCRYPTION_AND_LOGIN, **_SENDER, **_RECIPIENT, **_HANDED_OVER, **_OURS}
)
