"""Where a message stands is said in plain words, for every status, reason and end of a link."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from flask_courier.core.actions import Action, Standing, possible
from flask_courier.core.cause import Cause, Side
from flask_courier.core.causes import CAUSES
from flask_courier.core.config_keys import KEYS
from flask_courier.core.outlook import Link, Verdict, link_of, verdict
from flask_courier.core.outlook_row import Outlook
from flask_courier.core.outlook_rows import OUTLOOKS
from flask_courier.core.status import Status
from flask_courier.core.tokens import Ending
from flask_courier.web.wording import REASON_LABELS, SIDE_LABELS

EACH = pytest.mark.parametrize(
    "row", OUTLOOKS.values(), ids=[f"{status}-{word}" for status, word in OUTLOOKS]
)
SENT = "The SMTP server accepted this mail"


def judged(
    status: Status,
    reason: str | None = None,
    *,
    cause: str | None = None,
    link: Link | None = None,
    stays: bool = False,
) -> Verdict:
    """What is said first of a message."""
    found = None if cause is None else CAUSES[cause]
    return verdict(status, reason, cause=found, link=link, stays=stays)


@EACH
def test_headline_is_one_short_sentence(row: Outlook) -> None:
    """It fits two lines of a phone."""
    assert re.fullmatch(r"[A-Z][^.]{9,98}\.", row.headline)


@EACH
def test_meaning_and_step_are_short(row: Outlook) -> None:
    """Each says it in a sentence or two."""
    assert re.fullmatch(r".{9,119}\.", row.meaning)
    assert re.fullmatch(r".{6,169}\.", row.step)


@EACH
def test_no_address(row: Outlook) -> None:
    """Nothing that reads as an e-mail address stands in it."""
    assert not re.search(r"\S@\S", f"{row.headline} {row.meaning} {row.step}")


@EACH
def test_side_is_known(row: Outlook) -> None:
    """Somebody can do something about it, and the page has a word for them."""
    assert row.side in get_args(Side)
    assert row.side in SIDE_LABELS


@pytest.mark.parametrize("key", OUTLOOKS, ids=str)
def test_action_is_possible(key: tuple[Status, str | None]) -> None:
    """What is suggested is on offer."""
    action = OUTLOOKS[key].action
    stand = Standing(*key, is_due=False, has_content=True)
    assert action is None or action in possible(stand)


def test_every_status_has_a_row() -> None:
    """Whatever reason comes, there is a sentence for the status."""
    assert set(Status) == {status for status, word in OUTLOOKS if word is None}


def test_every_reason_is_known() -> None:
    """A row is for a reason that rows of messages have, or for the end of a link."""
    words = {word for status, word in OUTLOOKS if word and status is not Status.SENT}
    assert set() == words - REASON_LABELS.keys()
    links = {word for status, word in OUTLOOKS if word and status is Status.SENT}
    assert {*map(str, Link), "stayed"} == links


def test_every_reason_is_explained() -> None:
    """No reason leads to the bare status, but those whose status says it all."""
    words = {word for _, word in OUTLOOKS}
    assert {"outcome_unknown"} >= REASON_LABELS.keys() - words


def test_settings_exist() -> None:
    """Rows name only settings there are."""
    text = " ".join(f"{row.meaning} {row.step}" for row in OUTLOOKS.values())
    named = set(re.findall(r"COURIER_[A-Z_]+", text))
    assert named
    assert named <= {key.name for key in KEYS}


@pytest.mark.parametrize("link", [None, *Link])
def test_sent_is_accepted_and_no_more(link: Link | None) -> None:
    """Whatever became of its link, a sent mail was accepted by the SMTP server."""
    assert judged(Status.SENT, link=link).headline.startswith(SENT)


@pytest.mark.parametrize("link", [None, Link.UNOPENED, Link.NEVER_OPENED])
def test_what_to_try_when_sent_mail_is_missing(link: Link | None) -> None:
    """Who misses a sent mail is told of the spam folder, the server's log and the Message-ID."""
    step = judged(Status.SENT, link=link).step
    assert all(word in step for word in ("spam folder", "log", "Message-ID"))


def test_mail_that_stayed() -> None:
    """A delivery into the log was accepted by nobody."""
    assert SENT not in judged(Status.SENT, link=Link.UNOPENED, stays=True).headline


@pytest.mark.parametrize(
    ("opened", "good", "ended_as", "expected"),
    [
        (False, True, None, Link.UNOPENED),
        (True, True, None, Link.OPENED),
        (False, False, None, Link.NEVER_OPENED),
        (True, False, None, Link.NOT_COMPLETED),
        (True, False, Ending.USED, Link.USED),
        (False, False, Ending.USED, Link.USED),
        (False, False, Ending.REPLACED, Link.REPLACED),
        (True, False, Ending.DISOWNED, Link.DISOWNED),
        (False, False, Ending.UNDELIVERED, Link.NEVER_OPENED),
    ],
)
def test_link(*, opened: bool, good: bool, ended_as: Ending | None, expected: Link) -> None:
    """What became of a link follows from its row."""
    assert expected is link_of(opened=opened, good=good, ended_as=ended_as)


def test_an_attempt_speaks_for_its_message() -> None:
    """What the last attempt ended with says more than the status it led to."""
    cause = CAUSES["login_refused"]
    found = judged(Status.QUEUED, "operator_fault", cause="login_refused")
    assert (cause.meaning, cause.side, cause.advice) == (found.meaning, found.side, found.step)
    assert "Yes, by itself." == found.again


def test_a_final_refusal_has_both_steps() -> None:
    """What to do about the cause comes before what to do about the message."""
    found = judged(Status.ABANDONED, "rejected", cause="no_such_mailbox")
    assert found.step.startswith(CAUSES["no_such_mailbox"].advice)
    assert found.step.endswith("not tried again, only sent anew.")
    assert ("No.", Action.RESEND) == (found.again, found.action)


def test_what_is_over_is_not_waited_for() -> None:
    """A cause that passes by itself gives no advice once the message is over."""
    found = judged(Status.EXPIRED, "deferred", cause="greylisted")
    assert CAUSES["greylisted"].meaning == found.meaning
    assert "Nothing" not in found.step


def test_an_old_attempt_is_silent() -> None:
    """What an attempt ended with says nothing of a message that an operator took back."""
    found = judged(Status.CANCELLED, "operator", cause="timed_out")
    assert OUTLOOKS[Status.CANCELLED, "operator"].meaning == found.meaning


def test_unknown_reason() -> None:
    """A reason of another release has the words of its status."""
    assert "This mail was given up." == judged(Status.ABANDONED, "unheard_of").headline


@pytest.mark.parametrize("cause", CAUSES.values(), ids=CAUSES.keys())
def test_what_passes_says_so(cause: Cause) -> None:
    """Only advice that begins with "Nothing" promises that the mail is tried again."""
    assert cause.passes or "it is tried again" not in cause.advice
