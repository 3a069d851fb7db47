"""``flask --app example_app add-admin``."""

from __future__ import annotations

from datetime import datetime, timezone

import click
from flask.cli import with_appcontext

from example_app.models import User, db
from example_app.passwords import is_too_short, least_length


@click.command("add-admin")
@click.argument("email")
@click.password_option(envvar="HARBOUR_ADMIN_PASSWORD", show_envvar=True)
@with_appcontext
def add_admin(email: str, password: str) -> None:
    """Add a member who may read the delivery log."""
    if User.find(email.lower()):
        raise click.ClickException("This address belongs to a member already.")
    if is_too_short(password):
        raise click.ClickException(f"Use a password of at least {least_length()} characters.")
    admin = User(
        name="Harbour master",
        email=email.lower(),
        is_admin=True,
        email_verified_at=datetime.now(timezone.utc),
    )
    admin.set_password(password)
    db.session.add(admin)
    db.session.commit()
    click.echo(f"{admin.email} is an admin now, and may read the delivery log.")
