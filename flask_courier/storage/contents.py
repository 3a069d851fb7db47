"""Mail as it was sent, with a placeholder where the token and the code went."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.messages import Rendered
from flask_courier.storage.bulk import Bulk
from flask_courier.storage.dialect import run
from flask_courier.storage.models import Content

_COLUMNS = {
    "message_id": Content.message_id,
    "subject": Content.subject,
    "text": Content.text,
    "html": Content.html,
    "placeholder": Content.placeholder,
}
_INSERT = Bulk(
    _COLUMNS,
    lambda row: sa.insert(Content).from_select(
        [*_COLUMNS], sa.select(*(getattr(row, name) for name in _COLUMNS))
    ),
)


def store(session: Session, mails: Sequence[tuple[uuid.UUID, Rendered]]) -> None:
    """Keep what was rendered for these messages, which have nothing yet."""
    rows = [
        {
            "message_id": message_id,
            "subject": rendered.subject,
            "text": rendered.text,
            "html": rendered.html,
            "placeholder": rendered.placeholder,
        }
        for message_id, rendered in mails
    ]
    _INSERT.run(session, rows)


def drop(session: Session, message_ids: Sequence[uuid.UUID]) -> int:
    """Forget what was rendered for these messages; answer of how many there was something."""
    count: int = run(
        session, sa.delete(Content).where(Content.message_id.in_(message_ids))
    ).rowcount
    return count


def load(session: Session, message_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Rendered]:
    """What was rendered for these messages, as far as there is something."""
    columns = (Content.subject, Content.text, Content.html, Content.placeholder)
    statement = sa.select(Content.message_id, *columns).where(Content.message_id.in_(message_ids))
    return {row[0]: Rendered(*row[1:]) for row in run(session, statement)}
