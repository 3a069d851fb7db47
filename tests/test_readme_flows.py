"""What the README shows of login sessions, hooks and user models is run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import flask_login
import pytest
import sqlalchemy as sa
from flask import Flask
from flask.testing import FlaskClient
from flask_security import RoleMixin, Security, SQLAlchemyUserDatastore, UserMixin, verify_password
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.security import check_password_hash

from flask_courier import Courier
from flask_courier.testing import form_data
from tests import readme
from tests.readme import Reader
from tests.site import PASSWORD, path_of

ADA = "ada@example.com"


@pytest.fixture
def typed(reader: Reader) -> Reader:
    """A reader who has typed the flows in, and has a page to pass a second factor on."""
    for block in (readme.LOGIN, readme.ADDRESS, readme.SECOND_FACTOR, readme.SIGN_IN):
        reader.run(block)
    reader.run(readme.REMIND)  # imports timedelta, as a reader would have
    for block in (readme.HANDED_OUT, readme.SIGNALS):
        reader.run(block)
    return reader


def start(typed: Reader) -> Flask:
    """The README's application with its user class signed in by Flask-Login."""
    names = typed.names
    names["User"].__bases__ = (names["Login"], *names["User"].__bases__)
    app = typed.start()
    names["login_manager"].init_app(app)

    @app.get("/sign-in/<int:user_id>")
    def sign_in(user_id: int) -> str:
        flask_login.login_user(names["db"].session.get(names["User"], user_id))
        return ""

    @app.get("/second-factor/<int:user_id>")
    def second_factor(user_id: int) -> str:
        names["session"]["second_factor"] = user_id
        return ""

    with app.app_context():
        names["db"].session.add(names["User"](email=ADA))
        names["db"].session.commit()
    return app


@contextmanager
def mails(courier: Courier, app: Flask) -> Iterator[list[Any]]:
    """What is delivered of what the block asks for."""
    with courier.record_messages(app) as outbox:
        yield outbox
        courier.deliver_pending(app)


def recover(courier: Courier, app: Flask, client: FlaskClient) -> None:
    """Choose a new password by mail."""
    with mails(courier, app) as outbox:
        client.post("/account/recovery", json={"email": ADA})
    (mail,) = outbox
    body = {"token": mail.token, "password": PASSWORD}
    assert 200 == client.post("/account/recovery/password", json=body).status_code


def test_login_ends_with_the_password(typed: Reader) -> None:
    """Flask-Login's session is over after a recovery."""
    app = start(typed)
    client = app.test_client()
    client.get("/sign-in/1")
    assert 200 == client.get("/account/email").status_code
    other = app.test_client()
    other.get("/second-factor/1")
    recover(typed.names["courier"], app, other)
    assert 401 == client.get("/account/email").status_code


def test_second_factor_stands_before_the_form(typed: Reader) -> None:
    """The README's function sends whoever has not passed it to its page, and lets others go on."""
    app = start(typed)
    client = app.test_client()
    with mails(typed.names["courier"], app) as outbox:
        client.post("/account/recovery", json={"email": ADA})
    link = path_of(outbox[0].link)
    held = client.get(client.get(link).location)
    assert (303, "/second-factor") == (held.status_code, held.location)
    client.get("/second-factor/1")
    assert 200 == client.get(client.get(link).location).status_code


def test_fresh_login_asks_for_an_address(typed: Reader) -> None:
    """Whoever has signed in just now may ask for a new address; others sign in first."""
    app = start(typed)
    client = app.test_client()
    client.get("/sign-in/1")
    fresh = client.get("/account/email")
    assert (
        303
        == client.post(
            "/account/email", data=form_data(fresh.text, email="new@example.com")
        ).status_code
    )
    with client.session_transaction() as session:
        session["_fresh"] = False
    stale = client.get("/account/email")
    assert (303, "/sign-in") == (stale.status_code, stale.location)


def test_sign_in_by_mail_begins_a_session(typed: Reader) -> None:
    """The README's function signs in whoever pressed the button."""
    app = start(typed)
    client = app.test_client()
    client.get("/second-factor/1")
    with mails(typed.names["courier"], app) as outbox, app.app_context():
        typed.names["courier"].request_sign_in(ADA)
        typed.names["db"].session.commit()
    body = {"token": outbox[0].token}
    assert 200 == client.post("/account/sign-in/confirm", json=body).status_code
    assert 200 == client.get("/account/email").status_code


def test_new_member_is_invited(typed: Reader) -> None:
    """The member of the example gets one mail, to choose a first password."""
    app = start(typed)
    with mails(typed.names["courier"], app) as outbox, app.app_context():
        typed.names["add_member"]("bob@example.com")
    assert [("invitation", "bob@example.com")] == [(mail.kind, mail.recipient) for mail in outbox]


