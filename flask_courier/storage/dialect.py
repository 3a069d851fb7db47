"""Where SQLite, PostgreSQL and MySQL/MariaDB differ: times, ids, rows that may exist already."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol, cast

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

#: The key of ``Session.info`` under which ``storage.uow`` keeps what a session is bound to.
SCHEMA_KEY = "flask_courier.schema"

#: Native only where it has always existed; elsewhere 32 hexadecimal digits, which sort by time too.
UUID: sa.types.TypeEngine[uuid.UUID] = sa.Uuid(native_uuid=False).with_variant(
    sa.Uuid(), "postgresql"
)
#: In the order of its code points, so that an index finds how an address begins; PostgreSQL would
#: sort as the language of its database does.
FoldedAddress = sa.String(320).with_variant(sa.String(320, collation="C"), "postgresql")
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")


class UtcDateTime(sa.TypeDecorator[datetime]):
    """Aware UTC datetimes with microseconds; MySQL's DATETIME drops those unless it is told."""

    impl = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Store UTC; only PostgreSQL keeps an offset."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive datetime has no place in the queue; pass an aware one")
        value = value.astimezone(timezone.utc)
        return value if dialect.name == "postgresql" else value.replace(tzinfo=None)

    def process_result_value(
        self,
        value: datetime | None,
        dialect: sa.Dialect,  # noqa: ARG002 - SQLAlchemy's own signature
    ) -> datetime | None:
        """Answer UTC, whatever the connection's time zone is."""
        if value is None:
            return None
        if value.tzinfo is None:
            return value.replace(tzinfo=timezone.utc)
        return value.astimezone(timezone.utc)


class db_time(FunctionElement[datetime]):  # noqa: N801 - reads as the SQL function it is
    """The database's own clock, ``offset`` from now: UTC, microseconds (SQLite: milliseconds)."""

    type = UtcDateTime()
    inherit_cache = True

    def __init__(self, offset: timedelta | sa.BindParameter[int] = timedelta(0)) -> None:
        """Say how far from now.

        :param offset: or a parameter that will be :func:`microseconds`.
        """
        value: sa.ColumnElement[Any]
        if not isinstance(offset, timedelta):
            value = offset
        elif offset:
            value = sa.literal(microseconds(offset), sa.BigInteger())
        else:
            # Now is written out: PyMySQL takes no parameters behind the VALUES of many rows.
            value = sa.literal_column("0")
        super().__init__(value)


def microseconds(offset: timedelta) -> int:
    """``offset`` as a parameter of :class:`db_time` takes it."""
    return round(offset / timedelta(microseconds=1))


def _offset(element: db_time, compiler: SQLCompiler, **kw: Any) -> str:
    return compiler.process(element.clauses, **kw)


@compiles(db_time, "sqlite")
def _sqlite_time(element: db_time, compiler: SQLCompiler, **kw: Any) -> str:
    offset = _offset(element, compiler, **kw)
    later = "" if offset == "0" else f", printf('%+.3f seconds', {offset} / 1000000.0)"
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now'{later})"


