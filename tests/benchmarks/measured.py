"""Looks inside our own process: where its time goes, how long its claims take."""

from __future__ import annotations

import cProfile
import pstats
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import sqlalchemy as sa

from tests.site import Site

#: What a file or a built-in function is counted as; the first that matches.
_GROUPS: tuple[tuple[str, str], ...] = (
    (r"flask_courier/(storage|delivery|flows|core|web)/", r"ours: \1"),
    (r"flask_courier/", "ours: rest"),
    (r"sqlalchemy/", "sqlalchemy"),
    (r"(jinja2|markupsafe)/|^<template>|/templates/", "jinja"),
    (r"psycopg|sqlite3|pymysql", "database driver"),
    (r"aiosmtplib/", "aiosmtplib"),
    (r"asyncio/|selectors\.py", "asyncio"),
    (r"/email/|quopri|base64", "email (stdlib)"),
    (r"hmac|hashlib|secrets|itsdangerous|random", "hashing, signing"),
    (r"logging/", "logging"),
    (r"json/", "json"),
    (r"flask|werkzeug|click|blinker", "flask"),
)
_BUILT_IN: tuple[tuple[str, str], ...] = (
    (r"epoll|select\.|acquire|time\.sleep|'wait'|SimpleQueue", "waiting"),
    (r"sqlite3|psycopg|pq\.", "database driver"),
    (r"send' of '_socket|recv|_socket", "sockets"),
    (r"_hashlib|hmac|sha256|blake", "hashing, signing"),
)

_Place = tuple[str, int, str]


def _group(place: _Place) -> str | None:
    """What a place is counted as; None for a built-in function, which its callers answer for."""
    file, _line, name = place
    if file == "~":
        return next((group for pattern, group in _BUILT_IN if re.search(pattern, name)), None)
    for pattern, group in _GROUPS:
        if match := re.search(pattern, file):
            return match.expand(group)
    return "other"


def shares_of(stats: pstats.Stats) -> dict[str, float]:
    """The share of the working time by module; what a built-in function costs goes to its callers.

    Waiting is told beside it, as a share of the same.
    """
    seconds: Counter[str] = Counter()
    table: dict[_Place, Any] = stats.stats  # type: ignore[attr-defined]  # public, but not in typeshed
    for place, (_calls, _primitive, own, _total, callers) in table.items():
        group = _group(place)
        if group is not None or not callers:
            seconds[group or "other"] += own
            continue
        for caller, (_n, _p, own_there, _t) in callers.items():
            seconds[_group(caller) or "other"] += own_there
    waiting = seconds.pop("waiting", 0.0)
    working = sum(seconds.values()) or 1.0
    shares = {group: own / working for group, own in seconds.most_common()}
    return {**shares, "(waiting, beside it)": waiting / working}


def dearest(stats: pstats.Stats, count: int = 20) -> dict[str, float]:
    """The functions with the most seconds of their own, waiting left out."""
    table: dict[_Place, Any] = stats.stats  # type: ignore[attr-defined]  # public, but not in typeshed
    own = {place: entry[2] for place, entry in table.items() if _group(place) != "waiting"}
    first = sorted(own, key=lambda place: own[place], reverse=True)[:count]
    return {
        f"{name} ({'/'.join(file.split('/')[-2:])}:{n})": own[file, n, name]
        for file, n, name in first
    }


@contextmanager
def profiling(*, wanted: bool) -> Iterator[dict[str, dict[str, float]]]:
    """Profile this thread and each one that starts meanwhile.

    At the end ``shares`` has the working time by module, ``dearest`` the seconds by function.
    """
    found: dict[str, dict[str, float]] = {}
    if not wanted:
        yield found
        return
    profiles = [cProfile.Profile()]

    def begin(_frame: FrameType, _event: str, _argument: object) -> None:
        profile = cProfile.Profile()
        profiles.append(profile)
        profile.enable()

    threading.setprofile(begin)
    profiles[0].enable()
    try:
        yield found
    finally:
        profiles[0].disable()
        threading.setprofile(None)
        stats = pstats.Stats(profiles[0])
        for profile in profiles[1:]:
            profile.create_stats()
            stats.add(profile)
        found.update(shares=shares_of(stats), dearest=dearest(stats))


@contextmanager
def claim_times(site: Site, *, wanted: bool) -> Iterator[list[float]]:
    """How many ms each statement took that took messages out of the queue, with its rows fetched.

    Told by its text, so that no name inside the package is needed: it updates ``courier_message``
    and counts ``claims`` up.
    """
    found: list[float] = []
    if not wanted:
        yield found
        return
    with site.app.app_context():
        engine = site.db.engine

    def begin(connection: sa.Connection, *_words: object) -> None:
        connection.info["began"] = time.perf_counter()

    def finish(connection: sa.Connection, _cursor: object, statement: str, *_words: object) -> None:
        if statement.startswith(("UPDATE courier_message", "WITH")) and re.search(
            r"claims\s*=\s*\(?(courier_message\.)?claims \+", statement
        ):
            found.append((time.perf_counter() - connection.info["began"]) * 1000)

    sa.event.listen(engine, "before_cursor_execute", begin)
    sa.event.listen(engine, "after_cursor_execute", finish)
    try:
        yield found
    finally:
        sa.event.remove(engine, "before_cursor_execute", begin)
        sa.event.remove(engine, "after_cursor_execute", finish)


_NEW_ID = {"sqlite": "lower(hex(randomblob(16)))", "postgresql": "gen_random_uuid()"}


def multiply_finished(site: Site, count: int) -> None:
    """Copy the sent messages under new ids until there are ``count``; ages stay as they are."""
    with site.app.app_context():
        engine = site.db.engine
        table = site.db.metadata.tables["courier_message"]
        columns = ", ".join(column.name for column in table.columns if column.name != "id")
        copy = (
            f"INSERT INTO courier_message (id, {columns})"
            f" SELECT {_NEW_ID[engine.dialect.name]}, {columns} FROM courier_message"
            " WHERE status = 'sent' LIMIT {}"
        )
        with engine.begin() as connection:
            query = sa.text("SELECT count(*) FROM courier_message WHERE status = 'sent'")
            present: int = connection.scalar(query) or 0
            while 0 < present < count:
                step = min(present, count - present)
                connection.exec_driver_sql(copy.format(step))
                present += step
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            # As autovacuum does in time: the planner must know how many rows there are.
            connection.exec_driver_sql("ANALYZE courier_message")
