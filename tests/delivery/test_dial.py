"""Reaching the SMTP server: which address wins, how long it may take, and what went wrong."""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from flask_courier.core.replies import Phase, Trouble
from flask_courier.delivery.dial import Address, connect_first, dial, interleaved
from flask_courier.delivery.envelope import Timeouts
from flask_courier.delivery.fault import Fault
from tests.smtp_server import closed_port

T = TypeVar("T")


class Resolver(asyncio.SelectorEventLoop):
    """An event loop whose names resolve as a test says; everything else is asyncio's."""

    def __init__(self, answer: Callable[[], Any]) -> None:
        super().__init__(selectors.DefaultSelector())
        self._answer = answer

    async def getaddrinfo(self, *_: Any, **__: Any) -> Any:
        """What the test says."""
        answer = self._answer()
        if isinstance(answer, BaseException):
            raise answer
        return await answer if asyncio.iscoroutine(answer) else answer


def resolving(answer: Callable[[], Any], work: Coroutine[Any, Any, T]) -> T:
    """Do ``work`` where names resolve to ``answer``."""
    loop = Resolver(answer)
    try:
        return loop.run_until_complete(work)
    finally:
        loop.close()


def at(port: int, host: str = "127.0.0.1") -> Address:
    """An IPv4 address."""
    return Address(socket.AF_INET, (host, port))


@contextmanager
def silent() -> Iterator[Address]:
    """An address where nobody answers, as if packets were dropped: its backlog is full."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        place = listener.getsockname()
        with socket.create_connection(place), socket.socket() as second:
            second.setblocking(False)  # noqa: FBT003 - the standard library's own signature
            second.connect_ex(place)
            yield at(place[1])


@contextmanager
def listening() -> Iterator[Address]:
    """An address where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield at(listener.getsockname()[1])


async def reached(addresses: list[Address], **timeouts: float) -> tuple[Any, float]:
    """The port that a connection stands to, and the seconds that took."""
    loop = asyncio.get_running_loop()
    begun, patience = loop.time(), Timeouts(**timeouts)
    sock, _ = await connect_first(addresses, patience, begun + patience.dial)
    with sock:
        return sock.getpeername()[1], loop.time() - begun


async def refused(addresses: list[Address], **timeouts: float) -> Fault:
    """Why there is no connection."""
    with pytest.raises(Fault) as caught:
        await reached(addresses, **timeouts)
    assert Phase.DIAL is caught.value.phase
    return caught.value


async def dialled(**timeouts: float) -> Fault:
    """Why there is no connection to a host by name."""
    with pytest.raises(Fault) as caught:
        await dial("mail.acme.example", 587, Timeouts(**timeouts))
    return caught.value


def test_families_take_turns() -> None:
    """The family of the first address begins; no family is left to the end (RFC 8305, 4)."""
    v6 = [Address(socket.AF_INET6, (f"2001:db8::{n}", 25, 0, 0)) for n in range(3)]
    v4 = [at(25, f"192.0.2.{n}") for n in range(2)]
    assert [v6[0], v4[0], v6[1], v4[1], v6[2]] == list(interleaved([*v6, *v4]))
    assert [v4[0], v6[0], v4[1], v6[1]] == list(interleaved([*v4, *v6[:2]]))


def test_silent_address_delays_by_a_quarter_of_a_second() -> None:
    """The next address is tried while the first one is still silent, and wins."""
    with silent() as first, listening() as second:
        port, seconds = asyncio.run(reached([first, second]))
    assert second.place[1] == port
    assert 0.2 <= seconds < 5


def test_refusing_address_delays_nothing() -> None:
    """An address that refuses at once makes room for the next one at once."""
    with closed_port() as closed, listening() as second:
        port, seconds = asyncio.run(reached([at(closed)] * 8 + [second]))
    assert second.place[1] == port
    # Eight staggers would be two seconds.
    assert seconds < 1


