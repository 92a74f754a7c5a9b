"""Everything that changes tasks but a commit: claims, promotions, people's wishes, pruning.

Each function takes the writing connection and is done when it returns. It may be called again after
it failed because somebody else had the lock.
"""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping

from taskflow.record import COLUMNS, TaskRecord
from taskflow.states import FINAL, TaskStatus
from taskflow.stores.sqlite.keyed import KEEP_ATTEMPT
from taskflow.stores.sqlite.rows import to_record
from taskflow.stores.sqlite.transactions import transaction

UNKNOWN_NAME = "no function of this name in the app"
#: Tasks of unknown functions that one claim looks past, at most: it has to end.
MOST_PARKED = 20_000

# Where there is a choice of indexes SQLite guesses, and a wrong guess reads a million rows: the
# index is named in each statement that depends on it.
READY = "status = 'pending' AND owner IS NULL AND parked IS NULL"
NEXT_READY = (
    f"SELECT seq, {', '.join(COLUMNS)} FROM tasks INDEXED BY tasks_ready"
    f" WHERE lane = ? AND {READY}"
    " ORDER BY priority DESC, seq LIMIT ?"
)
CLAIM = (
    "UPDATE tasks SET owner = ?, lease = lease + 1 WHERE seq IN (SELECT value FROM json_each(?))"
)
PARK = "UPDATE tasks SET parked = ? WHERE seq IN (SELECT value FROM json_each(?))"
UNPARK = (
    "UPDATE tasks INDEXED BY tasks_parked SET parked = NULL WHERE parked IS NOT NULL"
    " AND func_name IN (SELECT value FROM json_each(?))"
)
PARKED = (
    "SELECT 1 FROM tasks INDEXED BY tasks_parked WHERE parked IS NOT NULL"
    " AND func_name IN (SELECT value FROM json_each(?)) LIMIT 1"
)
DUE = (
    "SELECT seq FROM tasks INDEXED BY tasks_due"
    " WHERE status IN ('scheduled', 'retrying') AND run_at <= ?"
    " ORDER BY run_at LIMIT ?"
)
PROMOTE = (
    "UPDATE tasks SET status = 'pending', owner = NULL"
    " WHERE seq IN (SELECT value FROM json_each(?))"
)
CANCEL = (
    "UPDATE tasks SET status = 'cancelled', ended_at = ?, parked = NULL WHERE task_id = ?"
    " AND owner IS NULL AND status IN ('scheduled', 'pending', 'retrying')"
)
REVIVE = (
    "UPDATE tasks SET status = 'pending', run_at = NULL, started_at = NULL, ended_at = NULL,"
    " budget = coalesce(budget, max_attempts),"
    " max_attempts = attempt + coalesce(budget, max_attempts), crashes = 0, instance = NULL,"
    " owner = NULL, lease = lease + 1, error = NULL, stacktrace = NULL, result = NULL,"
    " result_error = NULL, progress = NULL, parked = NULL WHERE task_id = ?"
)
STATUS = "SELECT status FROM tasks WHERE task_id = ?"
OLD = (
    "SELECT seq, task_id FROM tasks INDEXED BY tasks_ended"
    " WHERE status = ? AND ended_at < ? ORDER BY ended_at LIMIT ?"
)
DELETE = "DELETE FROM tasks WHERE seq IN (SELECT value FROM json_each(?))"
DELETE_OF_TASKS = tuple(
    f"DELETE FROM {table} WHERE task_id IN (SELECT value FROM json_each(?))"
    for table in ("attempts", "logs")
)


def _json(values: Iterable[object]) -> tuple[str]:
    """Any number of values as one bound value."""
    return (json.dumps(list(values)),)


def claim(
    connection: sqlite3.Connection, owner: str, lane: str, limit: int, names: Collection[str]
) -> list[TaskRecord]:
    """See `taskflow.stores.base.Store.claim`."""
    # Claims of nothing are frequent, and need no transaction.
    if limit < 1 or connection.execute(NEXT_READY, (lane, 1)).fetchone() is None:
        return []
    name_at = COLUMNS.index("func_name") + 1
    known: list[tuple[object, ...]] = []
    parked, slice_ = 0, limit
    with transaction(connection):
        while len(known) < limit and parked < MOST_PARKED:
            rows = connection.execute(NEXT_READY, (lane, slice_)).fetchall()
            mine = [row for row in rows if row[name_at] in names][: limit - len(known)]
            strange = [row[0] for row in rows if row[name_at] not in names]
            # Taken one after the other, so that the next look does not see them again.
            connection.execute(CLAIM, (owner, *_json(row[0] for row in mine)))
            known += mine
            if not strange:
                break
            connection.execute(PARK, (UNKNOWN_NAME, *_json(strange)))
            parked += len(strange)
            slice_ = max(limit, 512)
    records = [to_record(row[1:]) for row in known]
    for record in records:
        record.owner = owner
        record.lease += 1
    return records


def unpark(connection: sqlite3.Connection, names: Collection[str]) -> int:
    """See `taskflow.stores.base.Store.unpark`."""
    wanted = _json(names)
    if connection.execute(PARKED, wanted).fetchone() is None:
        return 0
    return connection.execute(UNPARK, wanted).rowcount


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


def prune(connection: sqlite3.Connection, before: Mapping[TaskStatus, float], limit: int) -> int:
    """See `taskflow.stores.base.Store.prune`."""
    found: list[tuple[int, str]] = []
    with transaction(connection):
        for status, time in before.items():
            if status in FINAL and len(found) < limit:
                row = (status, time, limit - len(found))
                found += connection.execute(OLD, row).fetchall()
        if found:
            connection.execute(DELETE, _json(seq for seq, _ in found))
            for statement in DELETE_OF_TASKS:
                connection.execute(statement, _json(task_id for _, task_id in found))
    return len(found)
