"""What a worker takes from the queue: nothing from behind an open breaker, and no poison."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from flask_courier.core.status import Status
from flask_courier.delivery.intake import Intake
from flask_courier.delivery.ledger import Ledger
from tests.databases import every_database
from tests.delivery.ledgers import delivery, dropped, make_ledger
from tests.delivery.mails import LONG_AGO, failing, queue_own
from tests.observation import update
from tests.queue_rows import LEASE, add_attempt, claim, result, row
from tests.site import Site

pytestmark = every_database


@pytest.fixture
def ledger(site: Site) -> Ledger:
    """A worker's side of the tables."""
    return make_ledger(site)


@pytest.fixture
def intake(ledger: Ledger) -> Intake:
    """Its claiming side."""
    return Intake(ledger)


@pytest.mark.parametrize(("claims", "given_up"), [(4, False), (5, True)])
def test_silent_claims_are_poison(
    site: Site, intake: Intake, claims: int, *, given_up: bool
) -> None:
    """A message that five claims in a row never reported on is given up at the sixth."""
    queue_own(site)
    update(site, "courier_message", claims=claims)
    taken = intake.take(10, 0, alone=True)
    [kept] = site.rows("courier_message")
    expected = ("abandoned", "poison") if given_up else ("processing", None)
    assert expected == (kept["status"], kept["reason"])
    assert ([] if given_up else [kept["id"]]) == [one.claim.id for one in taken.parcels]
    assert ({Status.ABANDONED: 1} if given_up else {}) == taken.settled


def test_reported_claims_are_no_poison(site: Site, ledger: Ledger, intake: Intake) -> None:
    """Claims that ended with an attempt say nothing against the message."""
    queue_own(site)
    update(site, "courier_message", claims=20)
    [message] = site.rows("courier_message")
    for _ in range(16):
        add_attempt(ledger.database, message["id"], result())
    assert [message["id"]] == [one.claim.id for one in intake.take(10, 0, alone=True).parcels]


def suspect_and_another(site: Site) -> tuple[Any, Any]:
    """Queue a message that two claims never reported on, and one that was never claimed."""
    queue_own(site)
    update(site, "courier_message", claims=2, reason="failed")
    [suspect] = site.rows("courier_message")
    queue_own(site)
    [other] = [one["id"] for one in site.rows("courier_message") if one["id"] != suspect["id"]]
    return suspect["id"], other


def test_suspect_beside_others_stays(site: Site, ledger: Ledger, intake: Intake) -> None:
    """A message that may have killed its workers is left due, as it was, and told of."""
    suspect, other = suspect_and_another(site)
    taken = intake.take(10, 0)
    assert ([other], True) == ([one.claim.id for one in taken.parcels], taken.suspects)
    assert ("queued", 2) == ((left := row(ledger.database, suspect)).status, left.claims)
    assert 0.0 == intake.outlook().due


def test_suspect_is_put_off(site: Site, ledger: Ledger, intake: Intake) -> None:
    """Put off, it is as it was, due later, and nobody has to be alone for it."""
    suspect, other = suspect_and_another(site)
    taken = intake.take(10, 0, apart=timedelta(seconds=60))
    assert ([other], False) == ([one.claim.id for one in taken.parcels], taken.suspects)
    left = row(ledger.database, suspect)
    assert ("queued", "failed", 2) == (left.status, left.reason, left.claims)
    due = intake.outlook().due
    assert due is not None
    assert 0 < due <= 60


def fail(ledger: Ledger, site: Site) -> None:
    """Let a probe of the transport have failed with the oldest message."""
    [taken] = claim(ledger.database, 1)
    ledger.record([delivery(taken, dropped(), probing=True)])
    update(site, "courier_message", next_attempt_at=taken.created_at)


def test_open_breaker_keeps_the_queue(site: Site, ledger: Ledger, intake: Intake) -> None:
    """While the breaker is open nothing is claimed."""
    queue_own(site)
    fail(ledger, site)
    assert (0, []) == ((taken := intake.take(10, 0)).claimed, taken.parcels)


