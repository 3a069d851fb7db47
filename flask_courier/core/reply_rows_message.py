"""The rows that speak first of the message: from RCPT on.

A relay passes on what a stranger's server said. So what may be meant for all mail is put off and
only suspected: one such answer speaks of its message.
"""

from __future__ import annotations

from datetime import timedelta

from flask_courier.core import reply_words as words
from flask_courier.core.replies import Outcome, Phase, Trouble
from flask_courier.core.reply_row import NO_ENHANCED_CODE, Row
from flask_courier.core.reply_rows import (
    BEFORE_END,
    CODES,
    DEFERRED,
    FROM_RCPT,
    OPERATOR_FAULT,
    QUOTA_WAIT,
    REJECTED,
    SMTP,
    THROTTLED,
    TRANSPORT_FAULT,
)

_RCPT, _DOT = frozenset({Phase.RCPT}), frozenset({Phase.DOT})
#: RFC 6647 section 4.5 has servers refuse for a minute to a day; five minutes is the usual.
_GREYLIST_WAIT = timedelta(minutes=5)
#: A full mailbox is emptied by a person.
_FULL_WAIT = timedelta(hours=1)


def _unproven(cause: str, source: str, *numbers: int) -> Row:
    """The sender's domain does not vouch for the mail, for a time or for good."""
    return Row(
        cause,
        DEFERRED,
        FROM_RCPT,
        source,
        classes={4, 5},
        suspect=OPERATOR_FAULT,
        enhanced={f"{kind}.7.{number}" for kind in (4, 5) for number in numbers},
    )


#: What one message got and all may get.
_SUSPECT = (
    _unproven("dkim_failed", "RFC 7372 section 3.1", 20, 21, 22),
    _unproven("spf_failed", "RFC 7372 section 3.2", 23, 24),
    _unproven("no_reverse_dns", "RFC 7372 section 3.3", 25),
    # Microsoft has numbers of its own for DMARC.
    _unproven("dmarc_failed", "RFC 7372 section 3.4 (Outlook)", 26, 509, 515),
    _unproven("sender_takes_no_mail", "RFC 7505 section 4.2", 27),
    Row("login_required", DEFERRED, FROM_RCPT, "RFC 4954 section 6",
        codes={530}, suspect=OPERATOR_FAULT),
    Row("login_required", DEFERRED, _RCPT, "RFC 4954 section 6 (Exchange)",
        classes={5}, enhanced={"5.7.0", "5.7.57"}, suspect=OPERATOR_FAULT),
    Row("login_required", DEFERRED, _RCPT, "RFC 4954 section 6",
        codes={503}, text=words.LOG_IN_FIRST, suspect=OPERATOR_FAULT),
    Row("relay_denied", DEFERRED, _RCPT, f"{SMTP} 3.6.2 and 7.9, {CODES} 3.8",
        codes={550, 551, 553, 554, 450, 451, 454}, text=words.RELAY_AT_ALL,
        enhanced={"5.7.1", "5.7.54", "4.7.1"}, suspect=OPERATOR_FAULT),
    Row("relay_denied", DEFERRED, _RCPT, f"{SMTP} 3.6.2 and 7.9",
        codes={550, 551, 553, 554, 450, 451, 454}, text=words.RELAY,
        enhanced={NO_ENHANCED_CODE}, suspect=OPERATOR_FAULT),
    # Postfix, unless told otherwise, waits for RCPT to refuse a sender.
    Row("sender_refused", DEFERRED, _RCPT, f"{CODES} 3.2",
        classes={5}, enhanced={"5.1.7", "5.1.8"}, suspect=OPERATOR_FAULT),
    Row("sender_refused", DEFERRED, _RCPT, f"{SMTP} 3.3 (Postfix)",
        codes={553}, text=words.SENDER, suspect=OPERATOR_FAULT),
)  # fmt: skip

