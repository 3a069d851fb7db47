"""Whatever strangers ask for an owner's address, the owner has a mail that works."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from tests.databases import every_database
from tests.flows.test_limits import count_by_status, grow_old, outcome
from tests.site import Site, path_of
from tests.visitor import Visitor, delivered, mailed, request_mail


@every_database
def test_s11_stranger_cannot_lock_the_owner_out(site: Site) -> None:
    """However often a stranger asks, an owner whose link has run out gets a new one."""
    site.add_user()
    for _ in range(30):
        request_mail(site, "recovery")
    site.deliver()
    grow_old(site, timedelta(minutes=31))
    assert ("sent", None) == outcome(site)


def test_s11_stranger_leaves_a_live_mail(site: Site) -> None:
    """Between the requests of a stranger, the link of the last mail that went out stays good."""
    site.add_user()
    token = mailed(site, "recovery").token
    for _ in range(30):
        request_mail(site, "recovery")
    assert {"sent": 1, "suppressed": 30} == count_by_status(site)
    assert 200 == Visitor(site).redeem("recovery", token)


@every_database
def test_s11_owner_always_has_a_live_mail(site: Site) -> None:
    """Strangers ask every twelve minutes, all day: at every moment a link that works is out."""
    site.add_user()
    links: list[str] = []
    for _ in range(40):
        request_mail(site, "recovery")
        request_mail(site, "recovery")
        links += [found.link or "" for found in delivered(site)]
        assert 303 == Visitor(site).get(path_of(links[-1])).status_code
        grow_old(site, timedelta(minutes=12))
    # Past the twenty of a day it is one for each link that ran out.
    assert 20 < len(links) <= 20 + 40 * 12 / 30


@every_database
def test_s11_guesses_of_one_client(sites: Callable[..., Site]) -> None:
    """Who guesses the codes of many addresses is stopped like who asks for many mails."""
    site = sites(COURIER_REQUESTER_LIMIT="6/10 minutes")
    visitor = Visitor(site)
    answers = [
        visitor.json(f"/account/{flow}/code", email=f"user{number}@example.com", code="12345678")[0]
        for number in range(4)
        for flow in ("recovery", "verification")
    ]
    assert [422] * 6 + [429] * 2 == answers
