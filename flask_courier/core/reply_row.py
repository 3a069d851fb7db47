"""What a row of the reply table is, and when it speaks."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from flask_courier.core.replies import Outcome, Phase, Reply, Trouble
from flask_courier.core.reply_hints import plain_words

#: Stands among a row's enhanced codes for a reply that carries none.
NO_ENHANCED_CODE = ""


@dataclass(frozen=True)
class End:
    """How an attempt ended: where, and what was said or what broke."""

    phase: Phase
    reply: Reply | None
    trouble: Trouble | None

    @cached_property
    def enhanced_code(self) -> str:
        """Only one whose class agrees with the basic code counts (RFC 3463 section 2)."""
        found = None if self.reply is None else self.reply.enhanced_code
        return NO_ENHANCED_CODE if found is None else found

    @cached_property
    def words(self) -> str:
        """What the server said, without what it may have quoted."""
        return "" if self.reply is None else plain_words(self.reply.text)

    @property
    def reply_class(self) -> int | None:
        """4 for 4yz and so on (RFC 5321 section 4.2.1)."""
        return None if self.reply is None else self.reply.code // 100


@dataclass(frozen=True)
class Row:
    """One line of the table: it speaks for an end that fits everything it names."""

    #: A stable word, explained in ``core.causes``.
    cause: str
    outcome: Outcome
    phases: frozenset[Phase]
    #: Where it is written that it means this.
    source: str
    #: Basic codes, or their first digits; none of either: any reply, or silence.
    codes: Collection[int] = ()
    classes: Collection[int] = ()
    #: Whole enhanced codes, or their beginnings, which end in a dot.
    enhanced: Collection[str] = ()
    text: re.Pattern[str] | None = None
    troubles: Collection[Trouble] = ()
    wait: timedelta | None = None
    suspect: Outcome | None = None

    def fits(self, end: End) -> bool:
        """Whether this row speaks for ``end``."""
        return (
            end.phase in self.phases
            and (not self.troubles or end.trouble in self.troubles)
            and self._fits_code(end)
            and (not self.enhanced or self._fits_enhanced(end.enhanced_code))
            and (self.text is None or self.text.search(end.words) is not None)
        )

    def _fits_code(self, end: End) -> bool:
        if not self.codes and not self.classes:
            return True
        return end.reply is not None and (
            end.reply.code in self.codes or end.reply_class in self.classes
        )

    def _fits_enhanced(self, code: str) -> bool:
        return any(
            code.startswith(wanted) if wanted.endswith(".") else code == wanted
            for wanted in self.enhanced
        )
