"""The rows of schedules: declared by code, added and changed by people, never by themselves.

Each function takes the writing connection and is done when it returns. It may be called again after
it failed because somebody else had the lock.
"""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain, count
from operator import attrgetter
from typing import Any

from taskflow.schedules.rows import ScheduleRow
from taskflow.stores.sqlite.transactions import transaction

Row = tuple[Any, ...]
#: (name, func_name, declared), as the code says.
Declared = tuple[str, str, str]

#: Rows a statement. Each statement, and each row that is fetched, gives the interpreter lock away,
#: which a busy event loop returns 5 ms later: their number counts. Short statements are padded.
SIZES = (1, 4, 16, 64, 256)

_COLUMNS = tuple(ScheduleRow.__dataclass_fields__)
#: SQLite itself writes fewer digits of a number into JSON than it takes to read the same one.
_DIGITS = "CASE WHEN {0} IS NOT NULL THEN printf('%!.17g', {0}) END"
_TIMES = ("paused_at", "cursor")
#: As one row, see `read_all`: there may be thousands.
ALL = (
    "SELECT json_group_array(json_array("
    + ", ".join(_DIGITS.format(name) if name in _TIMES else name for name in _COLUMNS)
    + ")) FROM schedules"
)
ONE = f"SELECT {', '.join(_COLUMNS)} FROM schedules WHERE name = ?"
STAMP = "SELECT version, removals FROM schedules_stamp WHERE id = 1"
GIVE_VERSIONS = "UPDATE schedules_stamp SET version = version + ? WHERE id = 1"
COUNT_REMOVAL = "UPDATE schedules_stamp SET removals = removals + 1 WHERE id = 1"
#: As one row, too.
KNOWN = (
    "SELECT json_group_array(json_array(name, func_name, declared)) FROM schedules"
    " WHERE origin = 'code'"
)
_NEW = ("name", "func_name", "origin", "declared", "version", "anchor", "cursor")
_OLD = "CASE WHEN json_valid(schedules.declared) THEN schedules.declared ELSE '{}' END"
_SAME_RULE = " AND ".join(
    f"json_extract({_OLD}, '$.{name}') IS json_extract(excluded.declared, '$.{name}')"
    for name in ("cron", "every", "timezone")
)
#: What people changed and paused stays as it is, but for arguments of another function. What was
#: missed by the same rule is still to be made up for.
_DECLARE = (
    "ON CONFLICT (name) DO UPDATE SET func_name = excluded.func_name, origin = excluded.origin,"
    " declared = excluded.declared, version = excluded.version,"
    f" cursor = CASE WHEN {_SAME_RULE} THEN schedules.cursor ELSE excluded.cursor END,"
    " changes = CASE WHEN schedules.func_name <> excluded.func_name AND json_valid(changes)"
    " THEN nullif(json_remove(changes, '$.args'), '{}') ELSE changes END"
)
CHANGE = (
    "UPDATE schedules SET changes = ?, version = ?, cursor = coalesce(?, cursor) WHERE name = ?"
)
VERSION = "SELECT version FROM schedules WHERE name = ?"
PAUSE = "UPDATE schedules SET paused_by = ?, paused_at = ?, version = ? WHERE name = ?"
RESUME = (
    "UPDATE schedules SET paused_by = NULL, paused_at = NULL, version = ?, cursor = ?"
    " WHERE name = ?"
)
IS_PAUSED = "SELECT paused_at IS NOT NULL FROM schedules WHERE name = ?"
REMOVE = "DELETE FROM schedules WHERE name = ?"
REMOVE_FIRINGS = "DELETE FROM firings WHERE schedule = ?"


def read_all(text: str) -> list[ScheduleRow]:
    """The answer to `ALL`, by name."""
    times = [_COLUMNS.index(name) for name in _TIMES]
    rows = json.loads(text)
    for row in rows:
        for index in times:
            row[index] = None if row[index] is None else float(row[index])
    return sorted((ScheduleRow(*row) for row in rows), key=attrgetter("name"))


def in_parts(rows: Sequence[Row]) -> Iterable[tuple[int, list[Row]]]:
    """All ``rows``, each part padded with its last row to one of `SIZES`, which is told."""
    for start in range(0, len(rows), SIZES[-1]):
        part = list(rows[start : start + SIZES[-1]])
        size = next(size for size in SIZES if size >= len(part))
        part += [part[-1]] * (size - len(part))
        yield size, part


