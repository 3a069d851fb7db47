"""What can be done with one message: the forms on its page, what they lead to, and what is said."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from flask import Response, jsonify, request, url_for

from flask_courier.core.actions import WHY_NOT, Action, Obstacle, Standing, possible
from flask_courier.core.clock import utc_now
from flask_courier.flows import desk
from flask_courier.state import current_state
from flask_courier.storage.details import Details
from flask_courier.storage.log import Entry
from flask_courier.web import forms as account_forms
from flask_courier.web import guard
from flask_courier.web.guard import Refused
from flask_courier.web.log import forms
from flask_courier.web.log.access import is_allowed
from flask_courier.web.presented import transact

#: What is accepted now and happens later.
_LATER = frozenset({Action.RETRY, Action.RESEND})
_KEY_LIMIT = 255
_DIGITS = 10


@dataclass(frozen=True)
class Words:
    """How an action is offered and told."""

    button: str
    #: The same for many, whose number it is given.
    many: str
    #: What is asked before; None where nothing is lost by a slip of the finger.
    question: str | None
    explanation: str
    #: What is said when it is done.
    done: str
    #: The events that show that it was; a sent-anew message shows it by what it is.
    events: frozenset[str] = frozenset()


WORDS: Mapping[Action, Words] = {
    Action.RETRY: Words(
        button="Retry now",
        many="Retry {}",
        question=None,
        explanation=(
            "What waits is due at once. What was given up or is held is queued again, with a new "
            "life."
        ),
        done="It is tried again: a worker takes it as soon as it can.",
        events=frozenset({"retried", "hurried"}),
    ),
    Action.CANCEL: Words(
        button="Take back",
        many="Take back {}",
        question="Take this mail back?",
        explanation="It will not be sent, and the link that it would carry is dead.",
        done="Taken back: it will not be sent.",
        events=frozenset({"cancelled"}),
    ),
    Action.RESEND: Words(
        button="Resend",
        many="Resend {}",
        question="Send this mail anew?",
        explanation=(
            "A new message is written for the account as it is now. If it carries a link or a "
            "code, these are new ones."
        ),
        done="Sent anew: this is the new message. A worker takes it as soon as it can.",
    ),
    Action.DELETE_CONTENT: Words(
        button="Delete content",
        many="Delete content of {}",
        question="Delete what this mail says?",
        explanation=(
            "Subject, text and HTML part are gone at once, and nobody can bring them back. What "
            "became of the message stays in the log."
        ),
        done="Its content is deleted. What became of the message stays in the log.",
        events=frozenset({"content_deleted"}),
    ),
}


@dataclass(frozen=True)
class Offer:
    """An action as a form."""

    name: str
    url: str
    words: Words
    token: str
    #: How often the message was sent anew, as far as the page knows.
    known: int | None


@dataclass(frozen=True)
class Notice:
    """What came of what was just done."""

    words: str
    is_done: bool


def act(message_id: uuid.UUID, action: Action) -> Response:
    """``POST /courier/messages/<id>/retry``, ``/resend``, ``/cancel``, ``/delete-content``."""
    forms.admit()
    known = _known(action)
    forms.check_token(_purpose(action, message_id, known))
    state, actor, key = current_state(), forms.actor(), _key(action, message_id)
    answer = transact(
        state,
        lambda session: desk.act(session, action, message_id, actor=actor, key=key, known=known),
    )
    if answer.why_not is not None:
        return _not_done(action, message_id, answer.why_not)
    url = url_for(".message", message_id=answer.new_id or message_id)
    if not guard.wants_json():
        return guard.see_other(f"{url}?done={action}")
    told = jsonify(
        id=str(message_id),
        action=action.value,
        new_id=None if answer.new_id is None else str(answer.new_id),
        url=url,
    )
    told.status_code = HTTPStatus.ACCEPTED if action in _LATER else HTTPStatus.OK
    return told


def offers(details: Details) -> list[Offer]:
    """What whoever looks at the message may do with it, the most sensible first."""
    if not is_allowed("act"):
        return []
    message_id = details.entry.id
    resent = sum(event.what == "resent" for event in details.events)
    found: list[Offer] = []
    for action in possible(standing(details.entry)):
        known = resent if action is Action.RESEND else None
        token = forms.token(_purpose(action, message_id, known))
        url = url_for(".act", message_id=message_id, action=action)
        found.append(Offer(action.value, url, WORDS[action], token, known))
    return found


def notice(details: Details) -> Notice | None:
    """What the address says was done, or was not; anybody can write an address.

    So its words are ours, and what was done is told only if the log has it.
    """
    done, not_done = request.args.get("done", ""), request.args.get("not_done", "")
    if done in list(Action):
        words, happened = WORDS[Action(done)], {event.what for event in details.events}
        is_new = done == Action.RESEND and details.entry.resend_of is not None
        return Notice(words.done, is_done=True) if is_new or words.events & happened else None
    name, _, why_not = not_done.partition(".")
    if name in list(Action) and why_not in list(Obstacle):
        reason = WHY_NOT[Action(name)].get(Obstacle(why_not))
        return None if reason is None else Notice(f"Nothing was done: {reason}.", is_done=False)
    return None


def standing(entry: Entry) -> Standing:
    """What decides which actions the message is open to."""
    return Standing(
        entry.status,
        entry.reason,
        is_due=entry.next_attempt_at <= utc_now(),
        # A text has a subject.
        has_content=entry.subject is not None,
    )


def _not_done(action: Action, message_id: uuid.UUID, why_not: Obstacle) -> Response:
    """The message as it is now, and why; a problem where there is none, or for a program."""
    if why_not is not Obstacle.NOT_FOUND and not guard.wants_json():
        url = url_for(".message", message_id=message_id)
        return guard.see_other(f"{url}?not_done={action}.{why_not}")
    missing = why_not is Obstacle.NOT_FOUND
    raise Refused(
        HTTPStatus.NOT_FOUND if missing else HTTPStatus.CONFLICT,
        why_not.value,
        "Nothing was done",
        f"Nothing was done: {WHY_NOT[action][why_not]}.",
    )


def _known(action: Action) -> int | None:
    """How often the message was sent anew, as the form knows; a program may leave that out.

    :raises Refused: if a program says what is no number.
    """
    if action is not Action.RESEND:
        return None
    if not request.is_json:
        text = request.form.get("known", "")
        # Of another number the form's token is not.
        return int(text) if text.isdecimal() and len(text) < _DIGITS else None
    sent = account_forms.json_object().get("known")
    if sent is not None and (not isinstance(sent, int) or isinstance(sent, bool)):
        raise forms.invalid("known", "How often the message was sent anew, as a number.")
    return sent


def _key(action: Action, message_id: uuid.UUID) -> str | None:
    """What makes a form that is sent twice one mail; for a program, its own ``key``.

    :raises Refused: if a program's is no text of its length.
    """
    if action is not Action.RESEND:
        return None
    if request.is_json:
        sent = account_forms.json_object().get("key")
        if sent is None:
            return None
        if not isinstance(sent, str) or not 1 <= len(sent) <= _KEY_LIMIT:
            raise forms.invalid("key", f"A text of 1 to {_KEY_LIMIT} characters.")
    else:
        sent = request.form["form_token"]
    parts = ("resend", str(message_id), sent)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()


def _purpose(action: Action, message_id: uuid.UUID, known: int | None) -> str:
    return f"{action} {message_id} {known}"
