"""What becomes of the tasks of an instance that died: a handful of statements, however many."""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from taskflow.fingerprint import fingerprint
from taskflow.states import FINAL
from taskflow.stores.base import TakenOver
from taskflow.stores.sqlite.transactions import transaction

#: Each owner once, by jumping from one to the next along the index.
OWNERS = (
    "WITH RECURSIVE o (owner) AS ("
    " SELECT min(owner) FROM tasks INDEXED BY tasks_owned WHERE owner IS NOT NULL"
    " UNION ALL"
    " SELECT (SELECT min(owner) FROM tasks INDEXED BY tasks_owned WHERE owner > o.owner) FROM o"
    " WHERE o.owner IS NOT NULL)"
    " SELECT owner FROM o WHERE owner IS NOT NULL"
)
INSTANCES = "SELECT id FROM instances"

_DEAD = "owner IN (SELECT value FROM json_each(:dead))"
_RAN = f"{_DEAD} AND status = 'running'"
# Named, or SQLite may choose the index of the status and read all that wait.
_CHANGE = "UPDATE tasks INDEXED BY tasks_owned SET"
_FINAL = ", ".join(sorted(f"'{status}'" for status in FINAL))
_FREED = "owner = NULL, lease = lease + 1"
INTERRUPT = (
    f"{_CHANGE} status = 'interrupted', ended_at = :now, crashes = crashes + 1, {_FREED},"
    " error = CASE WHEN at_most_once"
    " THEN 'the instance died while the task ran, and it may run at most once'"
    " ELSE 'the instance died while the task ran, and tasks are not run again by themselves' END"
    f" WHERE {_RAN} AND (at_most_once OR NOT :rerun)"
)
FAIL = (
    f"{_CHANGE} status = 'failed', ended_at = :now, crashes = crashes + 1, {_FREED},"
    " error = 'the app died ' || (crashes + 1) || ' times while this task ran'"
    f" WHERE {_RAN} AND crashes + 1 >= :max_crashes"
)
# Whoever ran it will not be told any more that somebody asked to cancel it.
CANCEL_ASKED = (
    f"{_CHANGE} status = 'cancelled', ended_at = :now, crashes = crashes + (status = 'running'),"
    f" error = 'cancelled; the instance that held it died', {_FREED}"
    f" WHERE {_DEAD} AND task_id IN (SELECT task_id FROM cancels)"
    f" AND status NOT IN ({_FINAL})"
)
KEEP_ATTEMPTS = (
    "INSERT INTO attempts (task_id, started_at, ended_at, outcome, error, instance)"
    " SELECT task_id, coalesce(started_at, :now), :now, 'crashed',"
    " 'the instance died while this attempt ran', coalesce(instance, owner)"
    f" FROM tasks INDEXED BY tasks_owned WHERE {_RAN}"
)
HAND_BACK_RAN = (
    f"{_CHANGE} status = 'pending', attempt = max(attempt - 1, 0), crashes = crashes + 1,"
    f" started_at = NULL, {_FREED} WHERE {_RAN}"
)
HAND_BACK_PENDING = f"{_CHANGE} {_FREED} WHERE {_DEAD} AND status = 'pending'"
FREE_OTHERS = f"{_CHANGE} {_FREED} WHERE {_DEAD}"
NAME_ERROR = "UPDATE tasks SET fingerprint = ? WHERE seq = ?"
FORGET = "DELETE FROM instances WHERE id IN (SELECT value FROM json_each(:dead))"


def known_owners(connection: sqlite3.Connection) -> list[str]:
    """Every instance that has registered here or owns a task."""
    registered = connection.execute(INSTANCES).fetchall()
    return [name for (name,) in (*registered, *connection.execute(OWNERS).fetchall())]


def free_tasks(
    connection: sqlite3.Connection,
    dead: Sequence[str],
    *,
    rerun: bool,
    max_crashes: int,
    now: float,
) -> TakenOver:
    """Give away everything that ``dead`` own; each task is freed by one caller only."""
    values = {
        "dead": json.dumps(list(dead)),
        "rerun": rerun,
        "max_crashes": max_crashes,
        "now": now,
    }

    def change(statement: str) -> int:
        return connection.execute(statement, values).rowcount

    def end(statement: str) -> int:
        ended = connection.execute(
            f"{statement} RETURNING func_name, error, seq", values
        ).fetchall()
        named = [(fingerprint(name, error), seq) for name, error, seq in ended]
        connection.executemany(NAME_ERROR, named)
        return len(ended)

    with transaction(connection):
        interrupted = end(INTERRUPT)
        failed = end(FAIL)
        others = change(CANCEL_ASKED)
        change(KEEP_ATTEMPTS)
        handed_back = change(HAND_BACK_RAN) + change(HAND_BACK_PENDING)
        others += change(FREE_OTHERS)
        change(FORGET)
    return TakenOver(handed_back, interrupted, failed, others)
