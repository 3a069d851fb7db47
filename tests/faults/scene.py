"""What fault tests have in common: a site at work, mails for it, and time that is moved by hand.

A worker waits for a breaker or a retry by the database's clock. Nobody waits with it: ``hurry``
moves those times into the past and wakes it.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import jinja2
import sqlalchemy as sa

from flask_courier.testing import FaultServer
from tests.delivery.mails import LONG_AGO
from tests.delivery.threads import embedded
from tests.observation import update
from tests.site import Site

MakeSite = Callable[..., Site]

LOGIN = ("mailer@acme.example", "s3cret/+pass word")
#: Lines of a mail that no socket buffers between two processes hold at once: some 24 MB.
MANY_LINES = 340_000
TEMPLATES = {
    "own/m.subject.txt": "Hello",
    "own/m.txt": "hello {{ name }}\n",
    "own/big.subject.txt": "Large",
    "own/big.txt": "{% set line = 'x' * 70 ~ '\\n' %}{{ line * " + str(MANY_LINES) + " }}",
}
#: Seconds; what takes longer has hung.
DEADLINE = 60.0
_LOOK = 0.02


@contextmanager
def at_work(sites: MakeSite, server: FaultServer, **config: Any) -> Iterator[Site]:
    """A site whose worker is a thread and delivers to ``server``, to the end of the block."""
    site = sites(**{"COURIER_WORKER": "thread", **server.config, **config})
    present = site.app.jinja_env.loader
    assert present is not None
    site.app.jinja_env.loader = jinja2.ChoiceLoader([jinja2.DictLoader(TEMPLATES), present])
    try:
        yield site
    finally:
        # A session may wait for an answer that a script keeps back.
        server.forgive()
        embedded(site).stop()


def addresses(count: int, *, domains: int | None = None) -> list[str]:
    """Different addresses; each in a domain of its own, or in so many."""
    spread = domains or count
    return [f"user{number}@domain{number % spread}.example" for number in range(count)]


def queue(site: Site, recipients: Iterable[str], template: str = "own/m") -> list[uuid.UUID]:
    """Queue one notice for each recipient, in one transaction; answer their ids."""
    with site.app.app_context():
        made = [
            site.courier.send(template, to=recipient, context={"name": "Ada"})
            for recipient in recipients
        ]
        site.db.session.commit()
    return made


def queue_recoveries(site: Site, recipients: Iterable[str]) -> None:
    """Queue a recovery mail for each recipient, who gets an account first."""
    chosen = list(recipients)
    for recipient in chosen:
        site.add_user(recipient)
    request_recoveries(site, chosen)


def request_recoveries(site: Site, recipients: Iterable[str]) -> None:
    """Queue a recovery mail for each recipient, who has an account, in one transaction."""
    with site.app.app_context():
        for recipient in recipients:
            site.courier.request_recovery(recipient)
        site.db.session.commit()


def hurry(site: Site) -> None:
    """Let what waits be due, and the breaker be probed; wake the worker.

    A probe that is under way is left alone: moved, its turn would be another worker's too.
    """
    message = site.db.metadata.tables["courier_message"]
    transport = site.db.metadata.tables["courier_transport"]
    under_way = sa.select(message.c.id).where(message.c.status == "processing")
    with site.app.app_context(), site.db.engine.begin() as connection:
        connection.execute(
            message.update()
            .where(message.c.status == "queued", message.c.next_attempt_at > LONG_AGO)
            .values(next_attempt_at=LONG_AGO)
        )
        connection.execute(
            transport.update()
            .where(transport.c.breaker == "open", ~under_way.exists())
            .values(next_probe_at=LONG_AGO)
        )
    embedded(site).wake()


def probe_now(site: Site) -> None:
    """Let the breaker be probed, whatever is in whose hands; wake the worker."""
    update(site, "courier_transport", next_probe_at=LONG_AGO)
    embedded(site).wake()


def counts(site: Site) -> Counter[str]:
    """How many messages there are of each status."""
    message = site.db.metadata.tables["courier_message"]
    chosen = sa.select(message.c.status, sa.func.count()).group_by(message.c.status)
    with site.app.app_context(), site.db.engine.connect() as connection:
        return Counter({row[0]: row[1] for row in connection.execute(chosen)})


def is_settled(site: Site) -> bool:
    """Whether every message has come to its end."""
    return not {"queued", "processing"} & counts(site).keys()


def is_idle(site: Site) -> bool:
    """Whether nothing is in a worker's hands."""
    return "processing" not in counts(site)


def wait_until(
    reached: Callable[[], bool],
    between: Callable[[], object] = lambda: None,
    *,
    timeout: float = DEADLINE,
) -> None:
    """Look until ``reached``, and do ``between`` after every look that finds it is not."""
    end, pause = time.monotonic() + timeout, threading.Event()
    while not reached():
        assert time.monotonic() < end, f"this did not come true within {timeout:g} seconds"
        between()
        pause.wait(_LOOK)


def settle(site: Site, *, timeout: float = DEADLINE) -> None:
    """Let the worker work, without any wait of its own, until every message is at its end."""
    wait_until(lambda: is_settled(site), lambda: hurry(site), timeout=timeout)


def messages(site: Site) -> dict[str, dict[str, Any]]:
    """The one message to each recipient."""
    rows = site.rows("courier_message")
    found = {row["recipient"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def column(site: Site, table: str, name: str) -> Counter[Any]:
    """How often each value stands in a column."""
    return Counter(row[name] for row in site.rows(table))


def copies(server: FaultServer) -> Counter[str]:
    """How many mails the server took for each recipient."""
    return Counter(one for message in server.messages for one in message.recipients)


def transport(site: Site) -> dict[str, Any]:
    """The row of the one transport."""
    [row] = site.rows("courier_transport")
    return row


def is_open(site: Site) -> bool:
    """Whether the transport's breaker is open."""
    return any(row["breaker"] == "open" for row in site.rows("courier_transport"))


def opened(site: Site) -> None:
    """Wait until the breaker has opened and the sessions that ran into it have ended."""
    wait_until(lambda: is_open(site) and is_idle(site))


def probe_again(site: Site) -> None:
    """Let one interval of the open breaker pass, and see its probe fail."""
    faults = transport(site)["faults"]
    hurry(site)
    wait_until(lambda: transport(site)["faults"] > faults and is_idle(site))
