"""Writes a batch with as few statements as possible.

Every statement gives the interpreter lock away and a busy event loop returns it 5 ms later, so that
the number of statements, not of rows, decides how long a request waits. Rows go in by the hundred;
a small batch of mixed rows goes in as one statement, through a view whose triggers sort them.
"""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from itertools import chain
from operator import attrgetter, itemgetter

from taskflow.record import (
    CHANGING,
    COLUMNS,
    AttemptRecord,
    Batch,
    Committed,
    LogLine,
    TaskRecord,
    insert_row,
)
from taskflow.states import TaskStatus
from taskflow.stores.sqlite.keyed import write_keyed
from taskflow.stores.sqlite.transactions import transaction

Row = tuple[object, ...]

#: Rows a statement: every statement is prepared once for each of these, short batches are padded.
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
#: Up to so many rows of several kinds go in by one statement; above, one a kind is faster.
MOST_MIXED = 256

#: Columns of a task in the order of how rarely they are set: most rows need only the first few.
_ORDER = (
    "task_id", "func_name", "lane", "created_at", "status", "args", "source", "max_attempts",
    "owner",
    "attempt", "started_at", "ended_at", "instance", "result",
    "queue", "priority", "at_most_once", "run_at", "timeout", "lease", "crashes",
    "idempotency_key", "concurrency_key", "key_limit", "tags",
    "error", "stacktrace", "result_error", "progress", "fingerprint",
)  # fmt: skip
#: How many of them a row needs: new, ended within one commit, anything.
_WIDTHS = (9, 14, len(_ORDER))
#: Likewise for changes: what ordinary starts and ends set, then the rest.
_UPDATE_ORDER = (
    "task_id", "lease", "status", "attempt", "max_attempts", "crashes", "run_at", "started_at",
    "ended_at", "instance", "owner", "result",
    "error", "stacktrace", "result_error", "progress", "fingerprint",
)  # fmt: skip
_UPDATE_WIDTHS = (12, len(_UPDATE_ORDER))
_ATTEMPT_ORDER = tuple(f for f in AttemptRecord.__dataclass_fields__ if f != "number")
_LOG_ORDER = tuple(LogLine.__dataclass_fields__)
#: The marks of the rows of the view, and of padding.
_NEW, _CHANGE, _ATTEMPT, _LINE, _NOTHING = 0, 1, 2, 3, -1

_attempt_row = attrgetter(*_ATTEMPT_ORDER)
_log_row = attrgetter(*_LOG_ORDER)
#: What a column of the view means where a row left it out; NULL for all others.
_LEFT_OUT = {"attempt": "0", "lease": "0", "crashes": "0", "queue": "'default'", "priority": "0",
             "at_most_once": "0", "key_limit": "1"}  # fmt: skip


class _Shape:
    """Rows of one kind with all but the first ``widths[n]`` columns left out, if they are unset."""

    def __init__(self, given: Sequence[str], order: tuple[str, ...], widths: tuple[int, ...],
                 unset: dict[str, object]) -> None:  # fmt: skip
        position = {name: index for index, name in enumerate(given)}
        self._widths = widths
        self._pick = [itemgetter(*(position[name] for name in order[:width])) for width in widths]
        self._rest: list[tuple[Callable[[Row], Row], Row]] = []
        for width in widths[:-1]:
            # Twice the last name: an itemgetter of one name gives no tuple.
            names = (*order[width:], order[-1])
            rest: Row = tuple(unset.get(name) for name in names)
            self._rest.append((itemgetter(*(position[name] for name in names)), rest))

    def fit(self, rows: list[Row]) -> tuple[int, Iterator[Row]]:
        """The smallest width that holds everything, and the rows cut to it."""
        for (rest, unset), width, pick in zip(self._rest, self._widths, self._pick, strict=False):
            if all(map(unset.__eq__, map(rest, rows))):
                return width, map(pick, rows)
        return self._widths[-1], map(self._pick[-1], rows)


_blank = TaskRecord("", "", "", 0.0)
_INSERTS = _Shape(COLUMNS, _ORDER, _WIDTHS, dict(zip(COLUMNS, insert_row(_blank), strict=True)))
_UPDATES = _Shape(("task_id", "lease", *CHANGING), _UPDATE_ORDER, _UPDATE_WIDTHS, {})


# -- statements ---------------------------------------------------------------------------------


def _values(width: int, size: int) -> str:
    return ", ".join([f"({', '.join('?' * width)})"] * size)


@cache
def _insert(width: int, size: int) -> str:
    return (
        f"INSERT INTO tasks ({', '.join(_ORDER[:width])}) VALUES {_values(width, size)}"
        " ON CONFLICT (task_id) DO NOTHING"
    )


