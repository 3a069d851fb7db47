"""The account forms: fields, what is wrong with them in words, and a token instead of a session."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, TypeVar, cast

from flask import request
from flask_wtf import FlaskForm
from werkzeug.datastructures import ImmutableMultiDict
from wtforms import Field, HiddenField, PasswordField, StringField
from wtforms.csrf.core import CSRF, CSRFTokenField
from wtforms.form import BaseForm
from wtforms.validators import InputRequired, ValidationError

from flask_courier.core.accounts import ADDRESS_LIMIT, normalise_address
from flask_courier.core.errors import AddressError
from flask_courier.state import current_state
from flask_courier.web.guard import Refused

#: Seconds a form may stand open.
FORM_LIFETIME = 3600
#: Longer passwords are refused: hashing is work that anybody could ask for.
PASSWORD_LIMIT = 1024
_CODE_LIMIT = 2048

FormT = TypeVar("FormT", bound="CourierForm")


class FormToken(CSRF):
    """A form token that is signed and not stored: good for one form, for an hour."""

    def setup_form(self, form: Any) -> list[tuple[str, Any]]:
        """Remember what the form's token is bound to."""
        self._binding: str = form.meta.csrf_context
        return super().setup_form(form)

    def generate_csrf_token(self, csrf_token_field: CSRFTokenField) -> str:  # noqa: ARG002
        """A fresh token for this form."""
        return current_state().keys.sign_form(self._binding)

    def validate_csrf_token(self, form: BaseForm, field: Field) -> None:  # noqa: ARG002
        """Refuse a token that is missing, too old, or of another form.

        :raises ValidationError: with what to do about it.
        """
        token = field.data or ""
        if not current_state().keys.check_form(token, self._binding, max_age=FORM_LIFETIME):
            raise ValidationError(
                "This page stood open too long. Look at what you typed, and send it once more."
            )


class CourierForm(FlaskForm):
    """Base of the account forms; ``csrf_context`` is what its token is bound to."""

    class Meta(FlaskForm.Meta):
        """The form token in place of Flask-WTF's, which needs a session."""

        # Flask-WTF computes these from its own configuration; ours are fixed.
        csrf = True  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
        csrf_class = FormToken
        csrf_field_name = "form_token"  # pyright: ignore[reportAssignmentType, reportIncompatibleMethodOverride]
        csrf_context = ""
        # Our messages are English sentences of our own; nothing is to be translated behind them.
        locales = False


class RequestForm(CourierForm):
    """Ask for a mail."""

    email = StringField(validators=[InputRequired("Type your e-mail address.")])

    def validate_email(self, field: Field) -> None:
        """Take the address in its normal form.

        :raises ValidationError: if it is none.
        """
        field.data = _address(field)


class CodeForm(RequestForm):
    """The code, or the link, out of the mail."""

    code = StringField(validators=[InputRequired("Type the code from the mail.")])

    def validate_code(self, field: Field) -> None:
        """Bound the length; whether it is right is not the form's to say.

        :raises ValidationError: if it is longer than any link.
        """
        if len(field.data) > _CODE_LIMIT or not field.data.isprintable():
            raise ValidationError("That is neither a code nor a link from our mail.")


class ConfirmForm(CourierForm):
    """One button; ``token`` is empty where a cookie carries it."""

    token = HiddenField()


class PasswordForm(ConfirmForm):
    """A new password, twice."""

    password = PasswordField(validators=[InputRequired("Choose a new password.")])
    confirm = PasswordField(validators=[InputRequired("Type the new password once more.")])

    def validate_password(self, field: Field) -> None:
        """Apply the length and the application's own policy.

        :raises ValidationError: with what is wrong.
        """
        state = current_state()
        shortest = state.config.password_min_length
        if len(field.data) < shortest:
            raise ValidationError(f"Use at least {shortest} characters.")
        if len(field.data) > PASSWORD_LIMIT:
            raise ValidationError(f"Use at most {PASSWORD_LIMIT} characters.")
        if "\0" in field.data or not _is_text(field.data):
            raise ValidationError("This password holds what is no character; choose another.")
        policy = state.hooks().password_policy
        objection = None if policy is None else policy(field.data)
        if objection:
            raise ValidationError(objection)

    def validate_confirm(self, field: Field) -> None:
        """Refuse a slip of the finger; a client that types nothing may leave it out.

        :raises ValidationError: if the two differ.
        """
        if field.data != self.password.data:
            raise ValidationError("The two passwords are not the same.")


def bind(form: type[FormT], context: str, **data: Any) -> FormT:
    """``form`` over what the client sent: fields, or a JSON object.

    JSON goes by its content type, never by Accept, and needs no form token: a foreign page cannot
    send it. Values that are not text are left out, which the fields then report as missing.

    :param context: what the form's token is bound to.
    :raises Refused: if JSON was announced and no object came.
    """
    meta: dict[str, Any] = {"csrf_context": context}
    if not request.is_json:
        return form(meta=meta, data=data)
    body = json_object()
    fields = {name: value for name, value in body.items() if isinstance(value, str)}
    if "password" in fields:
        fields.setdefault("confirm", fields["password"])
    return form(ImmutableMultiDict(fields), meta={**meta, "csrf": False})


def json_object() -> dict[str, Any]:
    """The JSON object that was sent.

    :raises Refused: if JSON was announced and no object came.
    """
    try:
        body: Any = request.get_json(silent=True)
    except RecursionError:
        # Thousands of brackets, one in the other: nobody's form.
        body = None
    if not isinstance(body, dict):
        raise Refused(
            HTTPStatus.BAD_REQUEST,
            "body",
            "This request could not be read",
            "Send a JSON object with the fields of the form.",
        )
    return cast("dict[str, Any]", body)


def invalid(form: CourierForm) -> Refused:
    """What to tell a JSON client about a form that does not hold."""
    errors = {
        name or "form": [str(error) for error in found] for name, found in form.errors.items()
    }
    reason = "form_expired" if "form_token" in errors else "invalid_input"
    return Refused(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        reason,
        "Something in the input is not right",
        " ".join(error for found in errors.values() for error in found),
        errors=errors,
    )


def _is_text(value: str) -> bool:
    """Whether ``value`` can be encoded; a lone surrogate, which JSON can hold, cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _address(field: Field) -> str:
    text = (field.data or "").strip()
    if len(text) > ADDRESS_LIMIT:
        raise ValidationError(f"An e-mail address has at most {ADDRESS_LIMIT} characters.")
    try:
        return normalise_address(text)
    except AddressError:
        raise ValidationError(
            "That is not an e-mail address; it looks like name@example.com."
        ) from None
