"""Tasks that are there once for a key, and may be changed until their time has come."""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import sqlite3
from operator import itemgetter

from taskflow.record import COLUMNS, Batch, TaskRecord, insert_row
from taskflow.stores.sqlite.clean import clean
from taskflow.stores.sqlite.queries import SHOWN
from taskflow.stores.sqlite.transactions import transaction

#: Everything of the new task, but what the row is known by and whose it is.
_TAKEN = tuple(name for name in COLUMNS if name not in {"task_id", "created_at", "owner", "lease"})
_taken = itemgetter(*map(COLUMNS.index, _TAKEN))

#: A task that was snoozed is scheduled, too, but has run. One that is due and waits has not.
HELD = (
    "SELECT once.task_id, record_id, status IN ('scheduled', 'pending')"
    " AND owner IS NULL AND attempt = 0"
    " AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.task_id = once.task_id)"
    " FROM once CROSS JOIN tasks ON tasks.task_id = once.task_id WHERE run_key = ?"
)
CHANGE = (
    f"UPDATE tasks SET {', '.join(f'{name} = ?' for name in _TAKEN)},"
    " parked = NULL, blocked = NULL WHERE task_id = ?"
)
INSERT = (
    f"INSERT INTO tasks ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
    " ON CONFLICT (task_id) DO NOTHING"
)
KEEP = (
    "INSERT INTO once (run_key, task_id, record_id) VALUES (?, ?, ?)"
    " ON CONFLICT (run_key) DO UPDATE SET"
    " task_id = excluded.task_id, record_id = excluded.record_id"
)
CANCEL = (
    "UPDATE tasks SET status = 'cancelled', ended_at = ?, parked = NULL, blocked = NULL"
    " WHERE task_id = (SELECT task_id FROM once WHERE run_key = ?)"
    " AND owner IS NULL AND status IN ('scheduled', 'pending')"
)
TASK_OF = "SELECT task_id FROM once WHERE run_key = ?"
#: Along the index of what is due. It holds retries, too; these are looked at and left out.
SCHEDULED = (
    f"SELECT (SELECT run_key FROM once WHERE once.task_id = tasks.task_id LIMIT 1), {SHOWN}"
    " FROM tasks INDEXED BY tasks_due"
    " WHERE status IN ('scheduled', 'retrying') AND status = 'scheduled'"
    " ORDER BY run_at LIMIT ?"
)


def put(connection: sqlite3.Connection, key: str, record: TaskRecord) -> tuple[str, bool]:
    """See `taskflow.stores.base.Store.put_once`."""
    row = insert_row(record)
    try:
        return _put(connection, key, row, record.task_id)
    except (UnicodeEncodeError, OverflowError):
        [row] = clean(Batch(inserts=[row])).inserts
        return _put(connection, key, row, record.task_id)


def _put(
    connection: sqlite3.Connection, key: str, row: tuple[object, ...], record_id: str
) -> tuple[str, bool]:
    with transaction(connection):
        found = connection.execute(HELD, (key,)).fetchone()
        if found is not None:
            task_id, put_last, waits = found
            if waits:
                connection.execute(CHANGE, (*_taken(row), task_id))
                connection.execute(KEEP, (key, task_id, record_id))
            if waits or put_last == record_id:
                return task_id, task_id != record_id
        connection.execute(INSERT, row)
        connection.execute(KEEP, (key, record_id, record_id))
        return record_id, False


def cancel(connection: sqlite3.Connection, key: str, now: float) -> str | None:
    """See `taskflow.stores.base.Store.cancel_once`."""
    with transaction(connection):
        if connection.execute(CANCEL, (now, key)).rowcount == 0:
            return None
        (task_id,) = connection.execute(TASK_OF, (key,)).fetchone()
        return str(task_id)
