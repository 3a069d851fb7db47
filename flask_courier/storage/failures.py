"""What a database says when it cannot do our work, in words for whoever runs a command."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError

from flask_courier.storage import driver_errors
from flask_courier.storage.uow import Conflict

_MISSING = (
    "the tables of flask_courier are not in the database, or are of an older release; run "
    "'flask db upgrade', or db.create_all() in 'flask shell'"
)
_AWAY = (
    "the database cannot be reached, or refuses the login ({}); check that it runs, and "
    "SQLALCHEMY_DATABASE_URI"
)
_REFUSED = "the database refuses the statement ({}); check the rights of its user on the tables"
_BUSY = "another transaction was in the way twice in a row; try again"


class DatabaseFailure(Exception):
    """One sentence: what is wrong and what to do. Names no address and no credentials."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn what a database says in the block into a :class:`DatabaseFailure`."""
    try:
        yield
    except Conflict:
        raise DatabaseFailure(_BUSY) from None
    except (InterfaceError, OperationalError, ProgrammingError) as error:
        raise DatabaseFailure(_sentence(error)) from None


def _sentence(error: DBAPIError) -> str:
    if driver_errors.is_missing(error):
        return _MISSING
    sentence = _REFUSED if isinstance(error, ProgrammingError) else _AWAY
    return sentence.format(driver_errors.sign(error))
