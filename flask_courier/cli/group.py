"""The group ``flask courier``: its application context, its exit codes, its way to fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from flask.cli import AppGroup, ScriptInfo

from flask_courier.core.errors import ConfigError
from flask_courier.storage.failures import DatabaseFailure, explained

#: Done.
DONE = 0
#: No such message, nothing matched, or not possible for every message that was named.
NOT_POSSIBLE = 1
#: The database or the SMTP server could not be reached, or did not do what was asked of it.
UNREACHABLE = 3
#: The application does not start.
NOT_CONFIGURED = 4

EXIT_CODES = """\b
Exit codes, of every command:
  0  done
  1  no such message, nothing matched, not possible for all that were named, or
     a step of check failed
  2  the command line cannot be understood
  3  the database or the SMTP server was out of reach, or refused
  4  the configuration cannot work
"""


class Unstartable(ConfigError, click.ClickException):
    """A ``ConfigError`` that a command line tells without a traceback."""

    exit_code = NOT_CONFIGURED


@contextmanager
def told_by_commands() -> Iterator[None]:
    """Let a command line tell what is wrong with the configuration; ``flask`` loads us inside it.

    Anywhere else the error stays what it is.
    """
    try:
        yield
    except ConfigError as error:
        if click.get_current_context(silent=True) is None:
            raise
        raise Unstartable(error.problems) from None


class CourierGroup(AppGroup):
    """Runs each command inside the application, and says in one sentence if the database fails."""

    def invoke(self, ctx: click.Context) -> object:
        """Run the command that was asked for."""
        app = ctx.ensure_object(ScriptInfo).load_app()
        try:
            with app.app_context(), explained():
                answer: object = super().invoke(ctx)
        except DatabaseFailure as failure:
            click.echo(f"flask courier: {failure}", err=True)
            ctx.exit(UNREACHABLE)
        return answer
