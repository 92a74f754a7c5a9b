"""Everything that changes tasks but commits and claims: promotions, people's wishes, pruning.

Each function takes the writing connection and is done when it returns. It may be called again after
it failed because somebody else had the lock.
"""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence

from taskflow.states import FINAL, TaskStatus
from taskflow.stores.sqlite.keyed import KEEP_ATTEMPT
from taskflow.stores.sqlite.transactions import transaction

# Where there is a choice of indexes SQLite guesses, and a wrong guess reads a million rows: the
# index is named in each statement that depends on it.
DUE = (
    "SELECT seq FROM tasks INDEXED BY tasks_due"
    " WHERE status IN ('scheduled', 'retrying') AND run_at <= ?"
    " ORDER BY run_at LIMIT ?"
)
PROMOTE = (
    "UPDATE tasks SET status = 'pending', owner = NULL"
    " WHERE seq IN (SELECT value FROM json_each(?))"
)
# What ends with WHERE or AND is for one task here, and for many in many.py.
CANCEL_THOSE = (
    "UPDATE tasks SET status = 'cancelled', ended_at = ?, parked = NULL, blocked = NULL"
    " WHERE owner IS NULL AND status IN ('scheduled', 'pending', 'retrying') AND"
)
CANCEL = f"{CANCEL_THOSE} task_id = ?"
REVIVE_THOSE = (
    "UPDATE tasks SET status = 'pending', run_at = NULL, started_at = NULL, ended_at = NULL,"
    " budget = coalesce(budget, max_attempts),"
    " max_attempts = attempt + coalesce(budget, max_attempts), crashes = 0, instance = NULL,"
    " owner = NULL, lease = lease + 1, error = NULL, stacktrace = NULL, result = NULL,"
    " result_error = NULL, progress = NULL, fingerprint = NULL, parked = NULL, blocked = NULL WHERE"
)
REVIVE = f"{REVIVE_THOSE} task_id = ?"
FINAL_NAMES = ", ".join(sorted(f"'{status}'" for status in FINAL))
STATUS = "SELECT status FROM tasks WHERE task_id = ?"
ASK_THOSE_TO_END = (
    "INSERT INTO cancels (task_id, requested_at)"
    " SELECT task_id, ? FROM tasks WHERE owner IS NOT NULL"
    f" AND status NOT IN ({FINAL_NAMES}) AND"
)
ONCE = "ON CONFLICT (task_id) DO NOTHING"
ASK_TO_END = f"{ASK_THOSE_TO_END} task_id = ? {ONCE}"
OLD = (
    "SELECT seq, task_id FROM tasks INDEXED BY tasks_ended"
    " WHERE status = ? AND ended_at < ? ORDER BY ended_at LIMIT ?"
)
DELETE = "DELETE FROM tasks WHERE seq IN (SELECT value FROM json_each(?))"
DELETE_OF_TASKS = tuple(
    f"DELETE FROM {table} WHERE task_id IN (SELECT value FROM json_each(?))"
    for table in ("attempts", "logs", "cancels")
)
SET_CONTROL = (
    "INSERT INTO controls (kind, name, value, set_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value, set_at = excluded.set_at"
)
DROP_CONTROL = "DELETE FROM controls WHERE kind = ? AND name = ?"


def _json(values: Iterable[object]) -> tuple[str]:
    """Any number of values as one bound value."""
    return (json.dumps(list(values)),)


def promote(connection: sqlite3.Connection, limit: int, now: float) -> int:
    """See `taskflow.stores.base.Store.promote`."""
    if connection.execute(DUE, (now, 1)).fetchone() is None:
        return 0
    with transaction(connection):
        due = [seq for (seq,) in connection.execute(DUE, (now, limit)).fetchall()]
        return connection.execute(PROMOTE, _json(due)).rowcount


def cancel(connection: sqlite3.Connection, task_id: str, now: float) -> TaskStatus | None:
    """See `taskflow.stores.base.Store.cancel`."""
    with transaction(connection):
        connection.execute(CANCEL, (now, task_id))
        return _status(connection, task_id)


def request_cancel(connection: sqlite3.Connection, task_id: str, now: float) -> TaskStatus | None:
    """See `taskflow.stores.base.Store.request_cancel`."""
    with transaction(connection):
        connection.execute(CANCEL, (now, task_id))
        connection.execute(ASK_TO_END, (now, task_id))
        return _status(connection, task_id)


def revive(connection: sqlite3.Connection, task_id: str) -> TaskStatus | None:
    """See `taskflow.stores.base.Store.revive`."""
    with transaction(connection):
        status = _status(connection, task_id)
        if status in FINAL:
            connection.execute(KEEP_ATTEMPT, (task_id,))
            connection.execute(REVIVE, (task_id,))
        return status


def _status(connection: sqlite3.Connection, task_id: str) -> TaskStatus | None:
    row = connection.execute(STATUS, (task_id,)).fetchone()
    return None if row is None else TaskStatus(row[0])


def set_control(
    connection: sqlite3.Connection, kind: str, name: str, value: str | None, now: float
) -> None:
    """See `taskflow.stores.base.Store.set_control`."""
    if value is None:
        connection.execute(DROP_CONTROL, (kind, name))
    else:
        connection.execute(SET_CONTROL, (kind, name, value, now))


def prune(connection: sqlite3.Connection, before: Mapping[TaskStatus, float], limit: int) -> int:
    """See `taskflow.stores.base.Store.prune`."""
    found: list[tuple[int, str]] = []
    with transaction(connection):
        for status, time in before.items():
            if status in FINAL and len(found) < limit:
                row = (status, time, limit - len(found))
                found += connection.execute(OLD, row).fetchall()
        delete(connection, found)
    return len(found)


def delete(connection: sqlite3.Connection, found: Sequence[tuple[int, str]]) -> None:
    """Delete tasks, each given by number and id, with all that belongs to them.

    The caller holds the transaction.
    """
    if found:
        connection.execute(DELETE, _json(seq for seq, _ in found))
        for statement in DELETE_OF_TASKS:
            connection.execute(statement, _json(task_id for _, task_id in found))
