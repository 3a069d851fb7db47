"""``Outbox``: the mails of an application under test, delivered when a test looks at them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, overload

from flask_courier.core.accounts import fold
from flask_courier.core.messages import RecordedMessage
from flask_courier.core.status import Status


class Outbox(Sequence[RecordedMessage]):
    """A list of the mails that were accepted so far, each with its link and code in the clear.

    Looking at it delivers first what is due: a test posts a form and reads ``outbox[-1].link``.

    :param deliver: delivers what is due, and answers how often each status was reached.
    :param recorded: what ``Courier.record_messages`` fills.
    """

    def __init__(
        self, deliver: Callable[[], Counter[Status]], recorded: list[RecordedMessage]
    ) -> None:
        self._deliver = deliver
        self._recorded = recorded
        #: How often each status was reached, over all deliveries of this outbox.
        self.outcomes: Counter[Status] = Counter()

    def deliver(self) -> Counter[Status]:
        """Deliver what is due; answer how often each status was reached this time."""
        reached = self._deliver()
        self.outcomes += reached
        return reached

    @property
    def delivered(self) -> list[RecordedMessage]:
        """The mails accepted so far; delivers nothing."""
        return list(self._recorded)

    def to(self, address: str) -> list[RecordedMessage]:
        """The mails to ``address``, oldest first; capitals make no difference."""
        wanted = fold(address)
        return [message for message in self if fold(message.recipient) == wanted]

    def of(self, kind: str) -> list[RecordedMessage]:
        """The mails of ``kind``, such as ``"recovery"``, oldest first."""
        return [message for message in self if message.kind == kind]

    def only(self, kind: str | None = None, *, to: str | None = None) -> RecordedMessage:
        """The one mail of ``kind``, to ``to``, or at all.

        :raises AssertionError: if there is none, or more than one; says what there is.
        """
        found = [
            message
            for message in self
            if (kind is None or message.kind == kind)
            and (to is None or fold(message.recipient) == fold(to))
        ]
        if len(found) != 1:
            what = f"{kind} mail" if kind else "mail"
            whose = " to that address" if to else ""
            raise AssertionError(f"{len(found)} {what}s{whose}, not one; {self._summary()}")
        return found[0]

    def clear(self) -> None:
        """Deliver what is due, then forget every mail."""
        self.deliver()
        self._recorded.clear()

    @overload
    def __getitem__(self, index: int) -> RecordedMessage: ...
    @overload
    def __getitem__(self, index: slice) -> list[RecordedMessage]: ...
    def __getitem__(self, index: int | slice) -> RecordedMessage | list[RecordedMessage]:
        self.deliver()
        if isinstance(index, slice):
            return self._recorded[index]
        try:
            return self._recorded[index]
        except IndexError:
            raise IndexError(f"the outbox has no mail {index}; {self._summary()}") from None

    def __len__(self) -> int:
        self.deliver()
        return len(self._recorded)

    def __iter__(self) -> Iterator[RecordedMessage]:
        self.deliver()
        return iter(self.delivered)

    def __eq__(self, other: object) -> bool:
        """Equal to a list, or an outbox, of the same mails."""
        if isinstance(other, Outbox):
            return list(self) == list(other)
        return list(self) == other if isinstance(other, list) else NotImplemented

    # As a list has none: its content changes.
    __hash__: ClassVar[None] = None  # type: ignore[assignment]  # object says that it is a method

    def __repr__(self) -> str:
        # Shown by a debugger and by pytest, which must deliver nothing.
        return f"<Outbox: {self._summary()}>"

    def _summary(self) -> str:
        kinds = Counter(message.kind for message in self._recorded)
        there = ", ".join(f"{kind} x{n}" for kind, n in sorted(kinds.items())) or "nothing"
        came = ", ".join(f"{status} x{n}" for status, n in sorted(self.outcomes.items()))
        return f"it has {there}; deliveries came to {came or 'nothing'}"
