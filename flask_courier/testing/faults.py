"""What goes wrong, and when: the script that a ``FaultServer`` follows.

A rule names verbs, says which of their occurrences it is for, and what happens then. Rules are
asked in the order in which they were written; the first that is for this occurrence has its way,
and where none is, the server answers as a friendly one does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import final

from flask_courier.testing.records import Connection, ReceivedMessage

#: Where a script can step in. BANNER is the greeting, BODY the payload on its way, DOT the answer
#: to the end of the payload, AUTH the verdict on a login; the others are commands.
VERBS = (
    "BANNER", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BODY", "DOT", "RSET", "NOOP",
    "QUIT",
)  # fmt: skip


@dataclass(frozen=True)
class Fault:
    r"""One thing that goes wrong; what is not said here stays as a friendly server has it.

    ::

        Fault("550 5.1.1 no such user")  # this reply; a line end is added
        Fault(b"\x00\xff")  # these bytes, with nothing added
        Fault(delay=2.0)  # the friendly reply, late
        Fault(pace=0.01)  # the friendly reply, byte by byte
        Fault("421 4.3.2 bye", drop=False)  # a 421 that does not hang up
        Fault(drop=True, keep=True)  # at DOT: the mail is taken, and nobody is told
    """

    #: What is said. Lines of a text may end with LF or CRLF; bytes go out as they are.
    #: None: the friendly reply, or no word at all if the connection is dropped.
    reply: str | bytes | None = None
    #: Seconds before anything is said; what the client sends meanwhile waits.
    delay: float = 0.0
    #: Seconds between one byte of the reply and the next.
    pace: float | None = None
    #: Hang up afterwards. None: only after a 421, as RFC 5321 section 3.8 has it.
    drop: bool | None = None
    #: Hang up with a TCP reset.
    reset: bool = False
    #: Say nothing before ``Rule.release``; what the client sends meanwhile waits.
    hold: bool = False
    #: Say the reply over and over until the client hangs up.
    endless: bool = False
    #: Whether what was asked for happens (the mail is kept, the login holds), whatever is said.
    #: None: if the reply is a positive one.
    keep: bool | None = None

    def wire(self) -> bytes | None:
        """What is said, as bytes."""
        if self.reply is None or isinstance(self.reply, bytes):
            return self.reply
        lines = self.reply.replace("\r\n", "\n").removesuffix("\n").split("\n")
        return b"".join(line.encode("utf-8", "surrogateescape") + b"\r\n" for line in lines)


#: Hang up without a word.
DROP = Fault(drop=True)
#: Hang up with a TCP reset.
RESET = Fault(reset=True)
#: Say nothing before ``Rule.release`` is called.
HOLD = Fault(hold=True)
#: Bytes that are no SMTP reply.
GARBAGE = Fault(b"\x00\xff\xfe\x80 this is not SMTP\r\n")


@dataclass(frozen=True)
class Event:
    """What a script may look at when its verb comes."""

    verb: str
    #: The command as it came, without its line end; empty for BANNER, BODY and DOT, and for AUTH.
    line: bytes = field(repr=False)
    connection: Connection
    #: The sender, once MAIL was accepted.
    sender: str | None = field(default=None, repr=False)
    #: The recipient that RCPT names now; for the other verbs all that were accepted so far.
    recipients: tuple[str, ...] = field(default=(), repr=False)
    #: How many bytes of the payload have come, for BODY.
    size: int = 0
    #: The mail as it will be kept, for DOT.
    message: ReceivedMessage | None = field(default=None, repr=False)


Reaction = Fault | str | bytes | None
Action = Reaction | Sequence[Reaction] | Callable[[Event], Reaction]


@dataclass(frozen=True)
class Choice:
    """Which occurrences of its verbs a rule is for; all that is given must agree."""

    to: str | None = None
    connection: int | None = None
    when: Callable[[Event], bool] | None = None
    nth: int | None = None
    every: int | None = None
    times: int | None = None
    body_bytes: int = 1

    def suits(self, event: Event) -> bool:
        """Whether it is for this kind of occurrence, counted or not."""
        return (
            (self.connection is None or self.connection == event.connection.number)
            and (self.to is None or any(_is_for(self.to, one) for one in event.recipients))
            and (event.verb != "BODY" or event.size >= self.body_bytes)
            and (self.when is None or self.when(event))
        )

    def counts(self, seen: int, hits: int) -> bool:
        """Whether it is this one's turn: the ``seen``-th that suits, after ``hits`` strikes."""
        return (
            (self.nth is None or self.nth == seen)
            and (self.every is None or seen % self.every == 0)
            and (self.times is None or hits < self.times)
        )


