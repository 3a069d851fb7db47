"""A process with a peer: ``python -m tests.benchmarks.peers NAME``, one run for each question."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiosmtplib import SMTP
from flask import Flask, render_template
from jinja2 import FileSystemLoader

from tests.benchmarks.processes import answer_questions, greet
from tests.benchmarks.site import CONTEXT, TEMPLATES, address
from tests.site import SENDER

_ENVELOPE_SENDER = "no-reply@acme.example"
_TEMPLATE = "courier/mail/recovery"

Run = Callable[..., dict[str, Any]]


def aiosmtplib_run() -> Run:
    """Ready-made bytes over several connections: the library alone."""

    async def send(port: int, numbers: list[int], mail: bytes) -> None:
        client = SMTP(hostname="127.0.0.1", port=port, start_tls=False, local_hostname="bench")
        async with client:
            for number in numbers:
                await client.sendmail(_ENVELOPE_SENDER, [address(number)], mail)

    async def work(port: int, count: int, connections: int, mail: bytes) -> float:
        before = time.monotonic()
        await asyncio.gather(
            *(
                send(port, list(range(1 + first, 1 + count, connections)), mail)
                for first in range(connections)
            )
        )
        return time.monotonic() - before

    def run(port: int, count: int, connections: int, mail: str) -> dict[str, Any]:
        return {"seconds": asyncio.run(work(port, count, connections, mail.encode("latin-1")))}

    return run


def _renderer() -> Flask:
    app = Flask("tests.benchmarks.peer")
    app.jinja_loader = FileSystemLoader(TEMPLATES)
    return app


def flask_mailman_run() -> Run:
    """Flask-Mailman over one open connection, rendering each mail."""
    from flask_mailman import (  # type: ignore[import-not-found]  # only in .venvs/bench
        EmailMultiAlternatives,
        Mail,
    )

    def run(port: int, count: int) -> dict[str, Any]:
        app = _renderer()
        app.config.update(MAIL_SERVER="127.0.0.1", MAIL_PORT=port, MAIL_DEFAULT_SENDER=SENDER)
        mail = Mail(app)
        with app.app_context():
            before = time.monotonic()
            with mail.get_connection() as connection:
                for number in range(1, count + 1):
                    context = {**CONTEXT, "address": address(number)}
                    message = EmailMultiAlternatives(
                        render_template(f"{_TEMPLATE}.subject.txt", **context),
                        render_template(f"{_TEMPLATE}.txt", **context),
                        to=[address(number)],
                        connection=connection,
                    )
                    html = render_template(f"{_TEMPLATE}.html", **context)
                    message.attach_alternative(html, "text/html")
                    message.send()
            return {"seconds": time.monotonic() - before}

    return run


def post_office_run() -> Run:
    """django-post_office: what its cron job does, with its defaults, on SQLite.

    Its mails are queued with their text ready-made, so that it need not render them.
    """
    import django  # type: ignore[import-not-found]  # only in .venvs/bench
    from django.conf import settings  # type: ignore[import-not-found]  # the same

    folder = Path(sys.argv[2])
    settings.configure(
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": folder / "django.sqlite"}
        },
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        EMAIL_BACKEND="post_office.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()
    from django.core.management import call_command  # type: ignore[import-not-found]  # the same
    from django.db import transaction  # type: ignore[import-not-found]  # the same
    from post_office import mail  # type: ignore[import-not-found]  # the same
    from post_office.models import Email  # type: ignore[import-not-found]  # the same

    logging.getLogger("post_office").setLevel(logging.WARNING)
    call_command("migrate", verbosity=0)
    with _renderer().app_context():
        subject, text, html = (
            render_template(f"{_TEMPLATE}.{part}", **CONTEXT)
            for part in ("subject.txt", "txt", "html")
        )

    def run(port: int, count: int) -> dict[str, Any]:
        settings.EMAIL_PORT = port
        Email.objects.all().delete()
        with transaction.atomic():
            for number in range(1, count + 1):
                mail.send(address(number), SENDER, subject=subject, message=text, html_message=html)
        before = time.monotonic()
        mail.send_queued_mail_until_done(lockfile=str(folder / "post_office"))
        return {"seconds": time.monotonic() - before}

    return run


_PEERS = {
    "aiosmtplib": aiosmtplib_run,
    "flask_mailman": flask_mailman_run,
    "post_office": post_office_run,
}


def main(name: str) -> None:
    """Serve the parent."""
    run = _PEERS[name]()
    greet()
    answer_questions({"run": run})


if __name__ == "__main__":
    main(sys.argv[1])