@cache
def _update(width: int, size: int) -> str:
    # What is left out of the rows is unset in all of them.
    sets = ", ".join(
        f"{name} = {f'v.{name}' if index < width - 2 else 'NULL'}"
        for index, name in enumerate(_UPDATE_ORDER[2:])
    )
    # The first word is UPDATE, or `sqlite3` would not tell how many rows it changed.
    return (
        f"UPDATE tasks SET {sets} FROM (WITH v ({', '.join(_UPDATE_ORDER[:width])})"
        f" AS (VALUES {_values(width, size)}) SELECT * FROM v) AS v"
        " WHERE tasks.task_id = v.task_id AND tasks.lease = v.lease AND tasks.owner = ?"
    )


#: A thread that was given up may write lines for a task that is gone: nobody would delete them.
#: A single value, and no EXISTS, which could be made a join and change the order of the lines.
_IS_THERE = "(SELECT 1 FROM tasks WHERE tasks.task_id = {})"


@cache
def _insert_attempts(width: int, size: int) -> str:
    return f"INSERT INTO attempts ({', '.join(_ATTEMPT_ORDER)}) VALUES {_values(width, size)}"


@cache
def _insert_logs(width: int, size: int) -> str:
    names = ", ".join(_LOG_ORDER)
    return (
        f"INSERT INTO logs ({names}) WITH v ({names}) AS (VALUES {_values(width, size)})"
        f" SELECT {names} FROM v WHERE {_IS_THERE.format('v.task_id')}"
    )


@cache
def _mixed(width: int, size: int) -> str:
    columns = ", ".join(f"c{index}" for index in range(width))
    return f"INSERT INTO inbox (kind, {columns}) VALUES {_values(width + 1, size)}"


def prepare(connection: sqlite3.Connection, owner: str) -> None:
    """Make the view for mixed rows on this connection; the fence in it knows ``owner``."""

    def sort(kind: int, action: str) -> None:
        connection.execute(
            f"CREATE TEMP TRIGGER sort_{kind} INSTEAD OF INSERT ON inbox"
            f" WHEN NEW.kind = {kind} BEGIN {action}; END"
        )

    width = len(_ORDER)
    empty = ", ".join(f"NULL AS c{index}" for index in range(width))
    connection.execute(f"CREATE TEMP VIEW inbox AS SELECT 0 AS kind, {empty}")
    given = ", ".join(
        f"coalesce(NEW.c{index}, {_LEFT_OUT[name]})" if name in _LEFT_OUT else f"NEW.c{index}"
        for index, name in enumerate(_ORDER)
    )
    sort(_NEW, f"INSERT INTO tasks ({', '.join(_ORDER)}) VALUES ({given})"
         " ON CONFLICT (task_id) DO NOTHING")  # fmt: skip
    sets = ", ".join(f"{name} = NEW.c{n}" for n, name in enumerate(_UPDATE_ORDER) if n > 1)
    quoted = "'" + owner.replace("'", "''") + "'"
    # How many rows were changed in all says nothing: other triggers change some, too.
    sort(_CHANGE, f"UPDATE tasks SET {sets}"
         f" WHERE task_id = NEW.c0 AND lease = NEW.c1 AND owner = {quoted};"
         " SELECT raise(ABORT, 'refused') WHERE changes() = 0")  # fmt: skip
    for kind, table, order, where in (
        (_ATTEMPT, "attempts", _ATTEMPT_ORDER, "true"),
        (_LINE, "logs", _LOG_ORDER, _IS_THERE.format("NEW.c0")),
    ):
        columns = ", ".join(f"NEW.c{index}" for index in range(len(order)))
        sort(kind, f"INSERT INTO {table} ({', '.join(order)}) SELECT {columns} WHERE {where}")


# -- batches ------------------------------------------------------------------------------------


def write(
    connection: sqlite3.Connection,
    batch: Batch,
    owner: str,
    doubtful: AbstractSet[object] = frozenset(),
) -> Committed:
    """Write ``batch`` in one transaction; of what is ``doubtful``, parts may be there already."""
    if doubtful:
        batch = _without_written(connection, batch, doubtful)
    one_kind = not (batch.attempts or batch.logs or (batch.inserts and batch.updates))
    rows = len(batch.inserts) + len(batch.updates) + len(batch.attempts) + len(batch.logs)
    committed = Committed()
    if one_kind and rows <= SIZES[-1] and not batch.keyed:
        # At most one statement, which is a transaction by itself.
        applied = _write_by_kind(connection, batch, owner)
    elif rows <= MOST_MIXED and not batch.keyed and _write_mixed(connection, batch, rows):
        applied = len(batch.updates)
    else:
        with transaction(connection):
            applied = _write_by_kind(connection, batch, owner)
            # Last: the end of an older task with the same key may be among the updates.
            committed = write_keyed(connection, batch.keyed, doubtful)
    # Usually nothing was refused or there before: one number says so.
    if applied != len(batch.updates):
        refused = frozenset(_refused(connection, batch.updates))
        return Committed(committed.duplicates, refused, committed.revived)
    return committed


