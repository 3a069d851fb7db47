"""The words by which servers say what their codes leave open.

Each pattern meets the words of one reply on one line, without addresses, names and codes
(``reply_hints.plain_words``). The examples are what servers really say.
"""

from __future__ import annotations

import re


def _words(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE | re.ASCII)


#: "Throttling failure: Maximum sending rate exceeded" (SES), "too many concurrent connections"
#: (Exchange), "too much mail from" (Postfix), "unusual rate of unsolicited mail" (Gmail).
RATE = _words(
    r"\bthrottl(?:e|ed|ing)\b",
    r"\brate[- ]?limit(?:s|ed|ing)?\b",
    r"\brate (?:has been |was |is )?exceeded\b",
    r"\b(?:sending|send|message|mail|submission|connection|delivery) rate\b",
    r"\btoo (?:many|much) (?:concurrent |simultaneous |parallel |open )?(?:smtp )?"
    r"(?:connections?|sessions?|messages?|e?-?mails?|logins?|login attempts)\b",
    r"\bconcurrent (?:\w+ )?(?:connections?|sessions?)\b",
    r"\b(?:connection|session|thread|message|messaging|sending|hourly) limits? "
    r"(?:\w+ )?(?:exceeded|reached)\b",
    r"\bexceeded (?:\w+ ){0,3}(?:sending|messaging|hourly|connection) limits?\b",
    r"\b(?:unusual|unexpected|excessive) (?:rate|volume)\b",
    r"\blimit (?:\w+ )?(?:exceeded|reached)\b.{0,40}\btry again later\b",
    r"\btry again later\b.{0,40}\blimit (?:\w+ )?(?:exceeded|reached)\b",
)

#: "Daily message quota exceeded" (SES), "Peak SMTP relay limit exceeded for customer" (Gmail).
QUOTA = _words(
    r"\bdaily (?:\w+ ){0,2}(?:quota|limit)s?\b",
    r"\b(?:sending|relay) (?:quota|limit)s? (?:\w+ )?(?:exceeded|reached)\b",
)

#: "Greylisted, see", "Greylisting in action".
GREYLIST = _words(r"\bgr[ea]y-?list")

#: "Relay access denied" (Postfix), "Unable to relay" (Exchange), "relay not permitted" (Exim),
#: "not in my list of allowed rcpthosts" (qmail).
RELAY = _words(
    r"\brelay(?:ing)?(?: access| attempt)?(?: is| was)? "
    r"(?:denied|not permitted|not allowed|prohibited|refused|rejected|disabled)\b",
    r"\b(?:unable|not permitted|not allowed|not authori[sz]ed|refuse|do not|don't|cannot|can't)"
    r"(?: to)? relay\b",
    r"\bno relaying\b",
    r"\brcpthosts\b",
)
#: Enough where the enhanced code already speaks of a missing right (5.7.1).
RELAY_AT_ALL = _words(r"\brelay(?:ing|ed)?\b", r"\brcpthosts\b")

#: "Authentication required", "send AUTH command first", "Client was not authenticated".
LOG_IN_FIRST = _words(
    r"\b(?:authentication|auth|login)\b.{0,20}\b(?:required|needed|first)\b",
    r"\brequires? (?:\w+ )?(?:authentication|login)\b",
    r"\bnot (?:been )?(?:authenticated|logged in)\b",
    r"\b(?:must|need to|please) (?:first )?(?:authenticate|log ?in)\b",
)

#: "Must issue a STARTTLS command first" (RFC 3207 section 4).
START_TLS_FIRST = _words(r"\bstarttls\b", r"\bencryption (?:is )?(?:required|needed)\b")

#: "Sender address rejected: not owned by user" (Postfix, which says it at RCPT).
SENDER = _words(
    r"\bsender(?:'s)?(?: e?-?mail)?(?: address)? (?:\w+ )?(?:rejected|refused|denied)\b"
)

#: "Unauthenticated email is not accepted due to domain's DMARC policy" (Yahoo), "SPF check failed".
DMARC = _words(
    r"\b(?:dmarc|dkim|spf)\b.{0,30}\b(?:polic(?:y|ies)|checks?|fail(?:s|ed|ure)?|reject(?:s|ed)?)\b",
    r"\b(?:fail(?:s|ed|ure)?|violat\w+)\b.{0,30}\b(?:dmarc|dkim|spf)\b",
)

#: "message size exceeds fixed maximum message size" (RFC 1870 section 6.1).
TOO_BIG = _words(
    r"\bmessage (?:is )?too (?:big|large|long)\b",
    r"\bmessage (?:size|length) (?:\w+ ){0,2}exceed",
    r"\bsize exceeds\b",
)

#: "Mailbox full", "The account is over quota".
FULL = _words(
    r"\b(?:mailbox|inbox) (?:is )?full\b",
    r"\bover ?quota\b",
    r"\bmailbox (?:size )?(?:quota|limit)\b",
)

#: "User unknown", "no such user", "Recipient address rejected: undeliverable" is not one.
NOBODY = _words(
    r"\b(?:user|recipient|mailbox|account|address)(?: is)? "
    r"(?:unknown|not found|does not exist|doesn't exist|not exist)\b",
    r"\b(?:unknown|no such|invalid) (?:local )?(?:user|recipient|mailbox|account|address)\b",
)

#: "Too many recipients": with one a transaction, a limit on what is sent in a longer time.
TOO_MANY_RECIPIENTS = _words(r"\btoo many recipients\b")
