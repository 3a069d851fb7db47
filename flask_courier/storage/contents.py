"""Mail as it was sent, with a placeholder where the token and the code went."""

from __future__ import annotations

import uuid

import sqlalchemy as sa
from sqlalchemy.orm import Session

from flask_courier.core.messages import Rendered
from flask_courier.storage.dialect import run
from flask_courier.storage.models import Content


def store(session: Session, message_id: uuid.UUID, rendered: Rendered) -> None:
    """Keep what was rendered for the message, in place of what was there."""
    run(session, sa.delete(Content).where(Content.message_id == message_id))
    run(
        session,
        sa.insert(Content).values(
            message_id=message_id,
            subject=rendered.subject,
            text=rendered.text,
            html=rendered.html,
            placeholder=rendered.placeholder,
        ),
    )


def load(session: Session, message_id: uuid.UUID) -> Rendered | None:
    """What was rendered for the message, or None before that."""
    row = run(
        session,
        sa.select(Content.subject, Content.text, Content.html, Content.placeholder).where(
            Content.message_id == message_id
        ),
    ).one_or_none()
    return None if row is None else Rendered(*row)
