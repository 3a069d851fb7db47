"""Messages that may be what their last workers died of: alone, while nobody waits for long."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import jinja2
import pytest

from flask_courier.delivery import solitude
from flask_courier.delivery.clock import lease_clock
from flask_courier.delivery.hands import Hands
from flask_courier.delivery.solitude import Solitude
from flask_courier.delivery.worker import Worker
from flask_courier.state import state_of
from flask_courier.testing import HOLD, FaultServer
from tests.delivery.mails import eventually, make_due
from tests.delivery.parcels import make_parcel
from tests.faults.scene import (
    TEMPLATES,
    addresses,
    at_work,
    messages,
    queue,
    queue_recoveries,
    wait_until,
)
from tests.observation import statements
from tests.site import Site

MakeSite = Callable[..., Site]

SLOW, SUSPECT, ORDINARY = "slow@a.example", "suspect@b.example", "ordinary@c.example"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let patience end at once, and what is put off be due again soon."""
    monkeypatch.setattr(solitude, "_PATIENCE", 0.0)
    monkeypatch.setattr(solitude, "_APART", timedelta(seconds=0.5))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    """An SMTP server."""
    with FaultServer() as running:
        yield running


def queue_suspect(site: Site, to: str = SUSPECT) -> None:
    """Queue a mail that two workers held and never reported on."""
    message = site.db.metadata.tables["courier_message"]
    with site.app.app_context():
        made = site.courier.send("own/m", to=to, context={"name": "Ada"})
        site.db.session.flush()
        site.db.session.execute(message.update().where(message.c.id == made).values(claims=2))
        site.db.session.commit()


def status(site: Site, recipient: str) -> Any:
    """Where the message to ``recipient`` is."""
    return messages(site)[recipient]["status"]


@pytest.mark.usefixtures("short")
def test_mail_goes_on_beside_a_suspect_and_a_slow_session(
    sites: MakeSite, server: FaultServer
) -> None:
    """A suspect that waits for a slow session does not keep account mail waiting with it."""
    with at_work(sites, server) as site:
        slow = server.on("DOT", HOLD, to=SLOW)
        queue(site, [SLOW])
        slow.wait_for()
        queue_suspect(site)
        queue_recoveries(site, [ORDINARY])
        eventually("sent", lambda: status(site, ORDINARY))
        assert ("processing", "queued") == (status(site, SLOW), status(site, SUSPECT))


@pytest.mark.usefixtures("short")
def test_suspect_goes_when_the_slow_session_ends(sites: MakeSite, server: FaultServer) -> None:
    """A suspect that was put off is taken once nothing else is in hand, and was claimed once."""
    with at_work(sites, server) as site:
        slow = server.on("DOT", HOLD, to=SLOW)
        queue(site, [SLOW])
        slow.wait_for()
        queue_suspect(site)
        queue(site, [ORDINARY])
        eventually("sent", lambda: status(site, ORDINARY))
        slow.release()
        eventually("sent", lambda: status(site, SUSPECT))
        assert 3 == messages(site)[SUSPECT]["claims"]


@pytest.mark.usefixtures("short")
def test_mail_goes_on_beside_a_slow_suspect(sites: MakeSite, server: FaultServer) -> None:
    """A suspect that is taken alone and takes long does not keep other mail waiting."""
    with at_work(sites, server) as site:
        slow = server.on("DOT", HOLD, to=SUSPECT)
        queue_suspect(site)
        slow.wait_for()
        queue(site, [ORDINARY])
        eventually("sent", lambda: status(site, ORDINARY))
        assert "processing" == status(site, SUSPECT)


def test_nothing_is_claimed_beside_a_suspect(
    sites: MakeSite, server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as patience lasts, a suspect is in hand alone."""
    monkeypatch.setattr(solitude, "_PATIENCE", 3600.0)
    with at_work(sites, server) as site:
        slow = server.on("DOT", HOLD, to=SUSPECT)
        queue_suspect(site)
        slow.wait_for()
        queue(site, [ORDINARY])
        with statements(site) as seen:
            # Between the ends of two looks at the queue lies a whole one.
            wait_until(lambda: 2 <= sum(one.startswith("SELECT min(") for one in seen))
        assert "queued" == status(site, ORDINARY)


def holding(*, started: bool) -> Hands:
    """Hands with one parcel, on the wire or not."""
    hands = Hands()
    hands.take([make_parcel()], lease_clock(), 60.0, probe=False)
    if started:
        hands.next()
    return hands


def checked(hands: Hands) -> Solitude:
    """A solitude that is wanted, after one check of what is in hand."""

    async def put_back() -> None:
        hands.empty()

    async def work() -> Solitude:
        made = Solitude(hands, put_back)
        made.note(suspects=True)
        await made.check()
        return made

    return asyncio.run(work())


@pytest.mark.usefixtures("short")
def test_what_is_not_started_is_put_back() -> None:
    """Under a slow server a suspect waits for what is on the wire, not for all that is in hand."""
    hands = holding(started=False)
    assert (True, []) == (checked(hands).is_wanted, hands.claims)


@pytest.mark.usefixtures("short")
def test_what_is_on_the_wire_ends_patience() -> None:
    """Where a session takes long, suspects are put off and other mail is claimed."""
    made = checked(holding(started=True))
    assert (False, solitude._APART) == (made.is_wanted, made.apart)


def test_patience_lasts() -> None:
    """Right after a suspect was found, nothing is claimed, and what is in hand stays there."""
    hands = holding(started=False)
    made = checked(hands)
    assert (True, None, 1) == (made.is_wanted, made.apart, hands.ready)


def looks(site: Site, count: int, *, turn: int) -> Iterator[list[str]]:
    """Whose mail each of so many looks brings; mail is on the wire until the worker waits for it.

    :param turn: how many messages were claimed before.
    """
    worker = Worker(state_of(site.app).worker_parts("test"), in_this_thread)
    worker._turn = turn
    hands = worker._hands
    for _ in range(count):
        look = worker._next_look()
        if look is None:
            for claim in hands.claims:
                hands.drop(claim)
            continue
        taken = look()
        assert taken is not None
        worker._begin(taken)
        while hands.next() is not None:
            pass
        yield [parcel.recipient for parcel in taken.parcels]


async def in_this_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Database work where it is asked for."""
    return function(*arguments)


@pytest.mark.parametrize("turn", range(4))
def test_suspect_behind_account_mail_has_its_turn(sites: MakeSite, turn: int) -> None:
    """A notice that must go alone goes, however much account mail comes, and whenever it came."""
    site = sites(COURIER_SMTP_CONNECTIONS=1)
    present = site.app.jinja_env.loader
    assert present is not None
    site.app.jinja_env.loader = jinja2.ChoiceLoader([jinja2.DictLoader(TEMPLATES), present])
    queue(site, [SLOW])

    async def work() -> list[list[str]]:
        found = looks(site, 30, turn=turn)
        assert [SLOW] == next(found)
        queue_suspect(site)
        queue_recoveries(site, addresses(120))
        make_due(site)
        return list(found)

    assert [SUSPECT] in asyncio.run(work())
