"""A storm of power cuts: nothing is lost, and each copy was on the wire when its worker died."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from flask_courier.delivery.ledger import POISON_CLAIMS
from flask_courier.testing import Connection, FaultServer, ReceivedMessage
from tests.delivery.mails import LONG_AGO
from tests.faults.workers import (
    DIED,
    Crew,
    Hand,
    breathe,
    duplicates,
    queue,
    settle,
    statuses,
    unfinished,
    write_ahead,
)
from tests.observation import update
from tests.site import Site

WORKERS = 4
MESSAGES, FEW = 10_000, 1_000
#: Seconds between two kills.
PAUSE = 0.2
#: Seconds after which a storm ends in any case: three leases long.
LONGEST = 30.0
#: Seconds that the survivors get to finish.
AFTERMATH = 45.0
SESSIONS = 8
#: Messages that wait beside one that ends its workers.
INNOCENT = 30

on_files_and_servers = pytest.mark.parametrize(
    "database_name", ["sqlite", "postgresql"], indirect=True
)


@dataclass
class Storm:
    """What it did."""

    killed: list[Hand] = field(default_factory=list["Hand"])

    def rage(self, crew: Crew, site: Site, *, at_least: int) -> None:
        """Kill and replace workers until nothing waits to be claimed, but not too few."""
        chance = random.Random(2026)  # noqa: S311 - which worker dies is no secret
        end, next_kill = time.monotonic() + LONGEST, time.monotonic()
        while time.monotonic() < end:
            next_kill += PAUSE
            breathe(max(0.0, next_kill - time.monotonic()))
            victim = chance.choice(crew.hands)
            crew.kill(victim)
            self.killed.append(victim)
            crew.hire()
            if len(self.killed) >= at_least and not statuses(site).get("queued"):
                return


def copies(server: FaultServer) -> dict[str, list[ReceivedMessage]]:
    """What was accepted, by recipient."""
    found: dict[str, list[ReceivedMessage]] = defaultdict(list)
    for message in server.messages:
        found[message.recipients[0]].append(message)
    return found


def judge(site: Site, server: FaultServer, storm: Storm, count: int) -> None:
    """Everything that must hold after a storm."""
    received = copies(server)
    everybody = {f"user{number}@example.com" for number in range(count)}
    assert ({"sent": count}, everybody) == (statuses(site), set(received))
    extra = duplicates([message.recipients[0] for message in server.messages])
    assert extra <= SESSIONS * len(storm.killed)
    connections = {connection.number: connection for connection in server.connections}
    judge_repeated(server, received, connections, {hand.name for hand in storm.killed})
    judge_history(site, received, connections)


def judge_repeated(
    server: FaultServer,
    received: dict[str, list[ReceivedMessage]],
    connections: dict[int, Connection],
    killed: set[str],
) -> None:
    """Each mail that came again was on the wire when its worker died, or just off it.

    That is to say: its worker was killed, and it is among the last that this worker brought, as
    many as it has sessions; none of them had its result committed.
    """
    brought: dict[str, list[ReceivedMessage]] = defaultdict(list)
    for message in server.messages:
        brought[str(connections[message.connection].client_name)].append(message)
    for several in received.values():
        assert 1 == len({message.wire for message in several}), "a copy with other bytes"
        for message in several[:-1]:
            worker = str(connections[message.connection].client_name)
            assert worker in killed
            assert any(message is one for one in brought[worker][-SESSIONS:])


def judge_history(
    site: Site, received: dict[str, list[ReceivedMessage]], connections: dict[int, Connection]
) -> None:
    """Of each message one acceptance is known: that of its last copy, whose worker lived on."""
    accepted = [row for row in site.rows("courier_attempt") if row["outcome"] == "accepted"]
    assert len(received) == len(accepted) == len({row["message_id"] for row in accepted})
    recipients = {row["id"]: row["recipient"] for row in site.rows("courier_message")}
    workers: dict[str, set[str]] = defaultdict(set)
    for row in accepted:
        message = received[recipients[row["message_id"]]][-1]
        workers[row["worker"]].add(str(connections[message.connection].client_name))
    assert not [names for names in workers.values() if len(names) != 1]


def weather(site: Site, crew: Crew, server: FaultServer, name: str, count: int) -> None:
    """Queue so many messages and let workers begin."""
    if name == "sqlite":
        write_ahead(site)
    queue(site, count)
    crew.hire(WORKERS)
    server.wait_for(1, 30.0)


@pytest.mark.slow
@on_files_and_servers
def test_ten_thousand_messages_survive(
    site: Site, crews: Callable[..., Crew], sink: FaultServer, database_name: str, database_url: str
) -> None:
    """Of 10,000 messages none is lost while a worker of four is killed every 200 ms."""
    crew = crews(database_url, **sink.config)
    weather(site, crew, sink, database_name, MESSAGES)
    storm = Storm()
    storm.rage(crew, site, at_least=40)
    assert settle(lambda: not unfinished(site), AFTERMATH), statuses(site)
    judge(site, sink, storm, MESSAGES)


@on_files_and_servers
def test_a_thousand_messages_survive(
    site: Site, crews: Callable[..., Crew], sink: FaultServer, database_name: str, database_url: str
) -> None:
    """Of 1,000 messages none is lost, though in the end every worker was killed."""
    crew = crews(database_url, **sink.config)
    weather(site, crew, sink, database_name, FEW)
    storm = Storm()
    storm.rage(crew, site, at_least=4)
    for hand in tuple(crew.hands):
        crew.kill(hand)
        storm.killed.append(hand)
    # Nobody is left who holds a lease: they may as well have run out.
    update(site, "courier_message", lease_until=LONG_AGO)
    crew.hire()
    assert settle(lambda: not unfinished(site), AFTERMATH), statuses(site)
    judge(site, sink, storm, FEW)


def outlives(crew: Crew, hand: Hand, site: Site) -> bool:
    """Wait until the worker has ended, or has nothing left to do; whether it lives."""
    assert settle(lambda: not (crew.runs(hand) and unfinished(site)))
    return crew.runs(hand)


@pytest.mark.slow
@on_files_and_servers
def test_a_message_that_ends_its_workers_is_given_up(
    site: Site, crews: Callable[..., Crew], sink: FaultServer, database_name: str, database_url: str
) -> None:
    """A mail whose rendering ends every process is abandoned as poison, and no other with it."""
    if database_name == "sqlite":
        write_ahead(site)
    queue(site, 1, template="deadly", first=INNOCENT)
    queue(site, INNOCENT)
    crew = crews(database_url, **sink.config)
    deaths = 0
    while unfinished(site):
        [hand] = crew.hire()
        if not outlives(crew, hand, site):
            deaths += 1
            assert (deaths <= POISON_CLAIMS, DIED) == (True, crew.wait(hand))
            # Nobody is left who holds a lease: it may as well have run out.
            update(site, "courier_message", lease_until=LONG_AGO)
    found = {
        (row["recipient"], row["status"], row["reason"]) for row in site.rows("courier_message")
    }
    others = {(f"user{number}@example.com", "sent", None) for number in range(INNOCENT)}
    assert others | {(f"user{INNOCENT}@example.com", "abandoned", "poison")} == found
