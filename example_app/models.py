"""The tables of the club. Those of flask_courier join them on the same metadata."""

from __future__ import annotations

import secrets
from datetime import date, datetime

from flask_login import UserMixin
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import DateTime, ForeignKey, String, select
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from werkzeug.security import check_password_hash, generate_password_hash

from flask_courier import Courier


class Base(DeclarativeBase):
    """The base of every model."""


db = SQLAlchemy(model_class=Base)

#: Checked where there is no member, so that the time of a refusal does not tell who is one.
NOBODYS_HASH = generate_password_hash(secrets.token_urlsafe())


class User(UserMixin, db.Model):  # type: ignore[name-defined]  # made by SQLAlchemy()
    """A member of the club."""

    # A deleted member's id is nobody else's later: links that undo something name it.
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    #: In lower case.
    email: Mapped[str] = mapped_column(String(254), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    #: Set by flask_courier, when the link or the code in its mail was used.
    email_verified_at: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    is_active: Mapped[bool] = mapped_column(default=True)
    is_admin: Mapped[bool] = mapped_column(default=False)
    #: Every login session rests on it; flask_courier changes it to end them all.
    security_stamp: Mapped[str] = mapped_column(String(64), default=secrets.token_hex)
    #: The last day somebody tried to sign up with this address again.
    reminded_on: Mapped[date | None]

    books: Mapped[list[Book]] = relationship(back_populates="reader", order_by="Book.id.desc()")

    def set_password(self, password: str) -> None:
        """Store the hash of ``password``; flask_courier calls this too."""
        self.password_hash = generate_password_hash(password)

    def get_id(self) -> str:
        """What Flask-Login keeps in the session."""
        return courier.session_id(self)

    @property
    def is_verified(self) -> bool:
        """Whether the member has shown to read mail at ``email``."""
        return self.email_verified_at is not None

    @classmethod
    def find(cls, email: str) -> User | None:
        """The member with this address."""
        return db.session.scalar(select(cls).where(cls.email == email))

    @classmethod
    def authenticate(cls, email: str, password: str) -> User | None:
        """The member with this address and password."""
        user = cls.find(email)
        right = check_password_hash(user.password_hash if user else NOBODYS_HASH, password)
        return user if right else None


class Book(db.Model):  # type: ignore[name-defined]  # made by SQLAlchemy()
    """A book that a member has put on the shelf."""

    id: Mapped[int] = mapped_column(primary_key=True)
    title: Mapped[str] = mapped_column(String(120))
    author: Mapped[str] = mapped_column(String(120))
    reader_id: Mapped[int] = mapped_column(ForeignKey(User.id))

    reader: Mapped[User] = relationship(back_populates="books")


courier = Courier(user_model=User)