def marks(width: int, size: int) -> str:
    """The place of so many rows of so many values in a statement."""
    return ", ".join([f"({', '.join('?' * width)})"] * size)


@cache
def _insert(table: str, columns: tuple[str, ...], conflict: str, size: int) -> str:
    return (
        f"INSERT INTO {table} ({', '.join(columns)}) VALUES {marks(len(columns), size)} {conflict}"
    )


def insert(
    connection: sqlite3.Connection,
    table: str,
    columns: tuple[str, ...],
    rows: Sequence[Row],
    conflict: str = "ON CONFLICT DO NOTHING",
) -> None:
    """Insert ``rows``; ``conflict`` must be such that a row may be inserted twice."""
    for size, part in in_parts(rows):
        statement = _insert(table, columns, conflict, size)
        connection.execute(statement, tuple(chain.from_iterable(part)))


def _new_versions(connection: sqlite3.Connection, wanted: int = 1) -> int:
    """The first of so many versions that nobody had before."""
    connection.execute(GIVE_VERSIONS, (wanted,))
    return int(connection.execute(STAMP).fetchone()[0]) - wanted + 1


def declare(connection: sqlite3.Connection, declared: Iterable[Declared], now: float) -> None:
    """See `taskflow.stores.base.Store.declare_schedules`."""
    wanted = {row[0]: row for row in declared}
    # Nearly every start finds everything as it was, and needs no transaction.
    if not _unknown(connection, wanted):
        return
    with transaction(connection):
        new = _unknown(connection, wanted)
        versions = count(_new_versions(connection, len(new)))
        rows = [
            (name, func_name, "code", text, version, int(now), now)
            for (name, func_name, text), version in zip(new, versions, strict=False)
        ]
        insert(connection, "schedules", _NEW, rows, _DECLARE)


def _unknown(connection: sqlite3.Connection, wanted: dict[str, Declared]) -> list[Declared]:
    (text,) = connection.execute(KNOWN).fetchone()
    known = set(map(tuple, json.loads(text)))
    return [row for row in wanted.values() if row not in known]


def add(
    connection: sqlite3.Connection, name: str, func_name: str, declared: str, now: float
) -> bool:
    """See `taskflow.stores.base.Store.add_schedule`."""
    with transaction(connection):
        if _is_paused(connection, name) is not None:
            return False
        version = _new_versions(connection)
        row = (name, func_name, "run time", declared, version, int(now), now)
        insert(connection, "schedules", _NEW, [row])
        return True


def change(
    connection: sqlite3.Connection,
    name: str,
    changes: str | None,
    version: int,
    cursor: float | None,
) -> bool:
    """See `taskflow.stores.base.Store.change_schedule`."""
    with transaction(connection):
        if connection.execute(VERSION, (name,)).fetchone() != (version,):
            return False
        connection.execute(CHANGE, (changes, _new_versions(connection), cursor, name))
        return True


def pause(connection: sqlite3.Connection, name: str, by: str, now: float) -> bool:
    """See `taskflow.stores.base.Store.pause_schedule`."""
    with transaction(connection):
        paused = _is_paused(connection, name)
        if paused is False:
            connection.execute(PAUSE, (by, now, _new_versions(connection), name))
        return paused is not None


def resume(connection: sqlite3.Connection, name: str, now: float) -> bool:
    """See `taskflow.stores.base.Store.resume_schedule`."""
    with transaction(connection):
        paused = _is_paused(connection, name)
        if paused:
            connection.execute(RESUME, (_new_versions(connection), now, name))
        return paused is not None


def remove(connection: sqlite3.Connection, name: str) -> bool:
    """See `taskflow.stores.base.Store.remove_schedule`."""
    with transaction(connection):
        if connection.execute(REMOVE, (name,)).rowcount == 0:
            return False
        connection.execute(REMOVE_FIRINGS, (name,))
        connection.execute(COUNT_REMOVAL)
        return True


def _is_paused(connection: sqlite3.Connection, name: str) -> bool | None:
    """None: there is no such schedule."""
    row = connection.execute(IS_PAUSED, (name,)).fetchone()
    return None if row is None else bool(row[0])
