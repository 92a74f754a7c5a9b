"""Firing schedules: what was wished is looked up, decided and written by a handful of statements.

Between the look and the write nobody else can write, so that a slot is fired once. The primary key
of the table would refuse a second row even so.
"""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, NamedTuple

from taskflow.record import COLUMNS, Batch, insert_row
from taskflow.schedules.rows import Fired, Firing, FiringRow, Kind
from taskflow.states import FINAL, TaskStatus
from taskflow.stores.sqlite.clean import clean
from taskflow.stores.sqlite.schedules import SIZES, in_parts, insert, marks
from taskflow.stores.sqlite.transactions import transaction

Row = tuple[Any, ...]

_COLUMNS = ("schedule", "kind", "slot", "at", "outcome", "task_id", "instance")
_FINAL = ", ".join(sorted(f"'{status}'" for status in FINAL))
HISTORY = (
    "SELECT kind, slot, at, outcome, firings.task_id, firings.instance, status,"
    " coalesce(parked, error), started_at, ended_at"
    " FROM firings INDEXED BY firings_by_time LEFT JOIN tasks ON tasks.task_id = firings.task_id"
    " WHERE schedule = ? ORDER BY at DESC, slot DESC LIMIT ?"
)
_OF_NAME = "FROM firings INDEXED BY firings_by_time WHERE schedule = name"
_EDGE = f"{_OF_NAME} ORDER BY at DESC, slot DESC, kind DESC LIMIT 1 OFFSET :keep"
#: Old firings that are not among the newest of their schedule. First the schedules that have more
#: than are kept and old ones among them, each with the newest that is too many.
DOOMED = (
    "WITH crowded AS MATERIALIZED (SELECT name, "
    + ", ".join(f"(SELECT {name} {_EDGE}) AS last_{name}" for name in ("at", "slot", "kind"))
    + f" FROM schedules WHERE (SELECT at {_OF_NAME} ORDER BY at LIMIT 1) < :before"
    f" AND EXISTS (SELECT 1 {_OF_NAME} LIMIT 1 OFFSET :keep))"
    " SELECT schedule, kind, slot"
    " FROM crowded CROSS JOIN firings INDEXED BY firings_by_time"
    " ON schedule = name AND at < :before AND (at, slot, kind) <= (last_at, last_slot, last_kind)"
    " LIMIT :limit"
)


class _Found(NamedTuple):
    """What the store knows of one wish."""

    position: int
    version: int
    is_paused: bool
    #: The last task of the schedule is unfinished.
    is_busy: bool
    is_taken: bool
    has_sibling: bool


@cache
def look(size: int) -> str:
    """The statement that finds what is known of so many wishes, as one row: a list of `_Found`.

    Each row that is fetched is a chance for a busy event loop to keep the interpreter lock.
    """
    return (
        "WITH wish (position, schedule, kind, slot, since, me) AS"
        f" (VALUES {marks(6, size)})"
        " SELECT json_group_array(json_array(position, version, paused_at IS NOT NULL,"
        " EXISTS (SELECT 1 FROM tasks WHERE task_id = last_task"
        # One that waits for its function may wait for ever.
        f" AND status NOT IN ({_FINAL}) AND parked IS NULL),"
        " EXISTS (SELECT 1 FROM firings WHERE firings.schedule = wish.schedule"
        " AND firings.kind = wish.kind AND firings.slot = wish.slot),"
        # `since` is NULL, and nobody is found, where it is not asked for.
        " EXISTS (SELECT 1 FROM firings INDEXED BY firings_by_time CROSS JOIN instances"
        " ON instances.id = firings.instance WHERE firings.schedule = wish.schedule"
        " AND firings.at > wish.since AND firings.kind = 'start' AND firings.instance <> wish.me)))"
        " FROM wish CROSS JOIN schedules ON schedules.name = wish.schedule"
    )


@cache
def mark(size: int) -> str:
    """The statement that writes into so many schedules what they have fired."""
    return (
        "UPDATE schedules SET last_task = coalesce(v.task_id, last_task),"
        " cursor = coalesce(v.slot, cursor)"
        f" FROM (WITH v (schedule, task_id, slot) AS (VALUES {marks(3, size)}) SELECT * FROM v)"
        " AS v WHERE schedules.name = v.schedule"
    )


def fire(connection: sqlite3.Connection, firings: Sequence[Firing], instance: str) -> list[Fired]:
    """See `taskflow.stores.base.Store.fire`."""
    if not firings:
        return []
    became: list[Fired] = []
    with transaction(connection):
        for start in range(0, len(firings), SIZES[-1]):
            part = firings[start : start + SIZES[-1]]
            decided = _decide(part, _look(connection, part, instance))
            _write(connection, list(zip(part, decided, strict=True)), instance)
            became += decided
    return became


