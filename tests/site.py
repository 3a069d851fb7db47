"""A small application with users, as a user of the extension would write it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from flask.testing import FlaskClient
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from werkzeug.security import check_password_hash, generate_password_hash

from flask_courier import AccountStore, Courier, SQLAlchemyAccounts
from flask_courier.testing import form_data

SECRET = "a-secret-key-that-is-long-enough"
SENDER = "Acme <no-reply@acme.example>"
PUBLIC_URL = "https://acme.example"
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Site:
    """An application, its database, its accounts and its courier."""

    app: Flask
    db: SQLAlchemy
    user: type[Any]
    courier: Courier

    @property
    def url(self) -> str:
        """Where its database is."""
        url: str = self.app.config["SQLALCHEMY_DATABASE_URI"]
        return url

    @property
    def client(self) -> FlaskClient:
        """A browser of its own: no cookies yet."""
        return self.app.test_client()

    def add_user(self, email: str = "ada@example.com", **values: Any) -> int:
        """Add an account; answer its id."""
        with self.app.app_context():
            user = self.user(email=email, **values)
            user.set_password("the old password")
            self.db.session.add(user)
            self.db.session.commit()
            identity: int = user.id
            return identity

    def get_user(self, identity: int) -> Any:
        """The account as the database has it now, detached."""
        with self.app.app_context():
            user = self.db.session.get(self.user, identity)
            assert user is not None
            self.db.session.expunge(user)
            return user

    def deliver(self) -> dict[str, int]:
        """Deliver what is due; answer the counts by status."""
        return {status.value: n for status, n in self.courier.deliver_pending(self.app).items()}

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of one of our tables."""
        with self.app.app_context():
            selected = self.db.session.execute(self.db.metadata.tables[table].select())
            return [dict(row._mapping) for row in selected]

    def post(self, client: FlaskClient, path: str, **fields: str) -> Any:
        """Open the page at ``path``, fill its form in, and send it."""
        return client.post(path, data=form_data(client.get(path).text, **fields))


class RequiredMethods:
    """An account store with what ``AccountStore`` asks for, and no more."""

    def __init__(self, model: type[Any]) -> None:
        accounts = SQLAlchemyAccounts(model)
        self.find, self.get = accounts.find, accounts.get
        self.reference, self.state = accounts.reference, accounts.state
        self.set_password = accounts.set_password
        self.mark_verified = accounts.mark_verified
        self.revoke_sessions = accounts.revoke_sessions


def make_site(
    url: str,
    *,
    app: Flask | None = None,
    create: bool = True,
    accounts: Callable[[type[Any]], AccountStore[Session]] = SQLAlchemyAccounts,
    root_path: str | None = None,
    **config: Any,
) -> Site:
    """An application on the database at ``url``; its worker is manual unless ``config`` differs.

    :param app: an application that was made in another way.
    :param root_path: the folder of its templates and translations, if not this one.
    """
    app = app or Flask("tests.site", root_path=root_path)
    app.config.update(
        TESTING=True,
        SECRET_KEY=SECRET,
        SQLALCHEMY_DATABASE_URI=url,
        COURIER_DEFAULT_SENDER=SENDER,
        COURIER_PUBLIC_URL=PUBLIC_URL,
    )
    app.config.update(config)

    class Base(DeclarativeBase):
        pass

    db = SQLAlchemy(model_class=Base)

    class User(db.Model):  # type: ignore[name-defined]  # Flask-SQLAlchemy builds it
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(unique=True, type_=db.String(320))
        name: Mapped[str | None] = mapped_column(type_=db.String(200))
        password_hash: Mapped[str | None] = mapped_column(type_=db.String(255))
        email_verified_at: Mapped[datetime | None]
        is_active: Mapped[bool] = mapped_column(default=True)
        security_stamp: Mapped[str | None] = mapped_column(type_=db.String(64))
        locale: Mapped[str | None] = mapped_column(type_=db.String(64))

        def set_password(self, password: str) -> None:
            # One round of PBKDF2: tests are not attacked.
            self.password_hash = generate_password_hash(password, method="pbkdf2:sha256:1")

        def check_password(self, password: str) -> bool:
            return self.password_hash is not None and check_password_hash(
                self.password_hash, password
            )

    db.init_app(app)
    courier = Courier(app, db, accounts=accounts(User))
    if create:
        with app.app_context():
            db.create_all()
    return Site(app, db, User, courier)


def path_of(link: str) -> str:
    """The path that a link in a mail leads to."""
    return urlsplit(link).path
