"""Replies as they come over a real socket: in pieces, out of step, endless, late, or never."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_courier.core.replies import Reply, Trouble
from flask_courier.delivery.envelope import Timeouts
from flask_courier.delivery.wire import DATA, DOT, LONGEST_REPLY, MAIL, QUIT, RCPT, Step, Wire

T = TypeVar("T")
GROUP = (MAIL, RCPT, DATA)


def over_wire(
    work: Callable[[Wire, socket.socket], Coroutine[Any, Any, T]], **timeouts: float
) -> T:
    """Do ``work`` with a wire and the socket at its other end, which does not block."""

    async def run() -> T:
        near, far = socket.socketpair()
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(asyncio.Protocol, sock=near)
        wire = Wire(transport, Timeouts(**timeouts))
        transport.set_protocol(wire)
        far.setblocking(False)  # noqa: FBT003 - the standard library's own signature
        try:
            with far:
                return await asyncio.wait_for(work(wire, far), 20)
        finally:
            wire.abort()
            await asyncio.sleep(0)

    return asyncio.run(run())


def answered(
    answer: bytes, steps: tuple[Step, ...] = (MAIL,), *, piece: int = 2**20, hang_up: bool = False
) -> tuple[list[Reply], Trouble | None]:
    """What a wire makes of ``answer`` to a group of commands, and of what broke."""

    async def work(wire: Wire, far: socket.socket) -> tuple[list[Reply], Trouble | None]:
        loop = asyncio.get_running_loop()
        asking = asyncio.create_task(wire.ask(b"x\r\n", steps))
        assert b"x\r\n" == await loop.sock_recv(far, 100)
        for start in range(0, len(answer), piece):
            if not wire.is_open:
                break
            try:
                await loop.sock_sendall(far, answer[start : start + piece])
            except ConnectionError:
                break
        if hang_up:
            far.close()
        replies = await asking
        return replies, wire.ended.trouble if wire.ended else None

    return over_wire(work)


def test_replies_in_one_piece() -> None:
    """Replies that come together are told apart and stay in order."""
    replies, trouble = answered(b"250 2.1.0 a\r\n251 2.1.5 b\r\n354 c\r\n", GROUP)
    assert [Reply(250, "2.1.0 a"), Reply(251, "2.1.5 b"), Reply(354, "c")] == replies
    assert trouble is None


@pytest.mark.parametrize("piece", [1, 2, 3, 7])
def test_replies_in_pieces(piece: int) -> None:
    """Wherever the stream is cut, the same replies come out."""
    answer = b"250-one\r\n250-two\r\n250 three\r\n250 b\r\n354 c\r\n"
    replies, trouble = answered(answer, GROUP, piece=piece)
    assert [Reply(250, "one\ntwo\nthree"), Reply(250, "b"), Reply(354, "c")] == replies
    assert trouble is None


@pytest.mark.parametrize(
    ("answer", "reply"),
    [
        (b"250\r\n", Reply(250, "")),
        (b"250 \r\n", Reply(250, "")),
        (b"250-\r\n250\r\n", Reply(250, "\n")),
        (b"250 line feed alone\n", Reply(250, "line feed alone")),
        (b"550-5.1.1 a\n550 b\r\n", Reply(550, "5.1.1 a\nb")),
        (b"250 caf\xe9 \x00nul\r\n", Reply(250, "caf\ufffd \x00nul")),
        (b"250 " + "é".encode() + b"\r\n", Reply(250, "é")),
        (b"450 bare\rreturn\r\n", Reply(450, "bare\rreturn")),
    ],
)
def test_reply_that_is_odd_and_understood(answer: bytes, reply: Reply) -> None:
    """Whatever a reply's text holds, its code counts; a line may end with LF alone."""
    assert ([reply], None) == answered(answer)


