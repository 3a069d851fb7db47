"""Signals: when they come, what they carry, and that a receiver can break nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from blinker import NamedSignal

from flask_courier import recovery_completed, verification_completed
from tests.site import PASSWORD, Site
from tests.visitor import USED, Visitor, mailed

SIGNALS = {"recovery": recovery_completed, "verification": verification_completed}

each_flow = pytest.mark.parametrize("kind", SIGNALS)


@contextmanager
def receiving(signal: NamedSignal, receiver: Any) -> Iterator[None]:
    """Connect ``receiver`` for the length of the block."""
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


@each_flow
def test_payload(site: Site, kind: str) -> None:
    """A completed flow names its application and its account, and nothing else."""
    user = site.add_user()
    token = mailed(site, kind).token
    seen: list[tuple[Any, dict[str, Any]]] = []

    def receiver(sender: Any, **payload: Any) -> None:
        seen.append((sender, payload))

    with receiving(SIGNALS[kind], receiver):
        Visitor(site).redeem(kind, token)
    assert [(site.app, {"account_ref": str(user)})] == seen


@each_flow
def test_after_the_commit(site: Site, kind: str) -> None:
    """When a signal comes, another connection sees what it tells."""
    user = site.add_user()
    token = mailed(site, kind).token
    seen: list[tuple[bool, bool]] = []

    def receiver(_sender: Any, **_payload: Any) -> None:
        table = site.db.metadata.tables["user"]
        with site.db.engine.connect() as connection:
            row = connection.execute(table.select()).mappings().one()
        tokens = [found for found in site.rows("courier_token") if found["purpose"] == kind]
        consumed = all(found["consumed_at"] for found in tokens)
        seen.append((row["email_verified_at"] is not None, consumed))

    with receiving(SIGNALS[kind], receiver):
        Visitor(site).redeem(kind, token)
    assert [(True, True)] == seen
    assert (kind == "recovery") == site.get_user(user).check_password(PASSWORD)


@each_flow
def test_refused_flow(site: Site, kind: str) -> None:
    """A token that was used, or is none, gives no signal."""
    site.add_user()
    token = mailed(site, kind).token
    Visitor(site).redeem(kind, token)
    seen: list[Any] = []
    with receiving(SIGNALS[kind], lambda sender, **_payload: seen.append(sender)):
        answers = [Visitor(site).redeem(kind, text) for text in (token, "junk")]
    assert ([USED[kind], 410], []) == (answers, seen)


@each_flow
def test_receiver_that_raises(site: Site, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """A receiver that raises is logged; the answer, the flow and other receivers do not notice."""
    user = site.add_user()
    token = mailed(site, kind).token
    seen: list[Any] = []

    def broken(_sender: Any, **_payload: Any) -> None:
        raise RuntimeError("the receiver's own fault")

    def sound(sender: Any, **_payload: Any) -> None:
        seen.append(sender)

    with receiving(SIGNALS[kind], broken), receiving(SIGNALS[kind], sound):
        assert 200 == Visitor(site).redeem(kind, token)
    account = site.get_user(user)
    assert [site.app] == seen
    assert account.check_password(PASSWORD) or account.email_verified_at is not None
    logged = [record for record in caplog.records if record.name == "flask_courier.web"]
    assert [logging.ERROR] == [record.levelno for record in logged]


def test_log_of_a_receiver_that_raises(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """What is logged of a receiver that raises holds no token and no password."""
    site.add_user()
    token = mailed(site, "recovery").token

    def broken(_sender: Any, **_payload: Any) -> None:
        raise RuntimeError("the receiver's own fault")

    with receiving(recovery_completed, broken), caplog.at_level(logging.DEBUG):
        Visitor(site).redeem("recovery", token)
    kept = f"{caplog.text} {[record.__dict__ for record in caplog.records]!r}"
    assert (True, False, False) == (
        "the receiver's own fault" in kept,
        token in kept,
        PASSWORD in kept,
    )
