"""What the error of a database says, whichever driver tells it: by SQLSTATE, number or words."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

#: What databases say when two transactions met and one must start again: PostgreSQL's SQLSTATEs
#: serialization_failure and deadlock_detected; MySQL's and MariaDB's ER_LOCK_DEADLOCK,
#: ER_LOCK_WAIT_TIMEOUT and ER_CHECKREAD; SQLite's SQLITE_BUSY, which has only words.
_CONFLICT_STATES = frozenset({"40001", "40P01"})
_CONFLICT_NUMBERS = frozenset({1213, 1205, 1020})
_CONFLICT_WORDS = "database is locked"

#: SQLSTATEs of PostgreSQL that pass by themselves: the connection (08), the server's means (53),
#: its shutting down and starting up (57P), a time limit (57014), a lock that is held too long
#: (55P03), a standby that nobody has promoted yet (25006).
_AWAY_STATES = ("08", "53", "57P", "57014", "55P03", "25006")
#: What databases say of themselves and not of a statement. SQLite in words; MySQL and MariaDB in
#: numbers: ER_CON_COUNT_ERROR, ER_OUT_OF_RESOURCES, ER_DBACCESS_DENIED_ERROR,
#: ER_ACCESS_DENIED_ERROR, ER_SERVER_SHUTDOWN, ER_HOST_IS_BLOCKED, ER_HOST_NOT_PRIVILEGED,
#: ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED, ER_OPTION_PREVENTS_STATEMENT (read-only),
#: ER_QUERY_INTERRUPTED, ER_READ_ONLY_MODE, ER_CONNECTION_KILLED.
_AWAY_WORDS = ("locked", "unable to open", "disk I/O", "is full", "readonly", "locking protocol")
_AWAY_NUMBERS = frozenset(
    {1040, 1041, 1044, 1045, 1053, 1129, 1130, 1203, 1226, 1290, 1317, 1836, 1927}
)
#: Numbers from here on are the server's, but for the client library's own (CR_MIN_ERROR to
#: CR_MAX_ERROR).
_FIRST_SERVER_ERROR = 1000
_FIRST_CLIENT_ERROR, _LAST_CLIENT_ERROR = 2000, 3000

#: How databases say that a table or a column is not there: PostgreSQL's SQLSTATEs undefined_table
#: and undefined_column, MySQL's and MariaDB's ER_NO_SUCH_TABLE and ER_BAD_FIELD_ERROR; SQLite's
#: words.
_MISSING_STATES = frozenset({"42P01", "42703"})
_MISSING_NUMBERS = frozenset({1146, 1054})
_MISSING_WORDS = ("no such table", "no such column", "has no column named")


@dataclass(frozen=True)
class _Said:
    #: PostgreSQL's drivers tell it; MySQL's tell HY000 for most.
    state: str | None
    number: int | None
    words: str


def _read(error: DBAPIError) -> _Said:
    original = error.orig
    state = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    arguments: tuple[object, ...] = getattr(original, "args", ())
    first = arguments[0] if arguments else None
    return _Said(
        state=state if isinstance(state, str) else None,
        number=first if isinstance(first, int) else None,
        words=str(original),
    )


def is_conflict(error: DBAPIError) -> bool:
    """Whether ``error`` says that starting the transaction again may well succeed."""
    said = _read(error)
    return (
        said.state in _CONFLICT_STATES
        or said.number in _CONFLICT_NUMBERS
        or _CONFLICT_WORDS in said.words
    )


def is_outage(error: DBAPIError) -> bool:
    """Whether ``error`` says that the database cannot be used now, and nothing of a statement."""
    if error.connection_invalidated:
        return True
    said = _read(error)
    if said.state is not None:
        return said.state.startswith(_AWAY_STATES) or said.state in _CONFLICT_STATES
    if isinstance(error, OperationalError):
        return _is_of_itself(error, said)
    return isinstance(error, InterfaceError)


def _is_of_itself(error: OperationalError, said: _Said) -> bool:
    """Whether an operational error is the server's, and not that of one statement.

    SQLite's and MySQL's drivers call it operational too when a statement names a wrong column.
    """
    if isinstance(error.orig, sqlite3.Error):
        return any(phrase in said.words for phrase in _AWAY_WORDS)
    if said.number is not None and said.number >= _FIRST_SERVER_ERROR:
        is_client_error = _FIRST_CLIENT_ERROR <= said.number < _LAST_CLIENT_ERROR
        return is_client_error or said.number in _CONFLICT_NUMBERS | _AWAY_NUMBERS
    return True


def is_missing(error: DBAPIError) -> bool:
    """Whether ``error`` says that a table or a column is not there."""
    said = _read(error)
    return (
        said.state in _MISSING_STATES
        or said.number in _MISSING_NUMBERS
        or any(phrase in said.words for phrase in _MISSING_WORDS)
    )


def state(error: DBAPIError) -> str | None:
    """The SQLSTATE, if the driver tells it."""
    return _read(error).state


def sign(error: DBAPIError) -> str:
    """What may be shown of ``error``: its words hold host names, users and statements."""
    said = _read(error)
    return said.state or str(type(error.orig).__name__ if said.number is None else said.number)