_TRANSIENT = (
    Row("greylisted", DEFERRED, FROM_RCPT, "RFC 6647 section 2",
        classes={4}, text=words.GREYLIST, wait=_GREYLIST_WAIT),
    Row("rate_limit", DEFERRED, FROM_RCPT, f"{SMTP} 3.8",
        codes={421}, text=words.RATE, suspect=THROTTLED),
    Row("server_closing", DEFERRED, FROM_RCPT, f"{SMTP} 3.8",
        codes={421}, suspect=TRANSPORT_FAULT),
    # Before the rates: a mailbox may hold too many messages.
    Row("mailbox_full", DEFERRED, FROM_RCPT, f"{SMTP} 4.2.2, {CODES} 3.3",
        classes={4, 5}, enhanced={"4.2.2", "5.2.2"}, wait=_FULL_WAIT),
    Row("mailbox_full", DEFERRED, FROM_RCPT, f"{SMTP} 4.2.2",
        classes={4, 5}, enhanced={NO_ENHANCED_CODE}, text=words.FULL, wait=_FULL_WAIT),
    Row("sending_quota", THROTTLED, FROM_RCPT, f"{CODES} 3.5 (Gmail)",
        codes={550}, enhanced={"5.4.5"}, wait=QUOTA_WAIT),
    Row("sending_quota", THROTTLED, FROM_RCPT, f"{SMTP} 4.2.1 (Amazon SES, Gmail)",
        classes={4}, text=words.QUOTA, wait=QUOTA_WAIT),
    # 4.1 and 4.2 speak of the recipient: "is receiving mail at a rate that" is not our rate.
    Row("mailbox_unavailable", DEFERRED, FROM_RCPT, f"{CODES} 3.2 and 3.3",
        classes={4}, enhanced={"4.1.", "4.2."}),
    Row("too_many_recipients", DEFERRED, FROM_RCPT, f"{SMTP} 4.5.3.1.10, {CODES} 3.6",
        classes={4}, enhanced={"4.5.3"}, suspect=THROTTLED),
    Row("too_many_recipients", DEFERRED, FROM_RCPT, f"{SMTP} 4.5.3.1.10",
        codes={450, 451, 452, 552}, text=words.TOO_MANY_RECIPIENTS, suspect=THROTTLED),
    Row("rate_limit", THROTTLED, _DOT, f"{SMTP} 4.2.1 (Amazon SES)", codes={454}),
    Row("rate_limit", THROTTLED, FROM_RCPT, f"{SMTP} 4.2.1 (Amazon SES, Exchange, Postfix)",
        classes={4}, text=words.RATE),
    Row("policy_delay", DEFERRED, FROM_RCPT, f"RFC 6647 section 2, {CODES} 3.8",
        codes={450, 451}, enhanced={"4.7.1"}, wait=_GREYLIST_WAIT),
    Row("server_full", DEFERRED, FROM_RCPT, f"{SMTP} 4.2.3, {CODES} 3.4", codes={452}),
    Row("server_trouble", DEFERRED, FROM_RCPT, f"{CODES} 3.4 and 3.5",
        classes={4}, enhanced={"4.3.", "4.4."}),
    Row("mailbox_unavailable", DEFERRED, _RCPT, f"{SMTP} 4.2.3", codes={450}),
    Row("try_later", DEFERRED, FROM_RCPT, f"{SMTP} 4.2.1", classes={4}),
)  # fmt: skip

