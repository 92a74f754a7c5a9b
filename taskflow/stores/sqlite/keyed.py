"""Tasks with an idempotency key: there once, unless the earlier one came to nothing."""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Set as AbstractSet

from taskflow.record import COLUMNS, Committed
from taskflow.states import UNDONE

Row = tuple[object, ...]

_ID, _OWNER, _ARGS = (COLUMNS.index(name) for name in ("task_id", "owner", "args"))
_UNDONE = ", ".join(sorted(f"'{status}'" for status in UNDONE))
#: Everything of the new task, but its place in the list and what the row has lived through.
_TAKEN = tuple(
    name
    for name in COLUMNS
    if name not in {"task_id", "created_at", "attempt", "max_attempts", "lease", "idempotency_key"}
)

#: The last execution of a task that is about to be run again, for its history.
KEEP_ATTEMPT_OF = (
    "INSERT INTO attempts (task_id, started_at, ended_at, outcome, error, stacktrace, instance)"
    " SELECT task_id, started_at, coalesce(ended_at, started_at), CASE"
    " WHEN status = 'success' THEN 'succeeded'"
    " WHEN status = 'failed' AND error LIKE 'timed out%' THEN 'timed out'"
    " ELSE status END, error, stacktrace, instance"
    " FROM tasks WHERE started_at IS NOT NULL AND"
)
KEEP_ATTEMPT = f"{KEEP_ATTEMPT_OF} task_id = ?"
_STATUS = "SELECT status FROM tasks WHERE task_id = ?"
_INSERT = (
    f"INSERT INTO tasks ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    " ON CONFLICT (task_id) DO NOTHING"
)
_REVIVE = (
    f"UPDATE tasks SET {', '.join(f'{name} = v.{name}' for name in _TAKEN)},"
    " max_attempts = tasks.attempt + v.max_attempts, budget = v.max_attempts,"
    " lease = tasks.lease + 1, parked = NULL, blocked = NULL"
    f" FROM (SELECT {', '.join(f'? AS {name}' for name in COLUMNS)}) AS v"
    f" WHERE tasks.task_id = v.task_id AND tasks.status IN ({_UNDONE})"
)
_FENCE = "SELECT lease, attempt, max_attempts FROM tasks WHERE task_id = ?"
_IS_MINE = "SELECT 1 FROM tasks WHERE task_id = ? AND owner IS ? AND args = ?"


def write_keyed(
    connection: sqlite3.Connection, rows: list[Row], doubtful: AbstractSet[object]
) -> Committed:
    """Write what is new or came to nothing; the caller holds the transaction.

    Ids that are ``doubtful`` may be there from an earlier try of this instance: no duplicates.
    Two new rows with one id cannot both be told whose it is: the task waits for anyone, and both
    are duplicates.
    """
    duplicates: set[str] = set()
    revived: dict[str, tuple[int, int, int]] = {}
    times = Counter(str(row[_ID]) for row in rows)
    for given in rows:
        task_id = str(given[_ID])
        row = given
        if times[task_id] > 1:
            row = (*given[:_OWNER], None, *given[_OWNER + 1 :])
            duplicates.add(task_id)
        found = connection.execute(_STATUS, (task_id,)).fetchone()
        if found is None:
            connection.execute(_INSERT, row)
        elif found[0] in UNDONE:
            connection.execute(KEEP_ATTEMPT, (task_id,))
            connection.execute(_REVIVE, row)
            revived[task_id] = connection.execute(_FENCE, (task_id,)).fetchone()
        elif task_id in doubtful and _is_mine(connection, row):
            revived[task_id] = connection.execute(_FENCE, (task_id,)).fetchone()
        else:
            duplicates.add(task_id)
    return Committed(duplicates=frozenset(duplicates), revived=revived)


def _is_mine(connection: sqlite3.Connection, row: Row) -> bool:
    values = (row[_ID], row[_OWNER], row[_ARGS])
    return connection.execute(_IS_MINE, values).fetchone() is not None