def _write_by_kind(connection: sqlite3.Connection, batch: Batch, owner: str) -> int:
    """How many updates were applied."""
    applied = 0
    if batch.inserts:
        width, rows = _INSERTS.fit(batch.inserts)
        # Padded with the last row once more: it is there by then and does nothing.
        _write_rows(connection, _insert, width, list(rows), pad=True)
    if batch.updates:
        width, rows = _UPDATES.fit(batch.updates)
        padding = (None,) * width
        applied = _write_rows(connection, _update, width, list(rows), padding, (owner,), pad=True)
    if batch.attempts:
        found = list(map(_attempt_row, batch.attempts))
        _write_rows(connection, _insert_attempts, len(_ATTEMPT_ORDER), found)
    if batch.logs:
        found = list(map(_log_row, batch.logs))
        _write_rows(connection, _insert_logs, len(_LOG_ORDER), found)
    return applied


def _write_rows(
    connection: sqlite3.Connection,
    statement: Callable[[int, int], str],
    width: int,
    rows: list[Row],
    padding: Row | None = None,
    extra: Row = (),
    *,
    pad: bool = False,
) -> int:
    """All rows; by one statement if there are at most as many as the largest size.

    How many rows were changed, those not counted that triggers changed.
    """
    start, count, changed = 0, len(rows), 0
    while start < count:
        left = count - start
        at = bisect_left(SIZES, left)
        if at == len(SIZES) or (not pad and SIZES[at] > left):
            at -= 1
        size = SIZES[at]
        part = rows[start : start + size]
        part += [padding or part[-1]] * (size - len(part))
        values = (*chain.from_iterable(part), *extra)
        changed += connection.execute(statement(width, size), values).rowcount
        start += size
    return changed


def _write_mixed(connection: sqlite3.Connection, batch: Batch, count: int) -> bool:
    """False, with nothing written, if one of the updates was refused."""
    width, new = _INSERTS.fit(batch.inserts)
    parts: list[tuple[int, Iterable[Row]]] = [(_NEW, new)]
    if batch.updates:
        needed, cut = _UPDATES.fit(batch.updates)
        # The widths of the view are those of new tasks.
        width = max(width, _WIDTHS[bisect_left(_WIDTHS, needed)])
        parts.append((_CHANGE, cut))
    parts.append((_ATTEMPT, map(_attempt_row, batch.attempts)))
    parts.append((_LINE, map(_log_row, batch.logs)))
    rows: list[Row] = []
    empty: Row = (None,) * width
    for kind, found in parts:
        rows.extend((kind, *row, *empty[len(row) :]) for row in found)
    size = SIZES[bisect_left(SIZES, count)]
    rows.extend([(_NOTHING, *empty)] * (size - count))
    try:
        connection.execute(_mixed(width, size), tuple(chain.from_iterable(rows)))
    except sqlite3.IntegrityError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_TRIGGER:
            raise
        return False
    return True


# -- rarely -------------------------------------------------------------------------------------


def _refused(connection: sqlite3.Connection, updates: list[Row]) -> Iterator[str]:
    """Which updates are not in the database: their lease is gone.

    An update that is found as it was meant was applied, now or when it was tried before. So was
    one that gave a task away that nobody has taken since, whoever has cancelled it then.
    """
    place = {name: index for index, name in enumerate(("task_id", "lease", *CHANGING))}
    same = ("lease", "status", "owner", "attempt", "run_at", "started_at", "ended_at")
    wanted = itemgetter(*(place[name] for name in same))
    sql = f"SELECT {', '.join(same)} FROM tasks WHERE task_id = ?"
    for update in updates:
        found = connection.execute(sql, (update[0],)).fetchone()
        meant = wanted(update)
        if found is None or (found != meant and not _is_cancelled(found, meant)):
            yield str(update[0])


def _is_cancelled(found: Row, meant: Row) -> bool:
    """Whether both, of (lease, status, owner, ..), are the same but for a later cancellation."""
    return found[:3] == (meant[0], TaskStatus.CANCELLED, None) and meant[2] is None


def repeatable(batch: Batch) -> Iterator[object]:
    """What of ``batch`` has no guard of its own against being written twice."""
    yield from (row[0] for row in batch.keyed)
    yield from batch.attempts
    yield from batch.logs


def _without_written(
    connection: sqlite3.Connection, batch: Batch, doubtful: AbstractSet[object]
) -> Batch:
    """``batch`` without the lines and attempts that an earlier, uncertain try did write."""

    def is_new(table: str, order: tuple[str, ...], one: AttemptRecord | LogLine, row: Row) -> bool:
        if one not in doubtful:
            return True
        same = " AND ".join(f"{name} IS ?" for name in order)
        sql = f"SELECT 1 FROM {table} WHERE {same} LIMIT 1"
        return connection.execute(sql, row).fetchone() is None

    return Batch(
        batch.inserts,
        batch.keyed,
        batch.updates,
        [
            one
            for one in batch.attempts
            if is_new("attempts", _ATTEMPT_ORDER, one, _attempt_row(one))
        ],
        [one for one in batch.logs if is_new("logs", _LOG_ORDER, one, _log_row(one))],
    )
