"""The rows that speak of the connection, the login and the sender: up to and including MAIL."""

from __future__ import annotations

from datetime import timedelta

from flask_courier.core import reply_words as words
from flask_courier.core.replies import Outcome, Phase, Trouble
from flask_courier.core.reply_row import NO_ENHANCED_CODE, Row

UP_TO_MAIL = frozenset({Phase.DIAL, Phase.TLS, Phase.BANNER, Phase.EHLO, Phase.AUTH, Phase.MAIL})
FROM_RCPT = frozenset({Phase.RCPT, Phase.DATA, Phase.DOT})
BEFORE_DOT = frozenset(Phase) - {Phase.DOT}
BEFORE_END = frozenset({Phase.RCPT, Phase.DATA})
_TLS, _AUTH, _MAIL = frozenset({Phase.TLS}), frozenset({Phase.AUTH}), frozenset({Phase.MAIL})
_BANNER, _EHLO = frozenset({Phase.BANNER}), frozenset({Phase.EHLO})
_DOT = frozenset({Phase.DOT})

TRANSPORT_FAULT, OPERATOR_FAULT = Outcome.TRANSPORT_FAULT, Outcome.OPERATOR_FAULT
DEFERRED, REJECTED, THROTTLED = Outcome.DEFERRED, Outcome.REJECTED, Outcome.THROTTLED
#: A spent day's quota comes back with the hours, not with the minutes.
QUOTA_WAIT = timedelta(hours=1)

SMTP, CODES = "RFC 5321 section", "RFC 3463 section"

#: What no other row may overrule.
FIRST_ROWS = (
    Row("accepted", Outcome.ACCEPTED, _DOT, f"{SMTP} 4.2.5", classes={2}),
    # No reply after it can be trusted to answer what was asked.
    Row(
        "out_of_step", TRANSPORT_FAULT, UP_TO_MAIL, f"{SMTP} 4.2",
        troubles={Trouble.OUT_OF_STEP},
    ),
    Row(
        "out_of_step", DEFERRED, BEFORE_END, f"{SMTP} 4.2",
        troubles={Trouble.OUT_OF_STEP}, suspect=TRANSPORT_FAULT,
    ),
    Row(
        "unclear_answer", Outcome.UNKNOWN, _DOT, f"{SMTP} 4.2.1 and RFC 1047",
        troubles={Trouble.OUT_OF_STEP},
    ),
    # Without the dot the server must drop what it has.
    Row("lease_lost", TRANSPORT_FAULT, BEFORE_DOT, f"{SMTP} 4.1.1.10", troubles={Trouble.LEASE}),
    Row(
        "no_smtputf8", REJECTED, BEFORE_DOT, "RFC 6531 section 3.1",
        troubles={Trouble.NO_SMTPUTF8},
    ),
    Row(
        "no_such_host", OPERATOR_FAULT, UP_TO_MAIL, f"{SMTP} 5.1",
        troubles={Trouble.NO_SUCH_HOST},
    ),
    Row("look_up_failed", TRANSPORT_FAULT, UP_TO_MAIL, f"{SMTP} 5.1", troubles={Trouble.LOOK_UP}),
    Row(
        "connection_refused", TRANSPORT_FAULT, UP_TO_MAIL, f"{SMTP} 4.5.4.1",
        troubles={Trouble.REFUSED},
    ),
    Row(
        "certificate_expired", OPERATOR_FAULT, UP_TO_MAIL, "RFC 5280 section 4.1.2.5",
        troubles={Trouble.CERTIFICATE_EXPIRED},
    ),
    Row(
        "certificate_name", OPERATOR_FAULT, UP_TO_MAIL, "RFC 9525 section 6",
        troubles={Trouble.CERTIFICATE_NAME},
    ),
    Row(
        "certificate_issuer", OPERATOR_FAULT, UP_TO_MAIL, "RFC 5280 section 6.1",
        troubles={Trouble.CERTIFICATE_ISSUER},
    ),
    Row(
        "certificate", OPERATOR_FAULT, UP_TO_MAIL, "RFC 8314 section 3.4 and RFC 3207 section 4.1",
        troubles={Trouble.CERTIFICATE},
    ),
    Row("tls_failed", OPERATOR_FAULT, UP_TO_MAIL, "RFC 3207 section 4.1", troubles={Trouble.TLS}),
    Row(
        "no_starttls", OPERATOR_FAULT, UP_TO_MAIL, "RFC 3207 section 6",
        troubles={Trouble.NO_STARTTLS},
    ),
    Row("no_auth", OPERATOR_FAULT, UP_TO_MAIL, "RFC 4954 section 3", troubles={Trouble.NO_AUTH}),
)  # fmt: skip

#: What speaks of the message although no recipient has been named.
_ABOUT_THE_MESSAGE = (
    Row(
        "too_big", REJECTED, _MAIL, f"RFC 1870 section 6.1, {CODES} 3.4",
        codes={552}, enhanced={"5.3.4"},
    ),
    Row(
        "too_big", REJECTED, _MAIL, "RFC 1870 section 6.1",
        codes={552}, enhanced={NO_ENHANCED_CODE}, text=words.TOO_BIG,
    ),
    Row(
        "no_smtputf8", REJECTED, _MAIL, "RFC 6531 section 3.5",
        codes={550, 553}, enhanced={"5.6.7"},
    ),
)  # fmt: skip