def test_probe_is_one_message(site: Site, ledger: Ledger, intake: Intake) -> None:
    """Whoever asks for a probe at once gets one message of many, marked as the probe."""
    for _ in range(3):
        queue_own(site)
    fail(ledger, site)
    taken = intake.probe(at_once=True)
    assert taken is not None
    assert (1, 1, True) == (taken.claimed, len(taken.parcels), taken.probing)


def test_probe_is_another_message(site: Site, ledger: Ledger, intake: Intake) -> None:
    """The message that failed last does not probe while another one is due."""
    for _ in range(2):
        queue_own(site)
    failed, other = sorted(one["id"] for one in site.rows("courier_message"))
    fail(ledger, site)
    taken = intake.probe(at_once=True)
    assert taken is not None
    assert [other] == [one.claim.id for one in taken.parcels]
    assert "queued" == row(ledger.database, failed).status


def test_only_message_probes_again(site: Site, ledger: Ledger, intake: Intake) -> None:
    """Where no other message is due, the one that failed finds out."""
    queue_own(site)
    fail(ledger, site)
    taken = intake.probe(at_once=True)
    assert taken is not None
    assert 1 == len(taken.parcels)


def test_second_prober_is_refused(site: Site, ledger: Ledger, intake: Intake) -> None:
    """While one worker probes, the next one waits for what it finds."""
    for _ in range(3):
        queue_own(site)
    fail(ledger, site)
    assert intake.probe(at_once=True) is not None
    assert intake.probe(at_once=False) is None


def test_probe_waits_for_its_time(site: Site, ledger: Ledger, intake: Intake) -> None:
    """Right after a fault nobody probes, unless somebody asks for it."""
    queue_own(site)
    fail(ledger, site)
    assert intake.probe(at_once=False) is None


def test_closed_breaker_needs_no_probe(site: Site, intake: Intake) -> None:
    """While the transport works there is nothing to find out."""
    queue_own(site)
    assert intake.probe(at_once=True) is None


def test_probe_without_a_message_leaves_the_turn(
    site: Site, ledger: Ledger, intake: Intake
) -> None:
    """A worker with nothing to send does not use the probe up."""
    queue_own(site)
    fail(ledger, site)
    [message] = site.rows("courier_message")
    update(site, "courier_message", status="cancelled")
    assert intake.probe(at_once=True) is None
    update(site, "courier_message", status="queued", next_attempt_at=message["created_at"])
    assert intake.probe(at_once=True) is not None


def test_probe_that_the_database_ends_leaves_its_turn(
    site: Site, ledger: Ledger, intake: Intake
) -> None:
    """A worker that won the probe and then lost the database probes as soon as that is back."""
    for _ in range(3):
        queue_own(site)
    fail(ledger, site)
    update(site, "courier_transport", next_probe_at=LONG_AGO)
    with (
        failing(site, "UPDATE courier_message SET lease_until"),
        pytest.raises(OSError, match="disk"),
    ):
        intake.probe()
    taken = intake.probe()
    assert taken is not None
    assert 1 == len(taken.parcels)


def test_probe_that_is_left_is_the_next_ones(site: Site, ledger: Ledger, intake: Intake) -> None:
    """After a probe that has shown nothing, any worker may probe at once, and only one."""
    for _ in range(3):
        queue_own(site)
    fail(ledger, site)
    assert intake.probe(at_once=True) is not None
    intake.leave_turn()
    other = Intake(ledger)
    assert (True, False) == (other.probe() is not None, intake.probe() is not None)


def test_outlook_tells_when_to_probe(site: Site, ledger: Ledger, intake: Intake) -> None:
    """With an open breaker a worker rests until the next probe, and knows that mail waits."""
    queue_own(site)
    fail(ledger, site)
    outlook = intake.outlook()
    assert outlook.probe is not None
    assert (0.0, True) == (outlook.due, 0 < outlook.probe <= LEASE.total_seconds())
