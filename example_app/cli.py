"""``flask --app example_app add-admin``."""

from __future__ import annotations

from datetime import datetime, timezone

import click
from flask.cli import with_appcontext

from example_app.models import User, db


@click.command("add-admin")
@click.argument("email")
@click.password_option(envvar="HARBOUR_ADMIN_PASSWORD", show_envvar=True)
@with_appcontext
def add_admin(email: str, password: str) -> None:
    """Add a member who may read the delivery log."""
    if User.find(email.lower()):
        raise click.ClickException("This address belongs to a member already.")
    admin = User(
        name="Harbour master",
        email=email.lower(),
        is_admin=True,
        email_verified_at=datetime.now(timezone.utc),
    )
    admin.set_password(password)
    db.session.add(admin)
    db.session.commit()
