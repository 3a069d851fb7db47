"""The extensions, made once and bound to the application in ``create_app``."""

from __future__ import annotations

from flask import url_for
from flask_login import LoginManager, current_user, login_fresh, login_user
from flask_wtf import CSRFProtect

from example_app.models import User, courier

csrf = CSRFProtect()

login_manager = LoginManager()
login_manager.login_view = "club.sign_in"
login_manager.login_message = "Sign in to see this page."


@login_manager.user_loader
def load_user(session_id: str) -> User | None:
    """The member of a login session, unless a new password or security stamp has ended it."""
    user: User | None = courier.load_account(session_id)
    return user


@courier.log_access
def may_read_log(permission: str) -> bool:  # noqa: ARG001 - an admin has every permission
    """Who sees the delivery log; to everybody else it does not exist."""
    return bool(current_user.is_authenticated and current_user.is_admin)


@courier.current_account
def signed_in_member() -> User | None:
    """Whose address the page for a new one is about."""
    return current_user if current_user.is_authenticated else None


@courier.recent_authentication
def signed_in_lately(member: User) -> bool | str:  # noqa: ARG001 - a session is fresh or not
    """A login session that a cookie brought back signs in anew before it asks for an address."""
    return login_fresh() or url_for("club.sign_in")


@courier.sign_in
def begin_session(member: User) -> None:
    """Sign the reader of a sign-in mail in."""
    login_user(member)
