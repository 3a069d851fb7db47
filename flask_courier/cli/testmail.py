"""``flask courier test``: one mail, now, and what the server says to it."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import click

from flask_courier.cli import output
from flask_courier.cli.actions import quiet_database
from flask_courier.cli.group import EXIT_CODES, UNREACHABLE
from flask_courier.core.accounts import normalise_address
from flask_courier.core.causes import CAUSES
from flask_courier.core.errors import AddressError
from flask_courier.core.messages import Claim, Lane, NewMessage, Parcel, SendResult
from flask_courier.core.outlook_rows import OUTLOOKS
from flask_courier.core.replies import Outcome
from flask_courier.core.retry import Decision
from flask_courier.core.status import Status
from flask_courier.delivery.parts import WorkerParts
from flask_courier.delivery.transport import Transport
from flask_courier.state import current_state
from flask_courier.storage import outbox, transports
from flask_courier.storage.outbox import operator
from flask_courier.storage.uow import Conflict, Database, Session

_KIND = "test"
#: What a whole attempt may take, every command with its timeout (RFC 5321 section 4.5.3.2); with
#: the lease the message's life ends, so that no worker sends it after all.
_LEASE = timedelta(minutes=10)

_NOT_MADE = (
    "the mail cannot be made: templates of the application take the place of courier/mail/test.*; "
    "the delivery log says what is wrong with them"
)

_HEADLINES = {
    Outcome.ACCEPTED: "The SMTP server accepted the mail.",
    Outcome.DEFERRED: "The SMTP server puts this mail off.",
    Outcome.REJECTED: "The SMTP server refuses this mail.",
    Outcome.THROTTLED: "The SMTP server wants less mail for now.",
    Outcome.TRANSPORT_FAULT: "The mail did not get through; that may pass.",
    Outcome.OPERATOR_FAULT: "The mail did not get through, and will not until something changes.",
    Outcome.UNKNOWN: "The connection broke at the end: the mail may or may not have arrived.",
}
#: With ``log:``, where no SMTP server says anything.
_STAYED_HEADLINE = "Nothing left this machine: the mail is in the delivery log."
_STAYED = OUTLOOKS[Status.SENT, "stayed"]


@dataclass(frozen=True)
class Report:
    """What came of the mail."""

    message_id: uuid.UUID
    outcome: Outcome
    phase: str
    code: int | None
    enhanced_code: str | None
    cause: str
    meaning: str | None
    advice: str | None
    reply: str
    host: str | None
    address: str | None
    tls_version: str | None
    tls_cipher: str | None
    duration_ms: int


@click.command("test", epilog=EXIT_CODES)
@click.argument("address")
@output.json_option("Print a JSON object.")
def test(*, address: str, as_json: bool) -> None:
    """Send a test mail to ADDRESS, from this process and at once; say what the server answered.

    Tried once, whatever waits in the queue. Ends with 0 if the server accepted it, otherwise
    with 3. "Accepted" says that the server has it, not that it reached the mailbox. With 'log:',
    nothing leaves this machine: the mail is in the delivery log.
    """
    try:
        recipient = normalise_address(address)
    except AddressError as error:
        raise click.BadParameter(str(error), param_hint="ADDRESS") from None
    parts = current_state().worker_parts(_KIND)
    database = quiet_database()
    parcel = _queue(database, parts, recipient)
    transport = parts.transport()
    try:
        result = asyncio.run(_send(transport, parcel))
    except BaseException:
        # Ctrl-C, for instance: how far it had come is not known here.
        _close(database, parcel.claim, Status.HELD, "outcome_unknown")
        raise
    database.transact(lambda session: _record(session, parts, transport, parcel.claim, result))
    report = _report(parcel.claim, result)
    headline = _HEADLINES[result.outcome]
    if transport.keeps_mail:
        headline = _STAYED_HEADLINE
        report = replace(report, meaning=_STAYED.meaning, advice=_STAYED.step)
    if as_json:
        output.echo_json(report)
    else:
        click.echo(_page(headline, report))
    if result.outcome is not Outcome.ACCEPTED:
        click.get_current_context().exit(UNREACHABLE)


def _queue(database: Database, parts: WorkerParts, recipient: str) -> Parcel:
    """Queue the mail, claim it before anybody else sees it, and prepare it."""
    message = NewMessage(kind=_KIND, recipient=recipient, lane=Lane.ACCOUNT, lifetime=_LEASE)

    def work(session: Session) -> Claim:
        claim = operator.take(session, outbox.enqueue(session, message), lease=_LEASE)
        if claim is None:
            raise Conflict
        return claim

    claim = database.transact(work)
    try:
        batch = database.transact(lambda session: parts.preparer.batch(session, [claim]))
    except BaseException:
        _close(database, claim, Status.ABANDONED, "failed")
        raise
    if not batch.parcels:
        # Where the template is only missing, it waits for a release that has it.
        database.transact(
            lambda session: operator.cancel(session, claim.id, actor=output.operator())
        )
        raise click.ClickException(_NOT_MADE)
    return batch.parcels[0]


def _close(database: Database, claim: Claim, status: Status, reason: str) -> None:
    database.transact(lambda session: outbox.close(session, claim, status, reason))


async def _send(transport: Transport, parcel: Parcel) -> SendResult:
    end = time.monotonic() + _LEASE.total_seconds()
    is_held: Callable[[], bool] = lambda: time.monotonic() < end  # noqa: E731
    try:
        return await transport.send(parcel, is_held=is_held)
    finally:
        await transport.close()


def _record(
    session: Session, parts: WorkerParts, transport: Transport, claim: Claim, result: SendResult
) -> None:
    """Write it down; a test that got through is as good as a probe."""
    if not outbox.hold(session, [claim], lease=_LEASE):
        outbox.keep_history(session, [(claim.id, result)], worker=parts.name)
        return
    settlement = outbox.Settlement(claim, result, _decision(result), carries_token=False)
    outbox.record(session, [settlement], worker=parts.name, keep_seed=transport.keeps_mail)
    if result.outcome is Outcome.ACCEPTED and not transport.keeps_mail:
        transports.ok(session, transport.name, create=True)


def _decision(result: SendResult) -> Decision:
    """Never tried again by itself: whoever asked for it is watching."""
    if result.outcome is Outcome.ACCEPTED:
        return Decision(Status.SENT)
    if result.outcome is Outcome.UNKNOWN:
        return Decision(Status.HELD, "outcome_unknown")
    return Decision(Status.ABANDONED, result.outcome.value)


def _report(claim: Claim, result: SendResult) -> Report:
    cause = CAUSES.get(result.cause)
    return Report(
        message_id=claim.id,
        outcome=result.outcome,
        phase=result.phase.value,
        code=result.code,
        enhanced_code=result.enhanced_code,
        cause=result.cause,
        meaning=cause.meaning if cause else None,
        advice=cause.advice if cause else None,
        reply=result.text,
        host=result.host,
        address=result.address,
        tls_version=result.tls_version,
        tls_cipher=result.tls_cipher,
        duration_ms=round(result.duration.total_seconds() * 1000),
    )


def _page(headline: str, report: Report) -> str:
    lines = [headline]
    lines += [text for text in (report.meaning, report.advice) if text]
    known = {
        "at": report.phase,
        "code": " ".join(str(part) for part in (report.code, report.enhanced_code) if part),
        "server": " ".join(part for part in (report.host, report.address) if part),
        "TLS": " ".join(part for part in (report.tls_version, report.tls_cipher) if part),
        "took": f"{report.duration_ms} ms",
        "message": str(report.message_id),
    }
    lines.append("")
    lines += [f"{name:8} {value}" for name, value in known.items() if value]
    lines += [f"| {line}" for line in output.safe(report.reply).splitlines()]
    return "\n".join(lines)
