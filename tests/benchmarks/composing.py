"""Microseconds of composing a mail of 2 kB of text and 2 kB of HTML, beside the stdlib's builder.

Each mail differs in recipient, token and code, as on a real site; so nothing whole can be cached.
"""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage

from flask import Flask, render_template
from jinja2 import FileSystemLoader

from flask_courier.core.config import Sender
from flask_courier.core.messages import Claim, Credentials, Lane, Parcel, Rendered, marks
from flask_courier.core.tokens import Secret
from flask_courier.delivery.compose import compose
from tests.benchmarks.figures import Figure, Settings, in_turn, ratio, show
from tests.benchmarks.site import CONTEXT, TEMPLATES, address

_SENDER = Sender("Acme", "no-reply@acme.example")
_NOON = datetime(2026, 1, 1, 12, tzinfo=timezone.utc)
_PLACEHOLDER = "0123456789abcdef0123456789abcdef"
_TEMPLATE = "courier/mail/recovery"
_MILLION = 1_000_000


def _rendered(number: int) -> Rendered:
    """The mail of one account, as the templates make it."""
    token, code, not_me = marks(_PLACEHOLDER)
    context = {
        **CONTEXT,
        "link": f"https://acme.example/account/recover/{token}",
        "code": code,
        "not_me_link": f"https://acme.example/account/not-me/{not_me}",
        "address": address(number),
    }
    subject, text, html = (
        render_template(f"{_TEMPLATE}.{part}", **context) for part in ("subject.txt", "txt", "html")
    )
    return Rendered(subject, text, html, _PLACEHOLDER)


def _parcel(number: int) -> Parcel:
    recipient = address(number)
    claim = Claim(
        id=uuid.UUID(int=number),
        kind="recovery",
        recipient=recipient,
        account_ref=str(number),
        locale=None,
        context={},
        lane=int(Lane.ACCOUNT),
        attempts=0,
        claims=1,
        created_at=_NOON,
        expires_at=_NOON + timedelta(minutes=30),
        prepared_at=_NOON,
        lease_token="0" * 32,
        message_id_header=None,
    )
    return Parcel(
        claim=claim,
        recipient=recipient,
        rendered=_rendered(number),
        date=_NOON + timedelta(seconds=number // 100),
        message_id_header=f"<{claim.id.hex}@acme.example>",
        credentials=Credentials(
            Secret(f"{number:064x}"), Secret(f"{number:08d}"), Secret(f"{number:066x}")
        ),
    )


def _stdlib(parcel: Parcel) -> bytes:
    """The same mail, as the documentation of ``email`` shows it."""
    assert parcel.credentials is not None
    mail = parcel.rendered.fill(*parcel.credentials.values)
    assert mail.html is not None
    message = EmailMessage(policy=policy.SMTP.clone(cte_type="7bit"))
    message["From"] = Address(_SENDER.name, addr_spec=_SENDER.address)
    message["To"] = Address("", addr_spec=parcel.recipient)
    message["Subject"] = mail.subject
    message["Date"] = parcel.date
    message["Message-ID"] = parcel.message_id_header
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    message.add_alternative(mail.html, subtype="html")
    return message.as_bytes()


def run(settings: Settings) -> list[Figure]:
    """Measure, print, and answer the time of ours and the ratio."""
    app = Flask("tests.benchmarks.composing")
    app.jinja_loader = FileSystemLoader(TEMPLATES)
    with app.app_context():
        parcels = [_parcel(number) for number in range(1, settings.messages + 1)]

    def timed(build: Callable[[Parcel], bytes]) -> float:
        before = time.perf_counter()
        for parcel in parcels:
            build(parcel)
        return (time.perf_counter() - before) / len(parcels) * _MILLION

    found = in_turn(
        {
            "ours": lambda: timed(lambda parcel: compose(parcel, sender=_SENDER, headers={})),
            "stdlib": lambda: timed(_stdlib),
        },
        settings.rounds,
    )
    show(found, "us a message")
    median = statistics.median(found["ours"])
    return [
        Figure("composing", "ours, ms a message", median / 1000, "<= 0.1", "ms"),
        Figure("composing", "stdlib : ours", ratio(found["stdlib"], found["ours"])),
    ]
