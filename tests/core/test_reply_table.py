"""What every kind of end of an attempt means: each row by what real servers say."""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flask_courier.core.replies import Outcome, Phase, Reply, Trouble, Verdict
from flask_courier.core.reply_hints import asked_wait, plain_words
from flask_courier.core.reply_row import End
from flask_courier.core.reply_table import ROWS, judge, row_for

DIAL, TLS, BANNER, EHLO, AUTH = Phase.DIAL, Phase.TLS, Phase.BANNER, Phase.EHLO, Phase.AUTH
MAIL, RCPT, DATA, DOT = Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.DOT
UP_TO_MAIL = {DIAL, TLS, BANNER, EHLO, AUTH, MAIL}

ACCEPTED, DEFERRED, REJECTED = Outcome.ACCEPTED, Outcome.DEFERRED, Outcome.REJECTED
THROTTLED, UNKNOWN = Outcome.THROTTLED, Outcome.UNKNOWN
FAULT, OPERATOR = Outcome.TRANSPORT_FAULT, Outcome.OPERATOR_FAULT

FIVE_MINUTES, HOUR = timedelta(minutes=5), timedelta(hours=1)


class Case(NamedTuple):
    """An end, and what it must come to."""

    phase: Phase
    end: Trouble | tuple[int, str] | None
    outcome: Outcome
    cause: str
    suspect: Outcome | None = None
    wait: timedelta | None = None

    @property
    def reply(self) -> Reply | None:
        """The reply, if the end is one."""
        return Reply(*self.end) if isinstance(self.end, tuple) else None

    @property
    def trouble(self) -> Trouble | None:
        """The trouble, if the end is one."""
        return self.end if isinstance(self.end, Trouble) else None


