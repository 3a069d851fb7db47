"""How an SMTP exchange ended before its message was accepted."""

from __future__ import annotations

from flask_courier.core.replies import Phase, Reply, Trouble


class Fault(Exception):
    """How far an exchange came, what was said last, and what broke if no reply says it."""

    def __init__(
        self, phase: Phase, text: str, *, reply: Reply | None = None, trouble: Trouble | None = None
    ) -> None:
        super().__init__(phase, text)
        self.phase = phase
        self.text = text
        self.reply = reply
        self.trouble = trouble
