"""The one family of errors.

CourierError
├── ConfigError          the configuration cannot work; ``problems`` lists every reason
│   └── SmtpUriError     one SMTP URI cannot be understood
├── SetupError           a call came before, twice, or outside what it needs
├── AddressError         a recipient is not an e-mail address
├── AddressTaken         another account has the address
├── ContextError         a message's context cannot be stored
├── RenderError          a mail template cannot be turned into a mail
└── StatusError          a message was asked to make a move that does not exist
"""

from __future__ import annotations

from collections.abc import Sequence


class CourierError(Exception):
    """Base of every error that flask_courier raises on purpose."""


class ConfigError(CourierError):
    """The configuration cannot work; raised once, with everything that is wrong."""

    #: Every problem found, one sentence each, in the order of the keys.
    problems: tuple[str, ...]

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        lines = "\n".join(f"  - {problem}" for problem in self.problems)
        super().__init__(f"flask_courier cannot start:\n{lines}")


class SmtpUriError(ConfigError):
    """One SMTP URI cannot be understood; the message never repeats the URI."""

    def __init__(self, problem: str) -> None:
        super().__init__((problem,))

    def __str__(self) -> str:
        return self.problems[0]


class SetupError(CourierError):
    """A call came before ``init_app``, twice, or outside an application context."""


class AddressError(CourierError, ValueError):
    """A recipient is not an e-mail address; the message never repeats it."""


class AddressTaken(CourierError):
    """Another account has the address; the message never repeats it."""

    def __init__(self) -> None:
        super().__init__("another account has this address")


class ContextError(CourierError, ValueError):
    """A message's context cannot be stored; names the key, never the value."""


class RenderError(CourierError):
    """A mail template cannot be turned into a mail; names the template."""


class StatusError(CourierError):
    """A message was asked to make a move that ``core.status`` does not list."""