CASES = [
    Case(DOT, (250, "2.0.0 Ok: queued as 4D2"), ACCEPTED, "accepted"),
    Case(DOT, (200, ""), ACCEPTED, "accepted"),
    # Troubles.
    Case(DIAL, Trouble.NO_SUCH_HOST, OPERATOR, "no_such_host"),
    Case(DIAL, Trouble.LOOK_UP, FAULT, "look_up_failed"),
    Case(DIAL, Trouble.REFUSED, FAULT, "connection_refused"),
    Case(DIAL, Trouble.TIMED_OUT, FAULT, "timed_out"),
    Case(BANNER, Trouble.DROPPED, FAULT, "connection_lost"),
    Case(MAIL, None, FAULT, "connection_lost"),
    Case(TLS, Trouble.CERTIFICATE_EXPIRED, OPERATOR, "certificate_expired"),
    Case(TLS, Trouble.CERTIFICATE_NAME, OPERATOR, "certificate_name"),
    Case(TLS, Trouble.CERTIFICATE_ISSUER, OPERATOR, "certificate_issuer"),
    Case(TLS, Trouble.CERTIFICATE, OPERATOR, "certificate"),
    Case(TLS, Trouble.TLS, OPERATOR, "tls_failed"),
    Case(TLS, Trouble.NO_STARTTLS, OPERATOR, "no_starttls"),
    Case(AUTH, Trouble.NO_AUTH, OPERATOR, "no_auth"),
    Case(MAIL, Trouble.NO_SMTPUTF8, REJECTED, "no_smtputf8"),
    Case(RCPT, Trouble.NO_SMTPUTF8, REJECTED, "no_smtputf8"),
    Case(EHLO, Trouble.OUT_OF_STEP, FAULT, "out_of_step"),
    Case(RCPT, Trouble.OUT_OF_STEP, DEFERRED, "out_of_step", FAULT),
    Case(DOT, Trouble.OUT_OF_STEP, UNKNOWN, "unclear_answer"),
    Case(DATA, Trouble.LEASE, FAULT, "lease_lost"),
    Case(MAIL, Trouble.LEASE, FAULT, "lease_lost"),
    Case(RCPT, Trouble.TIMED_OUT, DEFERRED, "timed_out", FAULT),
    Case(DATA, Trouble.DROPPED, DEFERRED, "connection_lost", FAULT),
    Case(DATA, None, DEFERRED, "connection_lost", FAULT),
    Case(DOT, Trouble.DROPPED, UNKNOWN, "no_final_answer"),
    Case(DOT, Trouble.TIMED_OUT, UNKNOWN, "no_final_answer"),
    Case(DOT, None, UNKNOWN, "no_final_answer"),
    # Limits, wherever they are spoken of.
    Case(BANNER, (421, "4.7.0 Error: too many connections from 192.0.2.1"), THROTTLED,
         "rate_limit"),
    Case(EHLO, (421, "4.3.2 The maximum number of concurrent server connections has exceeded"),
         THROTTLED, "rate_limit"),
    Case(AUTH, (454, "4.7.0 Too many login attempts, please try again later."), THROTTLED,
         "rate_limit"),
    Case(MAIL, (454, "Throttling failure: Maximum sending rate exceeded."), THROTTLED,
         "rate_limit"),
    Case(MAIL, (454, "Throttling failure: Daily message quota exceeded."), THROTTLED,
         "sending_quota", None, HOUR),
    Case(MAIL, (550, "5.4.5 Daily user sending limit exceeded."), THROTTLED, "sending_quota", None,
         HOUR),
    Case(RCPT, (550, "5.4.5 Daily sending quota exceeded"), THROTTLED, "sending_quota", None, HOUR),
    Case(RCPT, (450, "4.2.1 Peak SMTP relay limit exceeded for customer."), THROTTLED,
         "sending_quota", None, HOUR),
    Case(DOT, (454, "Throttling failure: Maximum sending rate exceeded."), THROTTLED,
         "rate_limit"),
    Case(DOT, (454, "later"), THROTTLED, "rate_limit"),
    Case(RCPT, (450, "4.7.1 Error: too much mail from 192.0.2.1"), THROTTLED, "rate_limit"),
    Case(DOT, (451, "Sending limit reached, try again later"), THROTTLED, "sending_quota", None,
         HOUR),
    Case(DOT, (451, "Recipient limit exceeded for now, try again later"), THROTTLED, "rate_limit"),
    Case(RCPT, (421, "4.7.0 too many messages on this connection"), DEFERRED, "rate_limit",
         THROTTLED),
    Case(RCPT, (452, "4.5.3 Your message has too many recipients."), DEFERRED,
         "too_many_recipients", THROTTLED),
    Case(RCPT, (552, "too many recipients"), DEFERRED, "too_many_recipients", THROTTLED),
    # Up to MAIL.
    Case(BANNER, (421, "4.3.2 Service not available"), FAULT, "server_closing"),
    Case(TLS, (454, "TLS not available due to temporary reason"), FAULT, "tls_unavailable"),
    Case(TLS, (502, "5.5.1 not implemented"), OPERATOR, "starttls_refused"),
    Case(BANNER, (554, "5.7.1 No SMTP service here"), OPERATOR, "banner_refused"),
    Case(BANNER, (521, "does not accept mail"), OPERATOR, "banner_refused"),
    Case(BANNER, (450, "busy"), FAULT, "server_trouble"),
    Case(EHLO, (550, "bad name"), OPERATOR, "ehlo_refused"),
    Case(EHLO, (451, "4.3.0 later"), FAULT, "server_trouble"),
    Case(DIAL, (550, "odd"), OPERATOR, "server_refused"),
    Case(AUTH, (432, "4.7.12 A password transition is needed"), OPERATOR, "password_change"),
    Case(AUTH, (454, "4.7.0 Temporary authentication failure"), FAULT, "login_unavailable"),
    Case(AUTH, (530, "5.7.0 Must issue a STARTTLS command first"), OPERATOR, "login_needs_tls"),
    Case(AUTH, (538, "Encryption required for requested mechanism"), OPERATOR, "login_needs_tls"),
    Case(AUTH, (554, "5.7.11 Encryption required"), OPERATOR, "login_needs_tls"),
    Case(AUTH, (504, "5.5.4 Unrecognized authentication type"), OPERATOR, "login_method"),
    Case(AUTH, (500, "5.5.6 line too long"), OPERATOR, "login_method"),
    Case(AUTH, (534, "5.7.9 Application-specific password required"), OPERATOR, "login_method"),
    Case(AUTH, (554, "5.7.9 mechanism too weak"), OPERATOR, "login_method"),
    Case(AUTH, (525, "account disabled"), OPERATOR, "login_disabled"),
    Case(AUTH, (535, "5.7.13 account disabled"), OPERATOR, "login_disabled"),
    Case(AUTH, (535, "5.7.8 Authentication credentials invalid"), OPERATOR, "login_refused"),
    Case(MAIL, (530, "5.7.0 Must issue a STARTTLS command first"), OPERATOR, "starttls_required"),
    Case(MAIL, (530, "5.7.0 Authentication required"), OPERATOR, "login_required"),
    Case(MAIL, (550, "5.7.57 Client was not authenticated"), OPERATOR, "login_required"),
    Case(MAIL, (503, "5.5.1 Error: send AUTH command first"), OPERATOR, "login_required"),
    Case(MAIL, (503, "5.5.1 Error: nested MAIL command"), FAULT, "out_of_sequence"),
    Case(MAIL, (555, "5.5.4 Unsupported option"), OPERATOR, "command_refused"),
    Case(MAIL, (550, "5.1.8 Sender's domain does not exist"), OPERATOR, "sender_refused"),
    Case(MAIL, (553, "5.7.1 Sender address rejected: not owned by user"), OPERATOR,
         "sender_refused"),
    Case(MAIL, (452, "4.3.1 Insufficient system storage"), FAULT, "server_full"),
    Case(MAIL, (451, "4.3.0 queue file write error"), FAULT, "server_trouble"),
    Case(MAIL, (552, "5.3.4 Message size exceeds fixed limit"), REJECTED, "too_big"),
    Case(MAIL, (552, "message size exceeds fixed maximum message size"), REJECTED, "too_big"),
    Case(MAIL, (553, "5.6.7 non-ASCII address"), REJECTED, "no_smtputf8"),
    Case(MAIL, (250, "2.1.0 Ok"), FAULT, "out_of_step"),
    # From RCPT on, what all may get.
    Case(DOT, (550, "5.7.20 No passing DKIM signature found"), DEFERRED, "dkim_failed", OPERATOR),
    Case(RCPT, (550, "5.7.23 The message was rejected because of SPF policy"), DEFERRED,
         "spf_failed", OPERATOR),
    Case(DOT, (550, "5.7.25 The sending IP does not have a PTR record"), DEFERRED,
         "no_reverse_dns", OPERATOR),
    Case(DOT, (550, "5.7.26 This mail is unauthenticated"), DEFERRED, "dmarc_failed", OPERATOR),
    Case(DOT, (421, "4.7.26 rate limited because it is unauthenticated"), DEFERRED,
         "dmarc_failed", OPERATOR),
    Case(DOT, (550, "5.7.515 Access denied, sending domain doesn't meet the required level"),
         DEFERRED, "dmarc_failed", OPERATOR),
    Case(RCPT, (550, "5.7.27 Sender address has null MX"), DEFERRED, "sender_takes_no_mail",
         OPERATOR),
    Case(RCPT, (530, "Authentication required"), DEFERRED, "login_required", OPERATOR),
    Case(RCPT, (550, "5.7.0 authentication required"), DEFERRED, "login_required", OPERATOR),
    Case(RCPT, (503, "AUTH first"), DEFERRED, "login_required", OPERATOR),
    Case(RCPT, (554, "5.7.1 <a@example.org>: Relay access denied"), DEFERRED, "relay_denied",
         OPERATOR),
    Case(RCPT, (454, "4.7.1 <a@example.org>: Relay access denied"), DEFERRED, "relay_denied",
         OPERATOR),
    Case(RCPT, (550, "relay not permitted"), DEFERRED, "relay_denied", OPERATOR),
    Case(RCPT, (550, "5.1.8 Sender domain not found"), DEFERRED, "sender_refused", OPERATOR),
    Case(RCPT, (553, "5.7.1 <a@example.org>: Sender address rejected: not owned by user"),
         DEFERRED, "sender_refused", OPERATOR),
    Case(RCPT, (421, "4.4.2 timeout"), DEFERRED, "server_closing", FAULT),
    Case(DOT, (421, "4.3.0 Temporary System Problem"), DEFERRED, "server_closing", FAULT),
    Case(RCPT, (503, "5.5.1 need MAIL command"), DEFERRED, "out_of_sequence", FAULT),
    Case(DATA, (250, "2.0.0 Ok"), DEFERRED, "out_of_step", FAULT),
    Case(RCPT, (354, "go"), DEFERRED, "out_of_step", FAULT),
    # From RCPT on, for a time.
    Case(RCPT, (450, "4.2.0 Greylisted"), DEFERRED, "greylisted", None, FIVE_MINUTES),
    Case(RCPT, (451, "4.7.1 Greylisting in action, come back in 00:10:00"), DEFERRED, "greylisted",
         None, timedelta(minutes=10)),
    Case(RCPT, (450, "4.7.1 Service unavailable"), DEFERRED, "policy_delay", None, FIVE_MINUTES),
    Case(RCPT, (452, "4.2.2 The email account is over quota"), DEFERRED, "mailbox_full", None,
         HOUR),
    Case(RCPT, (552, "5.2.2 mailbox full"), DEFERRED, "mailbox_full", None, HOUR),
    Case(RCPT, (550, "Mailbox is full"), DEFERRED, "mailbox_full", None, HOUR),
    Case(DOT, (552, "storage allocation exceeded"), DEFERRED, "mailbox_full", None, HOUR),
    Case(RCPT, (450, "4.2.1 The user is receiving mail at a rate that prevents more"), DEFERRED,
         "mailbox_unavailable"),
    Case(RCPT, (450, "mailbox busy"), DEFERRED, "mailbox_unavailable"),
    Case(RCPT, (452, "insufficient system storage"), DEFERRED, "server_full"),
    Case(DOT, (451, "4.3.0 queue file write error"), DEFERRED, "server_trouble"),
    Case(DATA, (451, "local error"), DEFERRED, "try_later"),
    # From RCPT on, for good.
    Case(DOT, (552, "5.3.4 too large"), REJECTED, "too_big"),
    Case(DOT, (552, "Message too big"), REJECTED, "too_big"),
    Case(RCPT, (553, "5.6.7 non-ASCII address"), REJECTED, "no_smtputf8"),
    Case(RCPT, (550, "5.1.1 User unknown in relay recipient table"), REJECTED, "no_such_mailbox"),
    Case(RCPT, (550, "No such user here"), REJECTED, "no_such_mailbox"),
    Case(RCPT, (550, "5.1.2 bad host"), REJECTED, "no_such_domain"),
    Case(RCPT, (550, "5.1.10 null MX"), REJECTED, "takes_no_mail"),
    Case(RCPT, (556, "Domain does not accept mail"), REJECTED, "takes_no_mail"),
    Case(RCPT, (501, "5.1.3 Bad recipient address syntax"), REJECTED, "bad_address"),
    Case(RCPT, (553, "Mailbox name not allowed"), REJECTED, "bad_address"),
    Case(RCPT, (550, "5.1.6 moved"), REJECTED, "mailbox_moved"),
    Case(RCPT, (551, "User not local"), REJECTED, "mailbox_moved"),
    Case(RCPT, (550, "5.2.1 disabled"), REJECTED, "mailbox_disabled"),
    Case(RCPT, (550, "Requested action not taken"), REJECTED, "mailbox_refused"),
    Case(DATA, (554, "no valid recipients"), REJECTED, "no_valid_recipient"),
    Case(DOT, (554, "5.6.0 bad content"), REJECTED, "content_refused"),
    Case(DOT, (554, "5.7.9 Message not accepted for policy reasons, DMARC check failed"), REJECTED,
         "dmarc_failed"),
    Case(DOT, (550, "5.7.1 This message looks like spam"), REJECTED, "policy_refused"),
    Case(RCPT, (550, "5.7.1 Blocked"), REJECTED, "policy_refused"),
    Case(DOT, (554, "Transaction failed"), REJECTED, "refused"),
    # After the dot, neither yes nor no.
    Case(DOT, (354, "go on"), UNKNOWN, "unclear_answer"),
    Case(DOT, (999, "?"), UNKNOWN, "unclear_answer"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.phase}-{case.end}"[:60])
def test_row(case: Case) -> None:
    """What servers say means what the RFCs and their makers say it means."""
    wanted = Verdict(case.outcome, case.cause, case.wait, case.suspect)
    assert wanted == judge(case.phase, case.reply, case.trouble)


def test_every_row_is_reached() -> None:
    """No row stands behind another that always speaks first."""
    spoken = {id(row_for(End(case.phase, case.reply, case.trouble))) for case in CASES}
    assert [] == [row for row in ROWS if id(row) not in spoken]


def test_every_row_names_its_source() -> None:
    """Each stands on an RFC and a section of it."""
    assert all("RFC " in row.source and " section" in row.source for row in ROWS)


def test_class_of_the_enhanced_code_must_agree() -> None:
    """550 with 4.2.2 is no full mailbox: the basic code's first digit decides."""
    assert "mailbox_refused" == judge(RCPT, Reply(550, "4.2.2 contradiction")).cause


def test_what_was_said_outweighs_the_break_after_it() -> None:
    """A server that refuses and hangs up has refused."""
    assert REJECTED is judge(RCPT, Reply(550, "5.1.1 unknown"), Trouble.DROPPED).outcome


def test_a_reply_out_of_step_refuses_nobody() -> None:
    """550 where nothing was asked is not about this recipient."""
    verdict = judge(RCPT, Reply(550, "5.1.1 unknown"), Trouble.OUT_OF_STEP)
    assert (DEFERRED, FAULT) == (verdict.outcome, verdict.suspect)


@pytest.mark.parametrize(
    "quoted",
    [
        "<throttled@example.org>: unknown",
        "throttled@example.org: unknown",
        'user "too many connections"@example.org unknown',
        "throttling.example.org not found",
        "see https://example.org/throttling",
    ],
)
def test_a_quotation_throttles_nobody(quoted: str) -> None:
    """A stranger chooses his address and his server's name, and so must not choose our rate."""
    assert DEFERRED is judge(RCPT, Reply(451, quoted)).outcome


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("please try again in 5 minutes", 300),
        ("TRY AGAIN IN 30 S", 30),
        ("retry after 120", 120),
        ("Retry-After: 60", 60),
        ("come back in 00:04:32", 272),
        ("delayed for 300 seconds", 300),
        ("wait at least 5 min.", 300),
        ("in 2 hours", 7200),
        ("You sent 5 messages in 1 hour, try again in 2 hours", 7200),
        ("again in 3 days", 86400),
        ("try again in 999999999 days", 86400),
        ("try again in 0 seconds", 1),
        ("more than 100 messages in 60 minutes", None),
        ("try again later 17si123456", None),
        ("try again later", None),
        ("", None),
    ],
)
def test_hint(text: str, seconds: int | None) -> None:
    """A time that the server names is read, within 1 second and 24 hours; a limit is none."""
    wanted = None if seconds is None else timedelta(seconds=seconds)
    assert wanted == asked_wait(plain_words(text))


