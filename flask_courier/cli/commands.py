"""Puts the commands together."""

from __future__ import annotations

from flask_courier.cli.actions import cancel, resend, retry
from flask_courier.cli.check import check
from flask_courier.cli.group import EXIT_CODES, CourierGroup
from flask_courier.cli.messages import list_messages, show
from flask_courier.cli.testmail import test
from flask_courier.cli.upkeep import purge, stats
from flask_courier.cli.work import worker

courier_commands = CourierGroup(
    "courier", help="Deliver mail, and look after the outbox.", epilog=EXIT_CODES
)
for _command in (
    worker,
    check,
    test,
    list_messages,
    show,
    retry,
    resend,
    cancel,
    purge,
    stats,
):
    courier_commands.add_command(_command)
