"""Results and the database: late ones, lost ones, and those that are the transport's fault."""

from __future__ import annotations

import pytest

from flask_courier.core.messages import Claim, SendResult
from flask_courier.core.replies import Outcome, Phase
from flask_courier.core.status import Status
from flask_courier.delivery.ledger import Ledger, Recorded
from flask_courier.storage import transports
from flask_courier.storage.models import Attempt
from tests.databases import every_database
from tests.delivery.ledgers import delivery, dropped, is_open, make_ledger
from tests.queue_rows import ago, change, claim, claimed, reclaim, result, row, rows
from tests.site import Site

pytestmark = every_database


@pytest.fixture
def ledger(site: Site) -> Ledger:
    """A worker's side of the tables."""
    return make_ledger(site)


def test_late_result_settles_the_message(ledger: Ledger) -> None:
    """A result that comes after its lease was reclaimed ends the message: no duplicate."""
    late = claimed(ledger.database)
    reclaim(ledger.database, late)
    assert [Recorded(Status.SENT, blocked=None)] == ledger.record([delivery(late)])
    assert ("sent", []) == (row(ledger.database, late.id).status, claim(ledger.database))


def lost(ledger: Ledger) -> Claim:
    """A claim on a message that another worker has taken since."""
    first = claimed(ledger.database)
    reclaim(ledger.database, first)
    claim(ledger.database)
    return first


def test_result_of_a_lost_lease_is_history(ledger: Ledger) -> None:
    """Who lost its lease writes its attempt down, and decides nothing."""
    late = lost(ledger)
    before = row(ledger.database, late.id)
    assert [None] == [one.status for one in ledger.record([delivery(late)])]
    assert before == row(ledger.database, late.id)
    assert [(late.id, "accepted")] == rows(ledger.database, Attempt.message_id, Attempt.outcome)


def test_lost_lease_holds_up_no_other_result(ledger: Ledger) -> None:
    """Of a batch with one lost lease the others are settled, and each is answered for."""
    late, kept = lost(ledger), claimed(ledger.database)
    recorded = ledger.record([delivery(late), delivery(kept)])
    assert [None, Status.SENT] == [one.status for one in recorded]
    assert "sent" == row(ledger.database, kept.id).status
    assert 2 == len(rows(ledger.database, Attempt.number))


@pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.UNKNOWN])
def test_result_that_was_written_already_is_not_written_again(
    ledger: Ledger, outcome: Outcome
) -> None:
    """If the answer to a commit was lost, the second try finds its attempt and adds none."""
    ended = delivery(claimed(ledger.database), result(outcome), carries_token=True)
    ledger.record([ended])
    assert [None] == [one.status for one in ledger.record([ended])]
    assert [(1, outcome.value)] == rows(ledger.database, Attempt.number, Attempt.outcome)


def again(ledger: Ledger, taken: Claim) -> Claim:
    """Claim a message anew whose retry is due."""
    change(ledger.database, taken.id, next_attempt_at=ago(seconds=1))
    [found] = claim(ledger.database)
    return found


def test_third_dropped_connection_is_poison(ledger: Ledger) -> None:
    """A message that ends three connections is abandoned, and opens no breaker."""
    taken = claimed(ledger.database)
    statuses = []
    for turn in range(3):
        taken = again(ledger, taken) if turn else taken
        [recorded] = ledger.record([delivery(taken, dropped())])
        statuses.append(recorded.status)
    assert [Status.QUEUED, Status.QUEUED, Status.ABANDONED] == statuses
    assert ("poison", False) == (row(ledger.database, taken.id).reason, is_open(ledger))


def test_drops_of_three_domains_are_the_transports(ledger: Ledger) -> None:
    """When messages for three domains are dropped, the breaker opens and nobody is charged."""
    taken = [claimed(ledger.database, recipient=f"a@{name}.example") for name in "xyz"]
    recorded = [ledger.record([delivery(one, dropped())])[0] for one in taken]
    assert [None, None, True] == [one.blocked for one in recorded]
    assert [0, 0, 0] == [row(ledger.database, one.id).attempts for one in taken]
    outcomes = rows(ledger.database, Attempt.outcome)
    assert ([("transport_fault",)] * 3, True) == (outcomes, is_open(ledger))