@pytest.mark.parametrize(
    ("reply", "wait"),
    [
        (Reply(451, "4.3.0 try again in 7 minutes"), timedelta(minutes=7)),
        (Reply(450, "Greylisted, try again in 20 seconds"), FIVE_MINUTES),
        (Reply(550, "5.4.5 quota, try again in 3 hours"), timedelta(hours=3)),
        (Reply(552, "5.2.2 full, try again in 3 hours"), HOUR),
        (Reply(550, "5.1.1 unknown, try again in 3 hours"), None),
    ],
)
def test_wait(reply: Reply, wait: timedelta | None) -> None:
    """The longer of row and hint; hints count where the server means to be asked again."""
    assert wait == judge(RCPT, reply).wait


WORDS = [
    "", "4.7.1 ", "5.7.1 ", "5.3.4 ", "5.6.7 ", "4.2.2 ", "5.4.5 ", "5.7.26 ", "relay denied ",
    "greylisted ", "too many connections ", "throttling ", "daily quota ", "mailbox full ",
    "<a@b> ", "try again in 5 minutes ", "in 99999999999 h ", "retry after 0 ", "\x00", "\udc80",
    "\n",
]  # fmt: skip
CODES = st.one_of(st.integers(), st.integers(0, 999), st.sampled_from([0, -1, 999, 421, 454, 550]))
TEXTS = st.one_of(st.text(), st.lists(st.sampled_from(WORDS)).map("".join))
REPLIES = st.none() | st.builds(Reply, CODES, TEXTS)
TROUBLES = st.none() | st.sampled_from(Trouble)


