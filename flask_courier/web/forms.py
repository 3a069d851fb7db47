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
from wtforms.validators import InputRequired, StopValidation, ValidationError

from flask_courier.core.accounts import ADDRESS_LIMIT, normalise_address
from flask_courier.core.errors import AddressError
from flask_courier.state import current_state
from flask_courier.web.guard import Refused
from flask_courier.web.language import gettext as _
from flask_courier.web.language import ngettext
from flask_courier.web.strength import is_weak

#: Seconds a form may stand open.
FORM_LIFETIME = 3600
#: Longer passwords are refused: hashing is work that anybody could ask for.
PASSWORD_LIMIT = 1024
_CODE_LIMIT = 2048

FormT = TypeVar("FormT", bound="CourierForm")


class Required(InputRequired):
    """Refuses an empty field, in the visitor's language."""

    def __call__(self, form: BaseForm, field: Field) -> None:
        """Go on if something was sent.

        :raises StopValidation: if nothing was.
        """
        try:
            super().__call__(form, field)
        except StopValidation:
            raise StopValidation(_(str(self.message))) from None


class FormTokenField(CSRFTokenField):
    """Signs its token when it is shown, which after most posts it never is."""

    def _value(self) -> str:
        """A fresh token for this form."""
        keys = current_state().keys
        return keys.sign_form(cast("FormToken", self.csrf_impl).binding)


class FormToken(CSRF):
    """A form token that is signed and not stored: good for one form, for an hour."""

    field_class = FormTokenField

    def setup_form(self, form: Any) -> list[tuple[str, Any]]:
        """Remember what the form's token is bound to."""
        self.binding: str = form.meta.csrf_context
        return super().setup_form(form)

    def generate_csrf_token(self, csrf_token_field: CSRFTokenField) -> str:  # noqa: ARG002
        """None yet: the field signs one when it is shown."""
        return ""

    def validate_csrf_token(self, form: BaseForm, field: Field) -> None:  # noqa: ARG002
        """Refuse a token that is missing, too old, or of another form.

        :raises ValidationError: with what to do about it.
        """
        if not _is_fresh(field.data or "", self.binding):
            raise ValidationError(
                _("This page stood open too long. Look at what you typed, and send it once more.")
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

        def get_translations(self, form: BaseForm) -> None:
            """None: messages come out of our own catalogues, whatever else is installed."""


class RequestForm(CourierForm):
    """Ask for a mail."""

    email = StringField(validators=[Required("Type your e-mail address.")])

    def validate_email(self, field: Field) -> None:
        """Take the address in its normal form.

        :raises ValidationError: if it is none.
        """
        field.data = _address(field.data or "")


class CodeForm(RequestForm):
    """The code, or the link, out of the mail."""

    code = StringField(validators=[Required("Type the code from the mail.")])

    def validate_code(self, field: Field) -> None:
        """Bound the length; whether it is right is not the form's to say.

        :raises ValidationError: if it is longer than any link.
        """
        _refuse_odd(field)


class LinkForm(CourierForm):
    """The link out of the mail, for a browser that keeps no cookies."""

    link = StringField(validators=[Required("Paste the link from the mail.")])

    def validate_link(self, field: Field) -> None:
        """As for a code.

        :raises ValidationError: if it is longer than any link.
        """
        _refuse_odd(field)


class ConfirmForm(CourierForm):
    """One button; ``token`` is empty where a cookie carries it."""

    token = HiddenField()


class PasswordForm(ConfirmForm):
    """A new password, twice."""

    password = PasswordField(validators=[Required("Choose a new password.")])
    confirm = PasswordField(validators=[Required("Type the new password once more.")])
    #: What a guesser would try first.
    personal: tuple[str, ...] = ()

    def validate_password(self, field: Field) -> None:
        """Apply the length and the application's own policy.

        :raises ValidationError: with what is wrong.
        """
        state = current_state()
        shortest = state.config.password_min_length
        if len(field.data) < shortest:
            raise ValidationError(
                ngettext(
                    "Use at least %(count)s character.",
                    "Use at least %(count)s characters.",
                    shortest,
                )
            )
        if len(field.data) > PASSWORD_LIMIT:
            raise ValidationError(_("Use at most %(limit)s characters.", limit=PASSWORD_LIMIT))
        if "\0" in field.data or not _is_text(field.data):
            raise ValidationError(_("This password holds what is no character; choose another."))
        least = state.config.password_strength
        if least is not None and is_weak(field.data, least, self.personal):
            raise ValidationError(_("This password is easy to guess. Use a few unrelated words."))
        policy = state.hooks().password_policy
        objection = None if policy is None else policy(field.data)
        if objection:
            raise ValidationError(objection)

    def validate_confirm(self, field: Field) -> None:
        """Refuse a slip of the finger; a client that types nothing may leave it out.

        :raises ValidationError: if the two differ.
        """
        if field.data != self.password.data:
            raise ValidationError(_("The two passwords are not the same."))


def sent_address(context: str) -> str | None:
    """The address in a :class:`RequestForm` that holds, or None: the form itself says why not.

    Nearly all hold and are never shown again, and what writes one row has no time to build them.

    :param context: what the form's token is bound to.
    :raises Refused: if JSON was announced and no object came.
    """
    if request.is_json:
        text = json_object().get("email")
    elif _is_fresh(request.form.get("form_token", ""), context):
        text = request.form.get("email")
    else:
        return None
    try:
        return _address(text) if isinstance(text, str) else None
    except ValidationError:
        return None


def bind(form: type[FormT], context: str, **data: Any) -> FormT:
    """``form`` over what the client sent: fields, or a JSON object.

    JSON goes by its content type, never by Accept, and needs no form token: a foreign page cannot
    send it. Values that are not text are left out, which the fields then report as missing.

    :param context: what the form's token is bound to.
    :raises Refused: if JSON was announced and no object came.
    """
    meta: dict[str, Any] = {"csrf_context": context}
    if not request.is_json:
        return form(request.form, meta=meta, data=data)
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
            _("This request could not be read"),
            _("Send a JSON object with the fields of the form."),
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
        _("Something in the input is not right"),
        " ".join(error for found in errors.values() for error in found),
        errors=errors,
    )


def _is_text(value: str) -> bool:
    """Whether ``value`` can be encoded; a lone surrogate, which JSON can hold, cannot."""
    return not any("\ud800" <= character <= "\udfff" for character in value)


def _refuse_odd(field: Field) -> None:
    if len(field.data) > _CODE_LIMIT or not field.data.isprintable():
        raise ValidationError(_("That is neither a code nor a link from our mail."))


def _is_fresh(token: str, binding: str) -> bool:
    return current_state().keys.check_form(token, binding, max_age=FORM_LIFETIME)


def _address(typed: str) -> str:
    text = typed.strip()
    if len(text) > ADDRESS_LIMIT:
        raise ValidationError(
            _("An e-mail address has at most %(limit)s characters.", limit=ADDRESS_LIMIT)
        )
    try:
        return normalise_address(text)
    except AddressError:
        raise ValidationError(
            _("That is not an e-mail address; it looks like name@example.com.")
        ) from None
