"""The public names as an application uses them; read by the type checkers, never run."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import Session
from typing_extensions import assert_type

from flask_courier import (
    AccountState,
    AccountStore,
    Courier,
    RecordedMessage,
    SQLAlchemyAccounts,
    Status,
)
from flask_courier.testing import (
    DROP,
    Fault,
    FaultServer,
    Outbox,
    ReceivedMessage,
    Rule,
    form_data,
)


class Directory:
    """Accounts that are no SQLAlchemy class."""

    def find(self, session: Session, address: str) -> dict[str, Any] | None:
        """By address."""
        raise LookupError

    def get(
        self, session: Session, reference: str, *, for_update: bool = False
    ) -> dict[str, Any] | None:
        """By reference."""
        raise LookupError

    def reference(self, account: dict[str, Any]) -> str:
        """What names the account."""
        return str(account["id"])

    def state(self, account: dict[str, Any]) -> AccountState:
        """What tokens depend on."""
        return AccountState(account["mail"], active=True, verified=False)

    def set_password(self, session: Session, account: dict[str, Any], password: str) -> None:
        """Store a password."""

    def mark_verified(self, session: Session, account: dict[str, Any], address: str) -> None:
        """Note a verification."""

    def revoke_sessions(self, session: Session, account: dict[str, Any]) -> None:
        """End login sessions."""


class LargeDirectory(Directory):
    """Answers for many accounts at once."""

    def references(self, session: Session, addresses: Sequence[str]) -> dict[str, str]:
        """By address."""
        raise LookupError

    def get_many(self, session: Session, references: Sequence[str]) -> dict[str, dict[str, Any]]:
        """By reference."""
        raise LookupError


def use(app: Flask, db: SQLAlchemy, user: type[Any]) -> None:
    """Every public call, with the type it answers."""
    store: AccountStore[Session] = Directory()
    Courier(app, db, accounts=store)
    Courier(accounts=LargeDirectory())
    Courier(accounts=SQLAlchemyAccounts(user, email="mail"))
    courier = Courier(user_model=user)
    courier.init_app(app, db)

    @courier.log_access
    def may_see(permission: str) -> bool:
        return permission == "list"

    @courier.password_policy
    def objection(password: str) -> str | None:
        return None if password else "Choose one."

    assert_type(may_see("list"), bool)
    assert_type(objection(""), "str | None")
    courier.request_recovery("ada@example.com")
    courier.request_verification(user())
    assert_type(courier.send("welcome", to="ada@example.com", context={"n": 1}), uuid.UUID)
    assert_type(
        courier.send(
            "reminder",
            to="ada@example.com",
            send_at=datetime(2030, 5, 1, tzinfo=timezone.utc),
            idempotency_key="reminder-7",
        ),
        uuid.UUID,
    )
    assert_type(courier.deliver_pending(app), Counter[Status])
    with courier.record_messages(app) as outbox:
        assert_type(outbox, list[RecordedMessage])
    assert_type(form_data("<form>", email="ada@example.com"), dict[str, str])


def use_fixtures(courier_outbox: Outbox, smtp_server: FaultServer) -> None:
    """What tests of an application do with the two fixtures, and with the server alone."""
    assert_type(courier_outbox.only("recovery", to="ada@example.com"), RecordedMessage)
    assert_type(courier_outbox.to("ada@example.com"), list[RecordedMessage])
    assert_type(courier_outbox.of("recovery"), list[RecordedMessage])
    assert_type(courier_outbox.delivered, list[RecordedMessage])
    assert_type(courier_outbox.deliver(), Counter[Status])
    assert_type(courier_outbox[-1], RecordedMessage)
    courier_outbox.clear()
    assert_type(smtp_server.config, dict[str, str])
    assert_type(smtp_server.on("RCPT", "550 5.1.1 no such user", to="bob@example.com"), Rule)
    smtp_server.on("DOT", [Fault(delay=2), DROP], times=2)
    assert_type(smtp_server.wait_for(1)[0], ReceivedMessage)
    with FaultServer(security="implicit", login=("mailer", "secret"), rate_limit=5) as server:
        assert_type(server.uri, str)
