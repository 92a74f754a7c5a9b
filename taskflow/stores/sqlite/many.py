"""What is done to many tasks at a time, at the wish of a person: a few statements for all of them.

Every task comes with the lease that it was found with. Who was changed since by anybody, in any
process, has another one, or another status, and is left alone.
"""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence

from taskflow.stores.search import Cancelled, Handle
from taskflow.stores.sqlite import keyed, moves
from taskflow.stores.sqlite.transactions import transaction

_CHOSEN = (
    "SELECT tasks.seq, tasks.task_id FROM json_each(?) AS wish CROSS JOIN tasks"
    " ON tasks.seq = json_extract(wish.value, '$[0]')"
    " WHERE tasks.lease = json_extract(wish.value, '$[1]')"
)
FINAL = f"{_CHOSEN} AND tasks.status IN ({moves.FINAL_NAMES})"
OPEN = f"{_CHOSEN} AND tasks.status NOT IN ({moves.FINAL_NAMES})"
CANCEL = f"{moves.CANCEL_THOSE} seq IN (SELECT value FROM json_each(?)) RETURNING task_id"
ASK_TO_END = f"{moves.ASK_THOSE_TO_END} seq IN (SELECT value FROM json_each(?)) {moves.ONCE}"
HELD = (
    "SELECT count(*) FROM tasks WHERE seq IN (SELECT value FROM json_each(?))"
    f" AND owner IS NOT NULL AND status NOT IN ({moves.FINAL_NAMES})"
)
REVIVE = f"{moves.REVIVE_THOSE} seq IN (SELECT value FROM json_each(?))"
KEEP_ATTEMPTS = f"{keyed.KEEP_ATTEMPT_OF} seq IN (SELECT value FROM json_each(?))"


def revive(connection: sqlite3.Connection, tasks: Sequence[Handle]) -> int:
    """See `taskflow.stores.search.TaskSearch.revive`."""
    with transaction(connection):
        seqs = _seqs(_chosen(connection, FINAL, tasks))
        connection.execute(KEEP_ATTEMPTS, seqs)
        return connection.execute(REVIVE, seqs).rowcount


def request_cancel(
    connection: sqlite3.Connection, tasks: Sequence[Handle], now: float
) -> Cancelled:
    """See `taskflow.stores.search.TaskSearch.request_cancel`."""
    with transaction(connection):
        seqs = _seqs(_chosen(connection, OPEN, tasks))
        cancelled = connection.execute(CANCEL, (now, *seqs)).fetchall()
        connection.execute(ASK_TO_END, (now, *seqs))
        ((asked,),) = connection.execute(HELD, seqs).fetchall()
        return Cancelled([task_id for (task_id,) in cancelled], asked)


def discard(connection: sqlite3.Connection, tasks: Sequence[Handle]) -> int:
    """See `taskflow.stores.search.TaskSearch.discard`."""
    with transaction(connection):
        chosen = _chosen(connection, FINAL, tasks)
        moves.delete(connection, chosen)
        return len(chosen)


def _chosen(
    connection: sqlite3.Connection, sql: str, tasks: Sequence[Handle]
) -> list[tuple[int, str]]:
    wishes = json.dumps([(task.seq, task.lease) for task in tasks])
    return connection.execute(sql, (wishes,)).fetchall()


def _seqs(chosen: list[tuple[int, str]]) -> tuple[str]:
    return (json.dumps([seq for seq, _ in chosen]),)