@given(st.sampled_from(Phase), REPLIES, TROUBLES)
@example(MAIL, Reply(552, "5.3.4 too big"), None)
@example(DOT, Reply(250, ""), Trouble.DROPPED)
@example(RCPT, Reply(-1, "\udc80"), None)
def test_invariants(phase: Phase, reply: Reply | None, trouble: Trouble | None) -> None:
    """Whatever a server says, an end means something, and nothing that its phase forbids."""
    verdict = judge(phase, reply, trouble)
    if phase is not DOT:
        assert verdict.outcome not in {ACCEPTED, UNKNOWN}
    elif reply is not None and 200 <= reply.code < 300:
        assert verdict.outcome is ACCEPTED
    if phase in UP_TO_MAIL:
        assert verdict.outcome is not DEFERRED
        assert verdict.outcome is not REJECTED or verdict.cause in {"too_big", "no_smtputf8"}
    assert verdict.suspect is None or verdict.outcome is DEFERRED
    assert verdict.wait is None or timedelta(seconds=1) <= verdict.wait <= timedelta(hours=24)
    assert verdict.wait is None or verdict.outcome not in {ACCEPTED, REJECTED, UNKNOWN}


@given(st.sampled_from(Phase), REPLIES)
def test_only_an_acceptance_accepts(phase: Phase, reply: Reply | None) -> None:
    """A message counts as sent by 2yz after the final dot, and by nothing else."""
    good = phase is DOT and reply is not None and 200 <= reply.code < 300
    assert good is (judge(phase, reply).outcome is ACCEPTED)


@pytest.mark.parametrize("text", ["<" * 5000, '"' * 5000, "a." * 5000, "try " * 5000, "x" * 10**6])
def test_long_reply_is_read_in_part(text: str) -> None:
    """Only the first 2,048 characters are looked at, so no reply costs much time."""
    assert len(plain_words(text)) <= 2048