@compiles(db_time, "postgresql")
def _postgresql_time(element: db_time, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(clock_timestamp() + {_offset(element, compiler, **kw)} * interval '1 microsecond')"


@compiles(db_time, "mysql", "mariadb")
def _mysql_time(element: db_time, compiler: SQLCompiler, **kw: Any) -> str:
    return f"(UTC_TIMESTAMP(6) + INTERVAL {_offset(element, compiler, **kw)} MICROSECOND)"


class Result(Protocol):
    """What our statements are asked for; SQLAlchemy's own type differs between 2.0 and 2.1."""

    @property
    def rowcount(self) -> int:
        """How many rows were matched or written."""
        ...

    @property
    def lastrowid(self) -> int:
        """What LAST_INSERT_ID was given, on MySQL and MariaDB."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """The rows."""
        ...

    def all(self) -> Sequence[Any]:
        """All rows."""
        ...

    def first(self) -> Any:
        """The first row, or None."""
        ...

    def one(self) -> Any:
        """The only row."""
        ...

    def one_or_none(self) -> Any:
        """The only row, or None."""
        ...

    def scalar_one(self) -> Any:
        """The only value of the only row."""
        ...


def run(
    session: Session,
    statement: sa.Executable,
    rows: Sequence[Mapping[str, Any]] | Mapping[str, Any] | None = None,
) -> Result:
    """Execute one of our statements in ``session``'s transaction.

    :param rows: parameters, or many sets of them, to execute it once for each.

    On the connection and not on the session: nothing of the host's is flushed on the way, and the
    schema of the host's metadata can be put in for each statement alone.
    """
    schema = session.info.get(SCHEMA_KEY)
    options = {"schema_translate_map": {None: schema}} if schema else {}
    return cast("Result", session.connection().execute(statement, rows, execution_options=options))


def now(session: Session) -> datetime:
    """The database's time. Reads: a transaction that will write must have written before."""
    moment: datetime = run(session, sa.select(db_time())).scalar_one()
    return moment


@contextmanager
def impatient(session: Session) -> Iterator[None]:
    """Wait for nobody's locks for longer than a second, in each statement of the block.

    Whoever holds them may be a migration of the application's, or somebody's open console. SQLite
    has one lock for all, and a time of its driver's for it.
    """
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        connection.execute(sa.text("SET LOCAL lock_timeout TO '1s'"))
        yield
    elif is_mysql(connection.dialect):
        # It has no such thing for a transaction alone, and the connection is the application's.
        usual = connection.execute(sa.text(_MYSQL_PATIENCE)).one()
        driver = cast("Any", connection.connection.dbapi_connection)
        _set_patience(driver, 1, 1)
        try:
            yield
        finally:
            # On the driver's: whoever reads accounts may have ended the transaction. A connection
            # that is gone has taken its settings along.
            with suppress(Exception):
                _set_patience(driver, *usual)
    else:
        yield


#: For rows, and for tables, which a migration locks.
_MYSQL_PATIENCE = "SELECT @@innodb_lock_wait_timeout, @@lock_wait_timeout"


def _set_patience(driver: Any, rows: int, tables: int) -> None:
    with closing(driver.cursor()) as cursor:
        cursor.execute(f"SET innodb_lock_wait_timeout = {rows:d}, lock_wait_timeout = {tables:d}")


def insert_if_absent(session: Session, table: type[Any], values: Mapping[str, Any]) -> None:
    """Insert a row unless one with its primary key is there."""
    name = dialect_name(session)
    statement: sa.Executable
    if name == "postgresql":
        statement = postgresql.insert(table).values(**values).on_conflict_do_nothing()
    elif name == "sqlite":
        statement = sqlite.insert(table).values(**values).on_conflict_do_nothing()
    else:
        # Not INSERT IGNORE, which locks a row that is there for sharing only: two transactions that
        # both go on to update it then wait for each other.
        key = _key(table)[0]
        statement = (
            mysql.insert(table).values(**values).on_duplicate_key_update({key: getattr(table, key)})
        )
    run(session, statement)


def dialect_name(session: Session) -> str:
    """``postgresql``, ``sqlite``, ``mysql`` or ``mariadb``."""
    return session.connection().dialect.name


def upsert(
    name: str,
    table: type[Any],
    values: Mapping[str, Any],
    changes: Callable[[Any], Mapping[str, Any]],
) -> sa.Executable:
    """A statement that inserts a row, or makes ``changes`` to the one with its primary key.

    Either way the row is locked until the transaction ends.

    :param name: of the dialect.
    :param changes: gets the row that could not be inserted, column by column.
    """
    if name == "postgresql":
        # A SELECT, so that the values may come from a table.
        pg = postgresql.insert(table).from_select([*values], sa.select(*values.values()))
        return pg.on_conflict_do_update(index_elements=_key(table), set_=changes(pg.excluded))
    if name == "sqlite":
        lite = sqlite.insert(table).values(**values)
        return lite.on_conflict_do_update(index_elements=_key(table), set_=changes(lite.excluded))
    my = mysql.insert(table).values(**values)
    return my.on_duplicate_key_update(dict(changes(my.inserted)))


def _key(table: type[Any]) -> list[str]:
    primary_key: Any = cast("sa.Table", table.__table__).primary_key
    return [str(column.name) for column in primary_key]


def is_mysql(dialect: sa.Dialect) -> bool:
    """Whether the database is MySQL or MariaDB."""
    return dialect.name in ("mysql", "mariadb")
