"""The pages of the club. Recovery, verification and the delivery log are flask_courier's."""

from __future__ import annotations

from datetime import datetime, timezone

from flask import Blueprint, abort, flash, redirect, render_template, url_for
from flask.typing import ResponseReturnValue
from flask_login import current_user, login_required, login_user, logout_user
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from example_app.forms import BookForm, SignInForm, SignUpForm
from example_app.models import Book, User, courier, db

club = Blueprint("club", __name__)


@club.get("/")
def home() -> ResponseReturnValue:
    """The shelf, newest book first."""
    return show_shelf(BookForm() if may_add() else None)


@club.post("/books")
@login_required
def add_book() -> ResponseReturnValue:
    """Put a book on the shelf, which takes a verified address."""
    if not may_add():
        abort(403, "Verify your e-mail address first; your account page sends you a mail for it.")
    form = BookForm()
    if not form.validate_on_submit():
        return show_shelf(form), 422
    current_user.books.append(Book(title=form.title.data, author=form.author.data))
    db.session.commit()
    return redirect(url_for("club.home"), code=303)


def may_add() -> bool:
    """Whether whoever looks at the shelf may put a book on it."""
    return bool(current_user.is_authenticated and current_user.is_verified)


def show_shelf(form: BookForm | None) -> str:
    """The home page."""
    books = db.session.scalars(select(Book).order_by(Book.id.desc()).limit(60)).all()
    return render_template("home.html", books=books, form=form)


@club.route("/sign-up", methods=["GET", "POST"])
def sign_up() -> ResponseReturnValue:
    """Become a member. The answer does not tell who is one already: a mail does."""
    form = SignUpForm()
    if not form.validate_on_submit():
        return render_template("sign_up.html", form=form), 422 if form.errors else 200
    given = form.data
    user = User(name=given["name"], email=given["email"])
    user.set_password(given["password"])
    db.session.add(user)
    try:
        # The user needs an id before a mail can be meant for it.
        db.session.flush()
    except IntegrityError:
        db.session.rollback()
        remind(given["email"])
        # A member gets no such mail twice; the call leaves the same cookie and rows as for anybody.
        courier.request_verification(given["email"])
    else:
        courier.request_verification(user)
    # The user and the mail are one transaction: both are there, or neither is.
    db.session.commit()
    return redirect(url_for("courier.verification_code"), code=303)


def remind(email: str) -> None:
    """Tell a member that there is an account already; once a day, whoever fills in the form."""
    user, today = User.find(email), datetime.now(timezone.utc).date()
    if user is not None and user.reminded_on != today:
        user.reminded_on = today
        courier.send("already_registered", to=user.email, context={"name": user.name})


@club.route("/sign-in", methods=["GET", "POST"])
def sign_in() -> ResponseReturnValue:
    """Begin a login session."""
    form = SignInForm()
    if form.validate_on_submit():
        user = User.authenticate(form.data["email"], form.data["password"])
        if user is not None and login_user(user):
            return redirect(url_for("club.account"), code=303)
        form.password.errors = ["This address and password do not belong together."]
    return render_template("sign_in.html", form=form), 422 if form.errors else 200


@club.post("/sign-out")
def sign_out() -> ResponseReturnValue:
    """End the login session."""
    logout_user()
    return redirect(url_for("club.home"), code=303)


@club.get("/account")
@login_required
def account() -> ResponseReturnValue:
    """Who the member is, and whether the address is verified."""
    return render_template("account.html")


@club.post("/account/verify")
@login_required
def verify_again() -> ResponseReturnValue:
    """Send the verification mail once more."""
    courier.request_verification(current_user)
    db.session.commit()
    flash("A mail is on its way, unless the last one is less than a minute old.")
    return redirect(url_for("club.account"), code=303)
