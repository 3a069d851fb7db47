"""The extensions, made once and bound to the application in ``create_app``."""

from __future__ import annotations

from flask_login import LoginManager, current_user
from flask_wtf import CSRFProtect

from example_app.models import User, db
from flask_courier import Courier

csrf = CSRFProtect()
courier = Courier(user_model=User)

login_manager = LoginManager()
login_manager.login_view = "club.sign_in"
login_manager.login_message = "Sign in to see this page."


@login_manager.user_loader
def load_user(session_id: str) -> User | None:
    """The member of a login session, unless the session was ended by a new security stamp."""
    user_id, _, stamp = session_id.partition(".")
    user = db.session.get(User, int(user_id))
    return user if user is not None and user.security_stamp == stamp else None


@courier.log_access
def may_read_log(permission: str) -> bool:  # noqa: ARG001 - an admin has every permission
    """Who sees the delivery log; to everybody else it does not exist."""
    return bool(current_user.is_authenticated and current_user.is_admin)
