"""Mail of the application's own that waits for its time, or is asked for twice."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from flask_courier.core.errors import ContextError
from tests.databases import every_database
from tests.delivery.mails import LONG_AGO, only
from tests.observation import update
from tests.site import Site
from tests.visitor import ADA


@pytest.fixture
def site(site: Site) -> Site:
    """A site with a mail of its own."""
    import jinja2

    templates = {"mail/invoice.subject.txt": "Invoice", "mail/invoice.txt": "Pay {{ sum }}"}
    present = site.app.jinja_env.loader
    assert present is not None
    site.app.jinja_env.loader = jinja2.ChoiceLoader([jinja2.DictLoader(templates), present])
    return site


def send(site: Site, *, commit: bool = True, **options: Any) -> uuid.UUID:
    """Queue an invoice."""
    with site.app.app_context():
        options = {"to": ADA, "context": {"sum": 3}} | options
        message_id = site.courier.send("mail/invoice", **options)
        if commit:
            site.db.session.commit()
        return message_id


def soon(**units: float) -> datetime:
    """So far from now."""
    return datetime.now(timezone.utc) + timedelta(**units)


@every_database
def test_mail_is_not_sent_before_its_time(site: Site) -> None:
    """A mail that was scheduled waits for its time, and goes out after it."""
    send(site, send_at=soon(hours=1))
    assert {} == site.deliver()
    update(site, "courier_message", next_attempt_at=LONG_AGO)
    assert {"sent": 1} == site.deliver()


@every_database
def test_scheduled_mail_lives_from_its_time(site: Site) -> None:
    """A mail that is scheduled for next month has two days from then, as others from now."""
    send(site, send_at=soon(days=30))
    row = only(site)
    assert timedelta(days=2) == row["expires_at"] - row["next_attempt_at"]


def test_time_without_a_zone_is_refused(site: Site) -> None:
    """A naive time is refused with what to write instead, and nothing is queued."""
    with pytest.raises(ContextError, match=r"send_at has no time zone; .*timezone\.utc"):
        send(site, send_at=datetime(2031, 5, 1, 12, 0))  # noqa: DTZ001 - what is refused
    assert [] == site.rows("courier_message")


@every_database
def test_mail_with_a_key_is_sent_once(site: Site) -> None:
    """A second call with the same key answers the first one's id, and one mail goes out."""
    first, second = (send(site, idempotency_key="invoice-1042") for _ in range(2))
    assert (first, {"sent": 1}) == (second, site.deliver())


@every_database
def test_key_works_within_a_transaction(site: Site) -> None:
    """Both calls may be part of one transaction that is not committed yet."""
    with site.app.app_context():
        ids = {
            site.courier.send("mail/invoice", to=ADA, context={"sum": 3}, idempotency_key="k")
            for _ in range(2)
        }
        site.db.session.commit()
    assert ({1}, {"sent": 1}) == ({len(ids)}, site.deliver())


@every_database
def test_rolled_back_key_may_be_used(site: Site) -> None:
    """A key of a transaction that was rolled back is free for the next one."""
    send(site, commit=False, idempotency_key="invoice-1042")
    kept = send(site, idempotency_key="invoice-1042")
    assert [kept.hex] == [uuid.UUID(str(row["id"])).hex for row in site.rows("courier_message")]


@pytest.mark.parametrize("key", ["", "k" * 129, "a\nb", "a\0b"], ids=ascii)
def test_unfit_key_is_refused(site: Site, key: str) -> None:
    """A key that no column could tell from others is refused with an example."""
    with pytest.raises(ContextError, match=r"^idempotency_key must be 1 to 128 printable"):
        send(site, idempotency_key=key)
    assert [] == site.rows("courier_message")
