"""The accounts of the four-line quickstart, which has no application to keep any."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from flask_courier.core.clock import utc_now
from flask_courier.core.ids import new_id
from flask_courier.storage.accounts import SQLAlchemyAccounts
from flask_courier.storage.dialect import UUID, UtcDateTime


class QuickstartBase(DeclarativeBase):
    """The base of the quickstart's own table, which no real application gets."""


class QuickstartAccount(QuickstartBase):
    """An account of the quickstart: whoever asks has one."""

    __tablename__ = "courier_quickstart_account"
    __table_args__ = (sa.PrimaryKeyConstraint("id", name="pk_courier_quickstart_account"),)

    id: Mapped[uuid.UUID] = mapped_column(UUID)
    email: Mapped[str] = mapped_column(sa.String(320))
    password_hash: Mapped[str | None] = mapped_column(sa.String(255))
    email_verified_at: Mapped[datetime | None] = mapped_column(UtcDateTime())


class QuickstartAccounts(SQLAlchemyAccounts):
    """The store of the four-line quickstart: every address that asks becomes an account."""

    def __init__(self) -> None:
        super().__init__(QuickstartAccount)

    def find(self, session: Session, address: str) -> Any:
        """The account with this address, made if it is new."""
        account = super().find(session, address)
        if account is None:
            account = QuickstartAccount(id=new_id(utc_now()), email=address)
            session.add(account)
            session.flush()
        return account