def test_losers_are_closed() -> None:
    """Of the connections that were begun, only the winner's socket stays open."""

    async def run() -> list[Any]:
        await reached([first, second])
        return [key for key in selector.get_map().values() if key.fileobj not in own]

    with silent() as first, listening() as second:
        selector = selectors.DefaultSelector()
        loop = asyncio.SelectorEventLoop(selector)
        own = [key.fileobj for key in selector.get_map().values()]
        left = loop.run_until_complete(run())
        loop.close()
    # A socket that is dropped without close() is a ResourceWarning, which fails the test.
    assert [] == left


def test_first_of_two_that_answer_wins() -> None:
    """An address that answers at once leaves the others alone."""
    with listening() as first, listening() as second:
        port, seconds = asyncio.run(reached([first, second]))
    assert first.place[1] == port
    assert seconds < 0.2


def test_each_address_has_its_time() -> None:
    """An address that stays silent is given up, and the fault says so."""
    with silent() as address:
        fault = asyncio.run(refused([address], address=0.1))
    assert (Trouble.TIMED_OUT, "no connection: Connection timed out") == (
        fault.trouble,
        fault.text,
    )


def test_all_addresses_together_have_their_time() -> None:
    """However many addresses are silent, dialling ends."""
    with silent() as address:
        fault = asyncio.run(refused([address] * 50, dial=0.3))
    assert (Trouble.TIMED_OUT, "no connection within 0.3 seconds") == (fault.trouble, fault.text)


def test_nobody_listens() -> None:
    """Where every address refuses alike, it is said once."""
    with closed_port() as closed:
        fault = asyncio.run(refused([at(closed), at(closed, "127.0.0.2")]))
    assert (Trouble.REFUSED, "no connection: Connection refused") == (fault.trouble, fault.text)


def test_addresses_that_fail_in_different_ways() -> None:
    """Each address says what was wrong with it; a refusal is nearer than silence."""
    with closed_port() as closed, silent() as address:
        fault = asyncio.run(refused([address, at(closed, "127.0.0.2")], address=0.4))
    assert Trouble.REFUSED is fault.trouble
    assert (
        "no connection: 127.0.0.2: Connection refused; 127.0.0.1: Connection timed out"
        == fault.text
    )


@pytest.mark.parametrize(
    ("number", "trouble"),
    [
        (socket.EAI_NONAME, Trouble.NO_SUCH_HOST),
        (socket.EAI_AGAIN, Trouble.LOOK_UP),
        (socket.EAI_FAIL, Trouble.LOOK_UP),
    ],
)
def test_name_that_does_not_resolve(number: int, trouble: Trouble) -> None:
    """A name that does not exist is told from a resolver that does not answer."""
    fault = resolving(lambda: socket.gaierror(number, "as the resolver says"), dialled())
    assert (Phase.DIAL, trouble) == (fault.phase, fault.trouble)
    assert "no connection: as the resolver says" == fault.text


def test_name_without_an_address() -> None:
    """A resolver that answers nothing at all is a fault too."""
    fault = resolving(list, dialled())
    assert "no connection: the host name has no address" == fault.text


def test_resolver_that_never_answers() -> None:
    """A look-up takes no longer than dialling may."""
    fault = resolving(lambda: asyncio.sleep(60), dialled(dial=0.1))
    assert (
        Trouble.LOOK_UP,
        "no connection: the host name was not resolved within 0.1 seconds",
    ) == (
        fault.trouble,
        fault.text,
    )


def test_name_that_is_none() -> None:
    """A label that no resolver can be asked for is a name that does not exist."""

    async def run() -> Fault:
        with pytest.raises(Fault) as caught:
            await dial("x" * 64 + ".é", 25, Timeouts())
        return caught.value

    assert Trouble.NO_SUCH_HOST is asyncio.run(run()).trouble


def test_cancelled_dialling_leaves_no_socket() -> None:
    """A dialling that is cancelled closes what it began."""

    async def run() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reached([address, address]), 0.4)

    with silent() as address:
        asyncio.run(run())