def test_drops_of_two_domains_are_the_messages(ledger: Ledger) -> None:
    """A recipient whose server hangs up opens no breaker for others; an attempt is used."""
    taken = [claimed(ledger.database, recipient=f"a@{name}.example") for name in "xyx"]
    recorded = [ledger.record([delivery(one, dropped())])[0] for one in taken]
    assert [None] * 3 == [one.blocked for one in recorded]
    assert [1] * 3 == [row(ledger.database, one.id).attempts for one in taken]


def test_acceptance_between_clears_the_transport(ledger: Ledger) -> None:
    """What a server dropped before it took another message was about the messages."""
    domains = [claimed(ledger.database, recipient=f"a@{name}.example") for name in "xyz"]
    good = claimed(ledger.database)
    for one in domains[:2]:
        ledger.record([delivery(one, dropped())])
    ledger.record([delivery(good)])
    [last] = ledger.record([delivery(domains[2], dropped())])
    assert (None, Status.QUEUED) == (last.blocked, last.status)


def test_dropped_probe_keeps_the_breaker_open(ledger: Ledger) -> None:
    """A probe that is dropped is no message's fault: it costs no attempt, alone as it went."""
    taken = claimed(ledger.database)
    [recorded] = ledger.record([delivery(taken, dropped(), probing=True)])
    assert (True, 0) == (recorded.blocked, row(ledger.database, taken.id).attempts)
    assert is_open(ledger) is True


def test_accepted_probe_closes_the_breaker(ledger: Ledger) -> None:
    """When a probe gets through, everybody may send again."""
    first, second = claimed(ledger.database), claimed(ledger.database)
    ledger.record([delivery(first, dropped(), probing=True)])
    [recorded] = ledger.record([delivery(second, probing=True)])
    assert (Recorded(Status.SENT, blocked=False), False) == (recorded, is_open(ledger))


@pytest.mark.parametrize("order", [1, -1])
def test_accepted_probe_outweighs_what_went_out_before(ledger: Ledger, order: int) -> None:
    """A session that breaks while the probe gets through keeps nobody waiting."""
    first, second, third = [claimed(ledger.database) for _ in range(3)]
    ledger.record([delivery(first, refused())])
    straggler, probe = delivery(second, refused()), delivery(third, probing=True)
    recorded = ledger.record([straggler, probe][::order])
    assert ([False, False], False) == ([one.blocked for one in recorded], is_open(ledger))


@pytest.mark.parametrize("order", [1, -1])
def test_faulty_probe_is_told_of(ledger: Ledger, order: int) -> None:
    """Of faults that come together the probe's is written down: it says when the next one is."""
    first, second = claimed(ledger.database), claimed(ledger.database)
    straggler, probe = delivery(first, refused()), delivery(second, refused(), probing=True)
    ledger.record([straggler, probe][::order])
    found = ledger.database.transact(
        lambda session: transports.last_faulty(session, ledger.transport)
    )
    assert second.id == found


def test_result_is_weighed_once(ledger: Ledger) -> None:
    """A result that is written a second time, after a failure, counts as one suspicion."""
    domains = [claimed(ledger.database, recipient=f"a@{name}.example") for name in "xyz"]
    deliveries = [delivery(one, dropped()) for one in domains]
    for one in deliveries[:2]:
        ledger.record([one])
    for one in deliveries[:2]:
        ledger.breaker.weigh(one)
    [last] = ledger.record(deliveries[2:])
    assert last.blocked is True


def refused() -> SendResult:
    """A login that the server refused."""
    return result(
        Outcome.OPERATOR_FAULT, phase=Phase.AUTH, code=535, text="no", cause="login_refused"
    )


def test_acceptance_of_an_older_session_leaves_the_breaker_open(ledger: Ledger) -> None:
    """A server that refuses new logins may go on taking mail from who is logged in already."""
    first, second = claimed(ledger.database), claimed(ledger.database)
    ledger.record([delivery(first, refused())])
    ledger.record([delivery(second)])
    assert is_open(ledger) is True


def test_fault_outweighs_an_acceptance_beside_it(ledger: Ledger) -> None:
    """Results of one transaction open the breaker, whichever of them came last."""
    first, second = claimed(ledger.database), claimed(ledger.database)
    recorded = ledger.record([delivery(first, refused()), delivery(second)])
    assert ([True, True], True) == ([one.blocked for one in recorded], is_open(ledger))