@final
class Rule:
    """One line of a script. ``FaultServer.on`` makes it; as a context manager it removes itself."""

    def __init__(
        self, script: Script, verbs: frozenset[str], action: Action, choice: Choice
    ) -> None:
        self._script = script
        self.verbs = verbs
        self._action = action
        self.choice = choice
        self._seen = 0
        self._turns = 0
        self._hits = 0
        self._released = False
        self._held: list[Callable[[], None]] = []

    @property
    def hits(self) -> int:
        """How often it has struck."""
        return self._hits

    def wait_for(self, hits: int = 1, timeout: float = 10.0) -> None:
        """Wait until it has struck ``hits`` times in all.

        :param timeout: seconds.
        :raises TimeoutError: if it has not by then.
        """
        with self._script.changed:
            if self._script.changed.wait_for(lambda: self._hits >= hits, timeout):
                return
        verbs = ", ".join(sorted(self.verbs))
        raise TimeoutError(
            f"the rule for {verbs} struck {self._hits} of {hits} times within {timeout:g} seconds; "
            f"{self._seen} occurrences suited it"
        )

    def remove(self) -> None:
        """Take it out of the script; what it holds stays held."""
        self._script.remove(self)

    def release(self) -> None:
        """Let everything go that it holds, and take it out of the script."""
        self.remove()
        self._script.call_soon(self._let_go)

    def hold(self, go_on: Callable[[], None]) -> None:
        """Call ``go_on`` when it is released; on the server's thread only."""
        if self._released:
            go_on()
        else:
            self._held.append(go_on)

    def strike(self, event: Event) -> Fault | None:
        """What it does to this occurrence, if anything; on the server's thread only."""
        if event.verb not in self.verbs or not self.choice.suits(event):
            return None
        self._seen += 1
        if not self.choice.counts(self._seen, self._hits):
            return None
        reaction = self._react(event)
        if reaction is None:
            return None
        with self._script.changed:
            self._hits += 1
            self._script.changed.notify_all()
        return reaction if isinstance(reaction, Fault) else Fault(reaction)

    def _react(self, event: Event) -> Reaction:
        action = self._action
        if isinstance(action, (str, bytes, Fault)) or action is None:
            return action
        if callable(action):
            return action(event)
        self._turns += 1
        return action[self._turns - 1] if self._turns <= len(action) else None

    def _let_go(self) -> None:
        self._released = True
        held, self._held = self._held, []
        for go_on in held:
            go_on()

    def __enter__(self) -> Rule:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Script:
    """The rules of one server, in the order in which they were written."""

    def __init__(self, changed: threading.Condition) -> None:
        self.changed = changed
        #: Runs a callable on the server's thread; does nothing while the server is stopped.
        self.call_soon: Callable[[Callable[[], None]], None] = lambda _: None
        self._rules: tuple[Rule, ...] = ()
        self._watched: frozenset[str] = frozenset()

    def add(self, verbs: str | Iterable[str], action: Action, choice: Choice) -> Rule:
        """Write a rule at the end."""
        named = frozenset([verbs] if isinstance(verbs, str) else verbs)
        unknown = sorted(named.difference(VERBS))
        if unknown or not named:
            raise ValueError(
                f"a script has no verb {unknown[0]!r}; it has {', '.join(VERBS)}"
                if unknown
                else f"a rule needs a verb: {', '.join(VERBS)}"
            )
        rule = Rule(self, named, action, choice)
        self._replace((*self._rules, rule))
        return rule

    def remove(self, rule: Rule) -> None:
        """Take a rule out, if it is there."""
        self._replace(tuple(other for other in self._rules if other is not rule))

    def clear(self) -> tuple[Rule, ...]:
        """Take every rule out; answer them."""
        rules = self._rules
        self._replace(())
        return rules

    def watches(self, verb: str) -> bool:
        """Whether any rule is about ``verb``."""
        return verb in self._watched

    def judge(self, event: Event, done: set[Rule] | None = None) -> tuple[Rule, Fault] | None:
        """The first rule that strikes, and its fault.

        :param done: rules that have looked at this payload; those that strike are added.
        """
        for rule in self._rules:
            if done is not None and (rule in done or not rule.choice.suits(event)):
                continue
            if done is not None:
                done.add(rule)
            fault = rule.strike(event)
            if fault is not None:
                return rule, fault
        return None

    def _replace(self, rules: tuple[Rule, ...]) -> None:
        with self.changed:
            self._rules = rules
            self._watched = frozenset(verb for rule in rules for verb in rule.verbs)


def _is_for(wanted: str, address: str) -> bool:
    """Whether ``address`` is ``wanted``, or lies in its domain if that is ``@domain``."""
    address, wanted = address.lower(), wanted.lower()
    return address.endswith(wanted) if wanted.startswith("@") else address == wanted
