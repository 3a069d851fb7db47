"""``flask courier …``: the command line."""

from flask_courier.cli.commands import courier_commands

__all__ = ["courier_commands"]