_PERMANENT = (
    Row("too_big", REJECTED, FROM_RCPT, f"RFC 1870 section 6.1, {CODES} 3.3 and 3.4",
        classes={5}, enhanced={"5.3.4", "5.2.3"}),
    Row("too_big", REJECTED, FROM_RCPT, "RFC 1870 section 6.1",
        codes={552}, enhanced={NO_ENHANCED_CODE}, text=words.TOO_BIG),
    Row("mailbox_full", DEFERRED, FROM_RCPT, f"{SMTP} 4.2.2 and 4.5.3.1.10",
        codes={552}, enhanced={NO_ENHANCED_CODE}, wait=_FULL_WAIT),
    # It speaks of the session; what was refused before it has been reported by its own reply.
    Row("out_of_sequence", DEFERRED, FROM_RCPT, f"{SMTP} 4.1.4",
        codes={503}, suspect=TRANSPORT_FAULT),
    Row("no_smtputf8", REJECTED, FROM_RCPT, "RFC 6531 section 3.5",
        classes={5}, enhanced={"5.6.7", "5.6.9"}),
    Row("no_such_mailbox", REJECTED, FROM_RCPT, f"{CODES} 3.2",
        classes={5}, enhanced={"5.1.0", "5.1.1"}),
    Row("no_such_domain", REJECTED, FROM_RCPT, f"{CODES} 3.2 and 3.5",
        classes={5}, enhanced={"5.1.2", "5.4.4"}),
    Row("takes_no_mail", REJECTED, FROM_RCPT, "RFC 7505 section 4.2", enhanced={"5.1.10"},
        classes={5}),
    Row("takes_no_mail", REJECTED, FROM_RCPT, "RFC 7504 section 4", codes={521, 556}),
    Row("bad_address", REJECTED, FROM_RCPT, f"{CODES} 3.2", classes={5}, enhanced={"5.1.3"}),
    Row("mailbox_moved", REJECTED, FROM_RCPT, f"{SMTP} 3.4, {CODES} 3.2",
        classes={5}, enhanced={"5.1.6"}),
    Row("mailbox_disabled", REJECTED, FROM_RCPT, f"{CODES} 3.3",
        classes={5}, enhanced={"5.2.1"}),
    Row("content_refused", REJECTED, FROM_RCPT, f"{CODES} 3.7", classes={5}, enhanced={"5.6."}),
    # Who has no number of its own for it says it in words.
    Row("dmarc_failed", REJECTED, FROM_RCPT, f"{CODES} 3.8 (Yahoo)",
        classes={5}, enhanced={"5.7."}, text=words.DMARC),
    Row("policy_refused", REJECTED, FROM_RCPT, f"{CODES} 3.8", classes={5}, enhanced={"5.7."}),
    Row("no_such_mailbox", REJECTED, _RCPT, f"{SMTP} 4.2.2", classes={5}, text=words.NOBODY),
    Row("mailbox_moved", REJECTED, _RCPT, f"{SMTP} 3.4", codes={551}),
    Row("bad_address", REJECTED, _RCPT, f"{SMTP} 4.2.2 and 4.2.4", codes={501, 553}),
    Row("mailbox_refused", REJECTED, _RCPT, f"{SMTP} 4.2.2", codes={550}),
    Row("no_valid_recipient", REJECTED, frozenset({Phase.DATA}), f"{SMTP} 3.3", codes={554}),
    Row("refused", REJECTED, FROM_RCPT, f"{SMTP} 4.2.1", classes={5}),
)  # fmt: skip

#: No reply of a class that says anything.
_SILENCE = (
    Row("timed_out", DEFERRED, BEFORE_END, f"{SMTP} 4.5.3.2",
        troubles={Trouble.TIMED_OUT}, suspect=TRANSPORT_FAULT),
    Row("connection_lost", DEFERRED, BEFORE_END, f"{SMTP} 3.8 and 4.1.1.10",
        troubles=frozenset(Trouble), suspect=TRANSPORT_FAULT),
    Row("out_of_step", DEFERRED, BEFORE_END, f"{SMTP} 4.2", suspect=TRANSPORT_FAULT),
    Row("no_final_answer", Outcome.UNKNOWN, _DOT, f"{SMTP} 4.5.3.2.6 and 6.1, RFC 1047",
        troubles=frozenset(Trouble)),
    Row("unclear_answer", Outcome.UNKNOWN, _DOT, f"{SMTP} 4.2.1 and RFC 1047"),
)  # fmt: skip

MESSAGE_ROWS = (*_SUSPECT, *_TRANSIENT, *_PERMANENT, *_SILENCE)
