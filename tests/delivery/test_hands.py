"""What a worker has in hand: whose turn it is, and until when a lease may be relied on."""

from __future__ import annotations

import dataclasses
import uuid

from flask_courier.core.messages import Claim, Lane, Parcel
from flask_courier.delivery.clock import lease_clock
from flask_courier.delivery.hands import Hands
from tests.delivery.parcels import make_claim, make_parcel


def parcel(number: int, lane: Lane = Lane.ACCOUNT) -> Parcel:
    """A parcel with an id of its own."""
    return dataclasses.replace(make_parcel(), claim=make_claim(id=uuid.UUID(int=number), lane=lane))


def later(seconds: float = 60.0) -> float:
    """So long from now, by the clock of leases."""
    return lease_clock() + seconds


def holding(*parcels: Parcel, seconds: float = 60.0) -> Hands:
    """Hands with these parcels, on leases that last so long."""
    hands = Hands()
    hands.take(parcels, lease_clock(), seconds, probe=False)
    return hands


def order(hands: Hands) -> list[int]:
    """The lanes in which parcels leave."""
    return [found.claim.lane for found in iter(hands.next, None)]


def test_parcels_leave_in_their_order() -> None:
    """Within a lane the first parcel in is the first one out."""
    hands = holding(*(parcel(number) for number in (3, 1, 2)))
    assert [3, 1, 2] == [found.claim.id.int for found in iter(hands.next, None)]


def test_account_mail_goes_first() -> None:
    """What somebody waits for at a screen overtakes notices that came before it."""
    hands = holding(parcel(1, Lane.NOTICE), parcel(2))
    hands.take([parcel(3)], lease_clock(), 60.0, probe=False)
    assert [0, 0, 1] == order(hands)


def test_one_in_four_is_a_notice() -> None:
    """Under a flood of account mail every fourth parcel is a notice."""
    flood = [parcel(number) for number in range(6)]
    notices = [parcel(number, Lane.NOTICE) for number in range(6, 12)]
    assert [0, 0, 0, 1] * 2 == order(holding(*flood, *notices))[:8]


def test_probe_that_waits() -> None:
    """A probe waits in hand until it is started; what is taken beside it does not."""
    hands = Hands()
    hands.take([parcel(1)], lease_clock(), 60.0, probe=True)
    hands.take([parcel(2)], lease_clock(), 60.0, probe=False)
    before, started = hands.probe_waits, hands.next()
    assert started is not None
    assert (1, True, False) == (started.claim.id.int, before, hands.probe_waits)


def test_empty_hands_have_no_parcel() -> None:
    """Where nothing is ready there is nothing next, in any lane's turn."""
    assert [None] * 5 == [Hands().next() for _ in range(5)]


def test_ready_counts_what_waits() -> None:
    """What has been started is in hand, but no longer ready."""
    hands = holding(parcel(1), parcel(2, Lane.NOTICE))
    hands.next()
    assert (1, 2) == (hands.ready, len(hands.claims))


def held(hands: Hands, claim: Claim) -> bool:
    """Whether a final dot may go out."""
    return hands.is_held(claim)


def test_running_lease_is_held() -> None:
    """A lease with a minute to go may be relied on."""
    one = parcel(1)
    assert held(holding(one), one.claim) is True


def test_lease_about_to_end_is_not_held() -> None:
    """Seconds before a lease ends no final dot goes out: clocks may differ."""
    one = parcel(1)
    assert held(holding(one, seconds=4.0), one.claim) is False


def test_unknown_lease_is_not_held() -> None:
    """What is not in hand is not held."""
    assert held(holding(parcel(1)), parcel(2).claim) is False


def test_renewed_lease_is_held_again() -> None:
    """A renewal counts from its own moment."""
    one = parcel(1)
    hands = holding(one, seconds=4.0)
    hands.renew([one.claim], later())
    assert held(hands, one.claim) is True


def test_lease_that_was_not_renewed_runs_out() -> None:
    """Who is not among the renewed keeps its old end."""
    one, other = parcel(1), parcel(2)
    hands = holding(one, other, seconds=4.0)
    hands.renew([one.claim], later())
    assert (True, False) == (held(hands, one.claim), held(hands, other.claim))


def test_renewal_of_what_was_let_go_changes_nothing() -> None:
    """A message that was settled while its lease was renewed is not in hand again."""
    one = parcel(1)
    hands = holding(one)
    hands.drop(one.claim)
    hands.renew([one.claim], later())
    assert ([], False) == (hands.claims, held(hands, one.claim))


def test_emptied_hands_keep_what_is_on_the_wire() -> None:
    """Only what was not started is let go, and it is answered."""
    started, waiting, notice = parcel(1), parcel(2), parcel(3, Lane.NOTICE)
    hands = holding(started, waiting, notice)
    hands.next()
    assert [waiting.claim, notice.claim] == hands.empty()
    assert ([started.claim], 0) == (hands.claims, hands.ready)


def test_probe_is_known() -> None:
    """The parcel that is to find out whether the transport is back is told from the others."""
    probe, other = parcel(1), parcel(2)
    hands = holding(other)
    hands.take([probe], lease_clock(), 60.0, probe=True)
    assert (True, False) == (hands.is_probe(probe.claim), hands.is_probe(other.claim))


def test_settled_probe_is_none_any_more() -> None:
    """When its message is claimed again later, it is a message like others."""
    probe = parcel(1)
    hands = Hands()
    hands.take([probe], lease_clock(), 60.0, probe=True)
    hands.drop(probe.claim)
    hands.take([probe], lease_clock(), 60.0, probe=False)
    assert hands.is_probe(probe.claim) is False


def test_message_that_is_claimed_again_is_another_one_in_hand() -> None:
    """A lease that was lost is not taken for the new one, and its end leaves the new one alone."""
    old = parcel(1)
    new = dataclasses.replace(old, claim=dataclasses.replace(old.claim, lease_token="1" * 32))
    hands = holding(old, seconds=0.0)
    hands.take([new], lease_clock(), 60.0, probe=False)
    assert (False, True) == (hands.is_held(old.claim), hands.is_held(new.claim))
    hands.drop(old.claim)
    assert hands.is_held(new.claim)


def test_message_that_has_outlived_its_time_is_not_held() -> None:
    """Its lease may last: what is past its end does not go out any more."""
    found = parcel(1)
    claim = dataclasses.replace(found.claim, claimed_at=found.claim.expires_at)
    dead = dataclasses.replace(found, claim=claim)
    assert holding(dead).is_held(claim) is False