@pytest.mark.parametrize(
    "answer",
    [
        b"\r\n",
        b"OK\r\n",
        b"25\r\n",
        b"250x\r\n",
        b"-50 no\r\n",
        b" 250 no\r\n",
        b"999 no\r\n",
        b"199 no\r\n",
        b"600 no\r\n",
        "\u0662\u0665\u0660 no\r\n".encode(),
        b"\x00\xff\xfe\r\n",
        b"250-first\r\n550 other\r\n",
        b"250-first\r\nsecond\r\n",
        b"x" * 2**20,
        b"250 " + b"x" * 2**20,
        b"250-x\r\n" * 2**18,
    ],
)
def test_what_is_no_reply(answer: bytes) -> None:
    """No code, two codes, a code out of range, a line or a reply without end: it ends."""
    assert ([], Trouble.OUT_OF_STEP) == answered(answer)


def test_longest_reply() -> None:
    """A reply of many lines below the limit is taken."""
    count = LONGEST_REPLY // 100 - 2
    [reply], trouble = answered(b"250-" + b"x" * 90 + b"\r\n" + b"250-y\r\n" * count + b"250 z\r\n")
    assert (250, count + 2, None) == (reply.code, len(reply.text.splitlines()), trouble)


MISFITS = [
    (MAIL, [220, 221, 235, 251, 354]),
    (RCPT, [220, 221, 235, 354]),
    (DATA, [220, 221, 250, 251, 334]),
    (DOT, [220, 221, 235, 354]),
]


@pytest.mark.parametrize(
    ("step", "code"), [(step, code) for step, codes in MISFITS for code in codes]
)
def test_reply_that_does_not_fit(step: Step, code: int) -> None:
    """A reply that answers another command ends the connection: nothing after it can be trusted."""
    assert ([], Trouble.OUT_OF_STEP) == answered(b"%d no\r\n" % code, (step,))


@pytest.mark.parametrize("step", [MAIL, RCPT, DATA, DOT])
@pytest.mark.parametrize("code", [450, 499, 500, 599])
def test_refusal_fits_everywhere(step: Step, code: int) -> None:
    """Any 4yz and 5yz may answer any command."""
    assert ([Reply(code, "no")], None) == answered(b"%d no\r\n" % code, (step,))


def test_421_ends_the_connection() -> None:
    """421 is an answer, and no other comes after it (RFC 5321 section 3.8)."""
    replies, trouble = answered(b"421 4.3.2 bye\r\n250 OK\r\n354 OK\r\n", GROUP)
    assert ([Reply(421, "4.3.2 bye")], Trouble.DROPPED) == (replies, trouble)


def test_hanging_up_keeps_what_was_said() -> None:
    """Replies that came before the connection ended are answered."""
    replies, trouble = answered(b"550 5.7.1 no\r\n503 5.5", GROUP, hang_up=True)
    assert ([Reply(550, "5.7.1 no")], Trouble.DROPPED) == (replies, trouble)


@pytest.mark.parametrize(
    ("line", "trouble"),
    [(b"250 OK\r\n", Trouble.OUT_OF_STEP), (b"421 4.4.2 idle\r\n", Trouble.DROPPED)],
)
def test_line_that_nobody_asked_for(line: bytes, trouble: Trouble) -> None:
    """It ends an idle connection; 421 is how servers hang up."""

    async def work(wire: Wire, far: socket.socket) -> tuple[bool, Any, list[Reply]]:
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(far, line)
        assert b"" == await loop.sock_recv(far, 1)
        return wire.is_open, wire.ended and wire.ended.trouble, await wire.ask(b"MAIL\r\n", (MAIL,))

    assert (False, trouble, []) == over_wire(work)


def test_silence_is_bounded_by_the_step() -> None:
    """Each reply has its own time, which starts when the one before it has come."""

    async def work(wire: Wire, far: socket.socket) -> tuple[list[Reply], Any]:
        asking = asyncio.create_task(wire.ask(b"x\r\n", GROUP))
        await asyncio.get_running_loop().sock_sendall(far, b"250 a\r\n250 b\r\n")
        return await asking, wire.ended

    replies, ended = over_wire(work, command=15, data=0.1)
    assert (2, Trouble.TIMED_OUT) == (len(replies), ended.trouble)
    assert "no answer within 0.1 seconds" == ended.text