_LIMITS = (
    Row("sending_quota", THROTTLED, UP_TO_MAIL, f"{CODES} 3.5 (Gmail)", wait=QUOTA_WAIT,
        codes={550}, enhanced={"5.4.5"}),
    Row("sending_quota", THROTTLED, UP_TO_MAIL, f"{SMTP} 4.2.1 (Amazon SES, Gmail)",
        classes={4}, text=words.QUOTA, wait=QUOTA_WAIT),
    Row("rate_limit", THROTTLED, UP_TO_MAIL, f"{SMTP} 3.8 (Amazon SES, Exchange, Postfix)",
        classes={4}, text=words.RATE),
)  # fmt: skip

TRANSPORT_ROWS = (
    *_ABOUT_THE_MESSAGE,
    *_LIMITS,
    Row("server_closing", TRANSPORT_FAULT, UP_TO_MAIL, f"{SMTP} 3.8", codes={421}),
    Row("tls_unavailable", TRANSPORT_FAULT, _TLS, "RFC 3207 section 4", classes={4}),
    Row("starttls_refused", OPERATOR_FAULT, _TLS, "RFC 3207 sections 4 and 6", classes={5}),
    Row("banner_refused", OPERATOR_FAULT, _BANNER, f"{SMTP} 3.1, RFC 7504 section 3", classes={5}),
    Row("ehlo_refused", OPERATOR_FAULT, _EHLO, f"{SMTP} 4.1.4", classes={5}),
    Row("password_change", OPERATOR_FAULT, _AUTH, "RFC 4954 section 6", codes={432}),
    Row("login_unavailable", TRANSPORT_FAULT, _AUTH, "RFC 4954 section 6", classes={4}),
    Row(
        "login_needs_tls", OPERATOR_FAULT, _AUTH, "RFC 4954 section 6, RFC 3207 section 4",
        codes={530, 538},
    ),
    Row(
        "login_needs_tls", OPERATOR_FAULT, _AUTH, "RFC 4954 section 6",
        classes={5}, enhanced={"5.7.11"},
    ),
    Row("login_method", OPERATOR_FAULT, _AUTH, "RFC 4954 section 6", codes={500, 504, 534}),
    Row(
        "login_method", OPERATOR_FAULT, _AUTH, "RFC 4954 section 6",
        classes={5}, enhanced={"5.5.6", "5.7.9"},
    ),
    Row("login_disabled", OPERATOR_FAULT, _AUTH, "RFC 5248 section 2.4", codes={525}),
    Row(
        "login_disabled", OPERATOR_FAULT, _AUTH, "RFC 5248 section 2.4",
        classes={5}, enhanced={"5.7.13"},
    ),
    Row("login_refused", OPERATOR_FAULT, _AUTH, "RFC 4954 section 6", classes={5}),
    Row(
        "starttls_required", OPERATOR_FAULT, _MAIL, "RFC 3207 section 4",
        classes={5}, text=words.START_TLS_FIRST,
    ),
    Row("login_required", OPERATOR_FAULT, _MAIL, "RFC 4954 section 6", codes={530}),
    Row(
        "login_required", OPERATOR_FAULT, _MAIL, "RFC 4954 section 6 (Exchange)",
        classes={5}, enhanced={"5.7.0", "5.7.57"},
    ),
    Row(
        "login_required", OPERATOR_FAULT, _MAIL, "RFC 4954 section 6",
        classes={5}, text=words.LOG_IN_FIRST,
    ),
    # A new connection begins a new sequence.
    Row("out_of_sequence", TRANSPORT_FAULT, _MAIL, f"{SMTP} 4.1.4", codes={503}),
    Row(
        "command_refused", OPERATOR_FAULT, _MAIL, f"{SMTP} 4.1.1.11 and 4.2.4",
        codes={500, 501, 502, 504, 555},
    ),
    Row("sender_refused", OPERATOR_FAULT, _MAIL, f"{SMTP} 3.3, {CODES} 3.2 and 3.8", classes={5}),
    Row("server_full", TRANSPORT_FAULT, _MAIL, f"{SMTP} 4.2.3, {CODES} 3.4", codes={452}),
    Row("server_trouble", TRANSPORT_FAULT, UP_TO_MAIL, f"{SMTP} 4.2.1, {CODES} 3.4", classes={4}),
    Row("server_refused", OPERATOR_FAULT, UP_TO_MAIL, f"{SMTP} 4.2.1", classes={5}),
    Row("timed_out", TRANSPORT_FAULT, UP_TO_MAIL, f"{SMTP} 4.5.3.2", troubles={Trouble.TIMED_OUT}),
    Row(
        "connection_lost", TRANSPORT_FAULT, UP_TO_MAIL, f"{SMTP} 3.8",
        troubles=frozenset(Trouble),
    ),
    Row("out_of_step", TRANSPORT_FAULT, UP_TO_MAIL, f"{SMTP} 4.2"),
)  # fmt: skip
