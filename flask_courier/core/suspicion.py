"""Whose fault a refusal is that may be the message's or the transport's.

From RCPT on a reply speaks first for its message: a relay passes on what the recipient's server
said, a dropped connection included. Only when messages for several domains meet the same, and none
gets through, is it the transport's own trouble.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, field

from flask_courier.core.replies import Outcome

#: So many domains must meet it before the transport is blamed.
_DOMAINS = 3
#: Messages remembered for one domain: thousands for a domain whose server is down prove nothing.
_PER_DOMAIN = 32


@dataclass
class Suspicion:
    """The messages in a row, over one transport, whose refusals may be meant for all mail.

    Holds at most 64 messages: those of two domains. The third domain settles the matter.
    """

    #: The suspects' domains, by when a message was first noted.
    _domains: dict[uuid.UUID, str] = field(default_factory=dict[uuid.UUID, str])
    #: What was said of them, by when it was last said.
    _said: dict[uuid.UUID, Outcome] = field(default_factory=dict[uuid.UUID, Outcome])

    def __contains__(self, message_id: uuid.UUID) -> bool:
        """Whether the message has been noted."""
        return message_id in self._domains

    def note_accepted(self) -> None:
        """A message got through: what was noted before was about its messages."""
        self.take()

    def note(
        self, message_id: uuid.UUID, domain: str, suspect: Outcome
    ) -> tuple[Outcome, list[uuid.UUID]] | None:
        """Note a refusal, which means ``suspect`` if it is meant for all mail.

        :param domain: the recipient's; upper and lower case are the same.
        :return: None, or, once messages for three domains were refused with no acceptance between,
            what the transport has (the most common suspicion, of equally common ones the latest)
            and the suspects, each once and the oldest first. They are then forgotten.
        """
        domain = domain.lower()
        self._domains[message_id] = domain
        self._said.pop(message_id, None)
        self._said[message_id] = suspect
        if len(set(self._domains.values())) == _DOMAINS:
            return _most_common(list(self._said.values())), self.take()
        of_domain = [noted for noted, where in self._domains.items() if where == domain]
        if len(of_domain) > _PER_DOMAIN:
            del self._domains[of_domain[0]]
            del self._said[of_domain[0]]
        return None

    def take(self) -> list[uuid.UUID]:
        """The suspects so far, the oldest first; they are forgotten.

        For a breaker that opened for another reason: the transport was bad already, so that these
        messages get their attempt back.
        """
        taken = list(self._domains)
        self._domains.clear()
        self._said.clear()
        return taken


def _most_common(said: list[Outcome]) -> Outcome:
    # most_common keeps the order of equal counts as they were first met.
    return Counter(reversed(said)).most_common(1)[0][0]