def test_link_is_read_out(typed: Reader) -> None:
    """The link for support opens the password form, and no mail carries it."""
    app = start(typed)
    client = app.test_client()
    client.get("/second-factor/1")
    with mails(typed.names["courier"], app) as outbox, app.test_request_context():
        user = typed.names["db"].session.get(typed.names["User"], 1)
        link = typed.names["read_out_to"](user, "Grace")
    assert (303, []) == (client.get(path_of(link)).status_code, outbox)


def test_receiver_hears_of_a_dead_link(typed: Reader, caplog: pytest.LogCaptureFixture) -> None:
    """The README's receiver is told why a link was refused."""
    app = start(typed)
    app.logger.setLevel("INFO")
    app.test_client().get("/account/recovery/made.up")
    assert "a recovery link was refused: forged" in caplog.messages


def serve(reader: Reader, accounts: Any, **config: Any) -> tuple[Flask, Courier]:
    """An application with these accounts on the README's database object."""
    app = Flask("readme")
    app.config.update(
        TESTING=True,
        SECRET_KEY="long enough for a test",
        SQLALCHEMY_DATABASE_URI="sqlite://",
        **config,
    )
    db = reader.names["db"]
    db.init_app(app)
    courier = Courier(app, db, accounts=accounts)
    with app.app_context():
        db.create_all()
    return app, courier


def test_flask_security(reader: Reader) -> None:
    """A user of Flask-Security recovers: verified, with a hash of Flask-Security's, signed out."""
    names = reader.run(readme.FLASK_SECURITY)
    db = names["db"]

    class Role(db.Model, RoleMixin):  # type: ignore[name-defined]
        id: Mapped[int] = mapped_column(primary_key=True)
        name: Mapped[str] = mapped_column(db.String(80))
        person_id: Mapped[int] = mapped_column(db.ForeignKey("person.id"))

    class Person(db.Model, UserMixin):  # type: ignore[name-defined]
        id: Mapped[int] = mapped_column(primary_key=True)
        email: Mapped[str] = mapped_column(db.String(254), unique=True)
        password: Mapped[str | None] = mapped_column(db.String(255))
        active: Mapped[bool] = mapped_column(default=True)
        fs_uniquifier: Mapped[str] = mapped_column(db.String(64), unique=True)
        confirmed_at: Mapped[Any | None] = mapped_column(db.DateTime())
        roles = db.relationship(Role)

    config = {
        "SECURITY_PASSWORD_SALT": "146585145368132386173505678016728509634",
        "SECURITY_PASSWORD_HASH": "pbkdf2_sha512",
        "SECURITY_PASSWORD_SCHEMES": ["pbkdf2_sha512"],
    }
    app, courier = serve(reader, names["flask_security_accounts"](Person), **config)
    datastore = SQLAlchemyUserDatastore(db, Person, Role)
    Security(app, datastore)
    with app.app_context():
        person = datastore.create_user(email=ADA, password="!")
        db.session.commit()
        before = person.fs_uniquifier
    recover(courier, app, app.test_client())
    with app.app_context():
        person = db.session.get(Person, 1)
        assert verify_password(PASSWORD, person.password)
        assert person.confirmed_at is not None
        assert before != person.fs_uniquifier


def test_legacy_table(reader: Reader) -> None:
    """A customer of the old table recovers, and its flag says that the address is verified."""
    reader.run(readme.FLASK_SECURITY)  # imports SQLAlchemyAccounts, as a reader would have
    names = reader.run(readme.LEGACY)
    app, courier = serve(reader, names["customers"])
    with app.app_context():
        names["db"].session.add(names["Customer"](number="K-0042", mail=ADA, secret="old"))
        names["db"].session.commit()
    recover(courier, app, app.test_client())
    with app.app_context():
        customer = names["db"].session.get(names["Customer"], "K-0042")
        assert (True, "Y") == (check_password_hash(customer.secret, PASSWORD), customer.mail_ok)


def test_hand_written_store(reader: Reader) -> None:
    """A member behind the hand-written store recovers, and its sessions end."""
    names = reader.run(readme.HAND_WRITTEN)
    app, courier = serve(reader, names["Members"]())
    session = names["db"].session
    with app.app_context():
        columns = "login TEXT PRIMARY KEY, email TEXT, password TEXT, verified BOOLEAN, stamp TEXT"
        session.execute(sa.text(f"CREATE TABLE members ({columns})"))
        row = {"email": ADA, "stamp": "first"}
        session.execute(
            sa.text("INSERT INTO members VALUES ('ada', :email, 'old', FALSE, :stamp)"), row
        )
        session.commit()
    recover(courier, app, app.test_client())
    with app.app_context():
        member = session.execute(sa.text("SELECT * FROM members")).mappings().one()
        assert (True, True) == (
            check_password_hash(member["password"], PASSWORD),
            bool(member["verified"]),
        )
        assert "first" != member["stamp"]