def test_shorter_time_after_a_longer_one() -> None:
    """A wait that is shorter than the one before it ends in its own time, and the reverse."""

    async def work(wire: Wire, far: socket.socket) -> tuple[list[Reply], Any]:
        loop = asyncio.get_running_loop()
        for step in (DATA, DOT):
            asking = asyncio.create_task(wire.ask(b"x\r\n", (step,)))
            await loop.sock_sendall(far, b"450 later\r\n")
            assert 450 == (await asking)[0].code
        return await wire.ask(b"x\r\n", (QUIT,)), wire.ended

    replies, ended = over_wire(work, dot=600, data=15, quit=0.1)
    assert ([], Trouble.TIMED_OUT) == (replies, ended.trouble)


def test_time_runs_only_while_a_reply_is_awaited() -> None:
    """A connection that is idle for longer than any wait is still open."""

    async def work(wire: Wire, far: socket.socket) -> bool:
        asking = asyncio.create_task(wire.ask(b"x\r\n", (MAIL,)))
        await asyncio.get_running_loop().sock_sendall(far, b"250 OK\r\n")
        await asking
        await asyncio.sleep(0.2)
        return wire.is_open

    assert over_wire(work, command=0.1) is True


def test_writing_waits_for_the_reader() -> None:
    """A payload goes out as fast as the server takes it, and is not piled up here."""

    async def work(wire: Wire, far: socket.socket) -> tuple[bool, int]:
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        loop, part = asyncio.get_running_loop(), b"x" * 2**16
        pushing = asyncio.create_task(_push(wire, part, 64))
        done, _ = await asyncio.wait([pushing], timeout=0.2)
        taken = 0
        while taken < 64 * len(part):
            taken += len(await loop.sock_recv(far, 2**20))
        await pushing
        return bool(done), taken

    assert (False, 64 * 2**16) == over_wire(work)


def test_reader_that_stops_is_given_up() -> None:
    """A server that takes no more of a payload is given up (RFC 5321 section 4.5.3.2.5)."""

    async def work(wire: Wire, far: socket.socket) -> Any:
        assert far.fileno() >= 0
        await _push(wire, b"x" * 2**16, 64)
        return wire.ended and wire.ended.trouble

    assert Trouble.TIMED_OUT is over_wire(work, block=0.1)


def test_cancelled_wait_ends_the_connection() -> None:
    """Replies to a group whose task was cancelled answer nobody."""

    async def work(wire: Wire, far: socket.socket) -> tuple[bool, bytes]:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(wire.ask(b"x\r\n", (MAIL,)), 0.05)
        loop = asyncio.get_running_loop()
        said = await loop.sock_recv(far, 100)
        return wire.is_open, said + await loop.sock_recv(far, 100)

    assert (False, b"x\r\n") == over_wire(work)


async def _push(wire: Wire, part: bytes, count: int) -> None:
    for _ in range(count):
        await wire.push(part)


lines = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"250 OK\r\n", b"250-OK\r\n", b"354 go\n", b"550 no\r\n", b"421 bye\r\n"]),
)


@given(pieces=st.lists(lines, max_size=12))
def test_no_reply_is_too_strange(pieces: list[bytes]) -> None:
    """Whatever a server sends, an exchange ends, with replies that fit and text that is valid."""
    replies, trouble = answered(b"".join(pieces), GROUP, hang_up=True)
    assert len(replies) == 3 or trouble is not None
    for step, reply in zip(GROUP, replies, strict=False):
        assert reply.code in step.good or 400 <= reply.code < 600
        assert reply.text == reply.text.encode().decode()
