"""Harbour, a reading club: a small site that leaves its account mail to flask_courier.

``pip install . flask-login`` installs what it needs, and ``flask --app example_app run --debug``
serves it. No mail leaves the machine then: it is in the delivery log, for the admin that ``flask
--app example_app --debug add-admin ADDRESS`` adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flask import Flask, render_template
from werkzeug.exceptions import HTTPException

from example_app.cli import add_admin
from example_app.extensions import csrf, login_manager
from example_app.models import courier, db
from example_app.views import club


def create_app(config: Mapping[str, Any] | None = None) -> Flask:
    """The site; ``FLASK_…`` variables override its defaults, and ``config`` overrides both."""
    app = Flask(__name__)
    app.config.from_mapping(
        # Enough for debug mode; anywhere else flask_courier refuses to start with so short a key.
        SECRET_KEY="dev",
        SQLALCHEMY_DATABASE_URI="sqlite:///harbour.sqlite3",
        SESSION_COOKIE_SAMESITE="Lax",
        COURIER_DEFAULT_SENDER="Harbour <post@harbour.example>",
        COURIER_BASE_TEMPLATE="layout.html",
        COURIER_AFTER_RECOVERY_URL="/sign-in",
        COURIER_AFTER_VERIFICATION_URL="/account",
        COURIER_SIGN_IN=True,
        COURIER_AFTER_SIGN_IN_URL="/account",
        # The site's own forms read it, too: a sign-up must not take what a recovery refuses.
        COURIER_PASSWORD_MIN_LENGTH=12,
    )
    app.config.from_prefixed_env()
    app.config.from_mapping(config)

    db.init_app(app)
    csrf.init_app(app)
    login_manager.init_app(app)
    courier.init_app(app, db)

    app.register_blueprint(club)
    app.register_error_handler(HTTPException, show_error)
    app.cli.add_command(add_admin)

    # A site that lives longer than an afternoon has migrations instead (Flask-Migrate).
    with app.app_context():
        db.create_all()
    return app


def show_error(error: HTTPException) -> tuple[str, int]:
    """Every refusal in the site's own frame."""
    return render_template("error.html", error=error), error.code or 500
