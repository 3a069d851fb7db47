"""Commits wake the worker of the application they belong to, however many there were before it."""

from __future__ import annotations

import gc
from functools import partial

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from flask_courier.storage.uow import Database, listen, note_enqueued


def test_every_factory_wakes() -> None:
    """An application that takes the memory of one that is gone is woken as that was."""
    engine = sa.create_engine("sqlite://")
    for _ in range(100):
        woken: list[str] = []
        factory: sessionmaker[Session] = sessionmaker(engine)
        listen(factory)
        with factory() as session:
            Database(factory, None, partial(woken.append, "woken")).bind(session)
            session.execute(sa.text("SELECT 1"))
            note_enqueued(session)
            session.commit()
        assert ["woken"] == woken
        del factory, session
        gc.collect(1)  # What this round made; a whole one takes seconds late in a run.
    engine.dispose()
