"""The forms of the club."""

from __future__ import annotations

from typing import Any

from flask_wtf import FlaskForm
from wtforms import EmailField, PasswordField, StringField
from wtforms.validators import DataRequired, Email, Length, ValidationError

from example_app.passwords import is_too_short, least_length


def tidy(text: str | None) -> str | None:
    """Typed text without blanks around it, and without NUL, which not every database takes."""
    return None if text is None else text.replace("\0", "").strip()


def lower(text: str | None) -> str | None:
    """An address the way the table keeps it."""
    return None if text is None else text.lower()


class SignUpForm(FlaskForm):
    """Become a member."""

    name = StringField(
        "Your name", [DataRequired("Tell us what to call you."), Length(max=80)], filters=[tidy]
    )
    email = EmailField(
        "E-mail address",
        [
            DataRequired("Type your e-mail address."),
            Email("That is not an e-mail address; it looks like name@example.com."),
            Length(max=254),
        ],
        filters=[tidy, lower],
    )
    password = PasswordField(
        "Password",
        [
            DataRequired("Choose a password."),
            Length(max=1024, message="Use at most 1024 characters."),
        ],
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.password.description = (
            f"At least {least_length()} characters. A few unrelated words are easy to remember."
        )

    def validate_password(self, field: PasswordField) -> None:
        """Refuse what flask_courier would refuse after a recovery."""
        if is_too_short(field.data or ""):
            raise ValidationError(f"Use at least {least_length()} characters.")


class SignInForm(FlaskForm):
    """Come back."""

    email = EmailField(
        "E-mail address", [DataRequired("Type your e-mail address.")], filters=[tidy, lower]
    )
    password = PasswordField("Password", [DataRequired("Type your password."), Length(max=1024)])


class BookForm(FlaskForm):
    """Put a book on the shelf."""

    title = StringField(
        "Title", [DataRequired("What is it called?"), Length(max=120)], filters=[tidy]
    )
    author = StringField("Author", [DataRequired("Who wrote it?"), Length(max=120)], filters=[tidy])