def _look(
    connection: sqlite3.Connection, firings: Sequence[Firing], instance: str
) -> dict[int, _Found]:
    wishes = [
        (position, one.schedule, one.kind.value, one.slot, _since(one), instance)
        for position, one in enumerate(firings)
    ]
    found: dict[int, _Found] = {}
    for size, rows in in_parts(wishes):
        (answer,) = connection.execute(look(size), tuple(chain.from_iterable(rows))).fetchone()
        found |= {row[0]: _Found(*row) for row in json.loads(answer)}
    return found


def _since(wish: Firing) -> float | None:
    return wish.since if wish.kind is Kind.START else None


def _decide(firings: Sequence[Firing], found: dict[int, _Found]) -> list[Fired]:
    """One after the other: a firing may hinder those behind it."""
    busy: set[str] = set()
    taken: set[tuple[str, Kind, int]] = set()
    decided: list[Fired] = []
    for position, one in enumerate(firings):
        slot = (one.schedule, one.kind, one.slot)
        became = _decide_one(one, found.get(position), slot in taken, one.schedule in busy)
        if became in {Fired.FIRED, Fired.OVERLAPS}:
            taken.add(slot)
        if became is Fired.FIRED:
            busy.add(one.schedule)
        decided.append(became)
    return decided


def _decide_one(wish: Firing, found: _Found | None, taken: bool, busy: bool) -> Fired:
    if found is None:
        return Fired.CHANGED
    # To pause is a change, too: whoever has not heard of it is told what it was.
    if found.is_paused and wish.kind is not Kind.HAND:
        return Fired.PAUSED
    if found.version != wish.version:
        return Fired.CHANGED
    if found.has_sibling:
        return Fired.SIBLING
    if taken or found.is_taken:
        return Fired.TAKEN
    if wish.skips_overlap and (busy or found.is_busy):
        return Fired.OVERLAPS
    return Fired.FIRED


def _write(
    connection: sqlite3.Connection, decided: Iterable[tuple[Firing, Fired]], instance: str
) -> None:
    tasks: list[Row] = []
    rows: list[Row] = []
    marked: dict[str, tuple[str | None, int | None]] = {}
    for one, became in decided:
        if became not in {Fired.FIRED, Fired.OVERLAPS}:
            continue
        task_id, slot = marked.get(one.schedule, (None, None))
        fired = one.record.task_id if became is Fired.FIRED else None
        if one.kind is Kind.SLOT:
            slot = one.slot
        marked[one.schedule] = (fired or task_id, slot)
        key = (one.schedule, one.kind.value, one.slot)
        rows.append((*key, one.at, became.value, fired, instance))
        if became is Fired.FIRED:
            tasks.append(insert_row(one.record))
    insert_tasks(connection, tasks)
    # No clause for conflicts would be needed, but for the padding.
    insert(connection, "firings", _COLUMNS, rows)
    for size, part in in_parts([(name, *values) for name, values in marked.items()]):
        connection.execute(mark(size), tuple(chain.from_iterable(part)))


def insert_tasks(connection: sqlite3.Connection, rows: list[Row]) -> None:
    """Insert rows of `insert_row`; one value that cannot be stored must not lose its neighbours."""
    try:
        insert(connection, "tasks", COLUMNS, rows, "ON CONFLICT (task_id) DO NOTHING")
    except (UnicodeEncodeError, OverflowError):
        rows = clean(Batch(inserts=rows)).inserts
        insert(connection, "tasks", COLUMNS, rows, "ON CONFLICT (task_id) DO NOTHING")


@cache
def drop(size: int) -> str:
    """The statement that deletes so many rows of `DOOMED`."""
    # Values by themselves have no type, and are not looked up in an index.
    return (
        "DELETE FROM firings WHERE (schedule, kind, slot) IN ("
        f"WITH doomed (schedule, kind, slot) AS (VALUES {marks(3, size)})"
        " SELECT it.schedule, it.kind, it.slot FROM doomed CROSS JOIN firings AS it"
        " ON it.schedule = doomed.schedule AND it.kind = doomed.kind AND it.slot = doomed.slot"
        " WHERE at < ?)"
    )


def prune(connection: sqlite3.Connection, doomed: Sequence[Row], before: float) -> int:
    """Delete what `DOOMED` found, unless it is gone; see `Store.prune_firings`."""
    with transaction(connection):
        return sum(
            connection.execute(drop(size), (*chain.from_iterable(part), before)).rowcount
            for size, part in in_parts(doomed)
        )


def to_firing(row: Row) -> FiringRow:
    """A row of `HISTORY`."""
    kind, slot, at, outcome, task_id, instance, status, *rest = row
    current = None if status is None else TaskStatus(status)
    return FiringRow(Kind(kind), slot, at, outcome, task_id, instance, current, *rest)
