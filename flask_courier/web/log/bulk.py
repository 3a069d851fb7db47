"""Many messages at once: those that were chosen, or all that a filter finds, a thousand at a time.

The first page asks: it says what can be done with how many of them. The second one does it, and
tells of each message whether it was done. Both work without scripts.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from flask import Response, jsonify, request, url_for

from flask_courier.core.actions import WHY_NOT, Action, Obstacle, obstacle
from flask_courier.flows import desk
from flask_courier.flows.desk import Answer
from flask_courier.state import CourierState, current_state
from flask_courier.storage import log
from flask_courier.storage.log import Entry
from flask_courier.web import forms as account_forms
from flask_courier.web import guard, wording
from flask_courier.web.log import access, forms, pages, selection
from flask_courier.web.log.actions import WORDS, standing
from flask_courier.web.log.selection import MOST, Selection

#: A thousand ids as a form sends them.
_BODY_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Choice:
    """An action, and with how many of the messages it is possible."""

    action: Action
    number: int
    #: Why not with the others, and how many these are.
    left_out: Mapping[str, int]

    @property
    def button(self) -> str:
        """What its button says."""
        noun = "message" if self.number == 1 else "messages"
        return WORDS[self.action].many.format(f"{self.number} {noun}")


def choose() -> Response:
    """``GET /courier/bulk``: what can be done with all that the filter finds."""
    forms.admit_reader()
    return _choices(current_state(), selection.of_filter())


def act() -> Response:
    """``POST /courier/bulk``: the same for messages that were chosen, or do it."""
    forms.admit(body_limit=_BODY_LIMIT)
    forms.check_token(forms.BULK)
    name, chosen = _read()
    if name is None:
        return _choices(current_state(), chosen)
    return _results(current_state(), Action(name), chosen)


def _read() -> tuple[str | None, Selection]:
    """What is to be done, None if that is not said yet, and with which messages.

    :raises Refused: if that cannot be read.
    """
    if request.is_json:
        body = account_forms.json_object()
        name, takes_all, ids = body.get("action"), body.get("all", False), body.get("ids", [])
        if not isinstance(takes_all, bool) or (takes_all and ids != []):
            raise forms.invalid("all", "True, and no ids; or ids alone.")
    else:
        name = request.form.get("action")
        takes_all, ids = "all" in request.form, request.form.getlist("id")
    if (name is not None or request.is_json) and name not in list(Action):
        raise forms.invalid("action", "One of " + ", ".join(Action) + ".")
    if takes_all:
        return name, selection.of_filter()
    found = _ids(ids)
    if found is None or not 1 <= len(found) <= MOST:
        raise forms.invalid("ids", f"Choose 1 to {MOST:,} messages.")
    return name, Selection(tuple(found))


def _ids(texts: Any) -> list[uuid.UUID] | None:
    """The ids of the messages, each once; None if they are none."""
    if not isinstance(texts, list):
        return None
    try:
        ids = [uuid.UUID(text) for text in cast("list[str]", texts)]
    except (ValueError, TypeError, AttributeError):
        return None
    return list(dict.fromkeys(ids))


def _choices(state: CourierState, chosen: Selection) -> Response:
    def work(session: Any) -> tuple[list[Entry], Counter[uuid.UUID]]:
        if not chosen.ids:
            return [], Counter()
        return log.entries_of(session, chosen.ids), desk.times_resent(session, chosen.ids)

    entries, resent = state.database.transact(work)
    choices = [_choice(action, entries, resent) for action in Action]
    more = chosen.going_on is not None
    if guard.wants_json():
        return jsonify(
            matching=len(entries),
            more=more,
            possible={choice.action.value: choice.number for choice in choices},
        )
    return pages.render(
        "bulk.html",
        choices=[(choice, WORDS[choice.action]) for choice in choices],
        chosen=chosen,
        number=f"{len(entries):,}" + ("+" if more else ""),
        is_one=len(entries) == 1 and not more,
        most=f"{MOST:,}",
        next_url=selection.url(".bulk", below=chosen.going_on) if more else None,
        act_url=selection.url(".bulk_act", below=chosen.from_here),
        list_url=selection.url(".messages"),
        form_token=forms.token(forms.BULK),
    )


def _choice(action: Action, entries: Sequence[Entry], resent: Counter[uuid.UUID]) -> Choice:
    def why_not(entry: Entry) -> Obstacle | None:
        found = obstacle(action, standing(entry))
        again = action is Action.RESEND and resent[entry.id] > 0
        return Obstacle.RESENT if found is None and again else found

    found = Counter(map(why_not, entries))
    number = found.pop(None, 0)
    return Choice(
        action, number, {WHY_NOT[action][one]: count for one, count in found.items() if one}
    )


def _results(state: CourierState, action: Action, chosen: Selection) -> Response:
    answers = desk.act_on_all(state.database, action, chosen.ids, actor=forms.actor())
    done = sum(answer.done for answer in answers)
    next_url = selection.url(".bulk", below=chosen.going_on) if chosen.going_on else None
    if guard.wants_json():
        return jsonify(
            action=action.value,
            done=done,
            skipped=len(answers) - done,
            results=[_as_json(answer) for answer in answers],
            next=next_url,
        )
    entries: list[Entry] = state.database.transact(
        lambda session: log.entries_of(session, chosen.ids) if chosen.ids else []
    )
    known = {entry.id: entry for entry in access.shown(entries)}
    lines = [_line(action, answer, known.get(answer.id)) for answer in answers]
    return pages.render(
        "bulk_done.html",
        words=WORDS[action],
        done=[line for line in lines if line["why_not"] is None],
        skipped=[line for line in lines if line["why_not"] is not None],
        next_url=next_url,
        list_url=selection.url(".messages"),
    )


def _line(action: Action, answer: Answer, entry: Entry | None) -> dict[str, Any]:
    """One message as the page of results tells it."""
    message_url: Callable[[uuid.UUID], str] = lambda one: url_for(".message", message_id=one)  # noqa: E731
    return {
        "url": None if entry is None else message_url(answer.id),
        "recipient": str(answer.id) if entry is None else entry.recipient,
        "status": None if entry is None else entry.status.value,
        "status_label": None if entry is None else wording.STATUS_LABELS[entry.status],
        "why_not": None if answer.why_not is None else WHY_NOT[action][answer.why_not],
        "new_url": None if answer.new_id is None else message_url(answer.new_id),
    }


def _as_json(answer: Answer) -> dict[str, Any]:
    return {
        "id": str(answer.id),
        "done": answer.done,
        "why_not": None if answer.why_not is None else answer.why_not.value,
        "new_id": None if answer.new_id is None else str(answer.new_id),
    }
