"""Accounts whose class loads its relations along with it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import pytest
import sqlalchemy as sa
from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from flask_courier import Courier
from tests.databases import every_database
from tests.site import PUBLIC_URL, SECRET, SENDER, Site
from tests.visitor import ADA, Visitor, mailed

pytestmark = every_database


def make_related(url: str) -> Site:
    """A site whose accounts have a team and badges, both loaded with a join."""

    class Base(DeclarativeBase):
        pass

    app, db = Flask("tests.related"), SQLAlchemy(model_class=Base)
    app.config.update(
        TESTING=True,
        SECRET_KEY=SECRET,
        SQLALCHEMY_DATABASE_URI=url,
        COURIER_DEFAULT_SENDER=SENDER,
        COURIER_PUBLIC_URL=PUBLIC_URL,
    )

    class Team(db.Model):  # type: ignore[name-defined]  # Flask-SQLAlchemy builds it
        id: Mapped[int] = mapped_column(primary_key=True)

    class Badge(db.Model):  # type: ignore[name-defined]
        id: Mapped[int] = mapped_column(primary_key=True)
        member_id: Mapped[int] = mapped_column(sa.ForeignKey("member.id"))

    class Member(db.Model):  # type: ignore[name-defined]
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(type_=db.String(320))
        password_hash: Mapped[str | None] = mapped_column(type_=db.String(255))
        email_verified_at: Mapped[datetime | None]
        team_id: Mapped[int | None] = mapped_column(sa.ForeignKey("team.id"))
        team = relationship(Team, lazy="joined")
        badges = relationship(Badge, lazy="joined")

    db.init_app(app)
    courier = Courier(app, db, user_model=Member)
    with app.app_context():
        db.create_all()
        db.session.add(Member(email=ADA, badges=[Badge(), Badge()]))
        db.session.commit()
    return Site(app, db, Member, courier)


@pytest.fixture
def related(database_url: str) -> Iterator[Site]:
    """The site, its tables dropped at the end: other tests have none of them."""
    site = make_related(database_url)
    yield site
    with site.app.app_context():
        site.db.drop_all()
        site.db.engine.dispose()


def test_recovery_completes(related: Site) -> None:
    """A relation that is loaded with a join stands in the way of neither mail nor completion."""
    mail = mailed(related, "recovery")

    assert 200 == Visitor(related).redeem("recovery", mail.token)
