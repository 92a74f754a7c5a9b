"""What the read path asks, as statements and their values. Pure."""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from typing import Any

from taskflow.record import COLUMNS, TaskFilter
from taskflow.states import TaskStatus
from taskflow.stores.base import Waiting, Window
from taskflow.stores.sqlite.claims import READY

#: A parked task says why it waits where others show their last error.
SHOWN = ", ".join("coalesce(parked, error)" if name == "error" else name for name in COLUMNS)

GET = f"SELECT {SHOWN} FROM tasks WHERE task_id = ?"
ATTEMPTS = (
    "SELECT started_at, ended_at, outcome, error, stacktrace, instance FROM attempts"
    " WHERE task_id = ? ORDER BY id"
)
LOGS = "SELECT task_id, attempt, at, level, message FROM logs WHERE task_id = ? ORDER BY id LIMIT ?"
COUNTS = "SELECT status, count(*) FROM tasks GROUP BY status"
KEY_HOLDERS = (
    "SELECT task_id, func_name FROM tasks INDEXED BY tasks_holding"
    " WHERE concurrency_key = ? AND owner IS NOT NULL LIMIT 5"
)
#: From the few requests to their tasks, never from the many tasks of an instance.
CANCEL_REQUESTS = (
    "SELECT cancels.task_id FROM cancels CROSS JOIN tasks"
    " ON tasks.task_id = cancels.task_id WHERE tasks.owner = ?"
)
CONTROLS = "SELECT kind, name, value FROM controls"
_READY_IN_QUEUE = (
    f"FROM tasks INDEXED BY tasks_ready WHERE lane = ready.lane AND queue = ready.queue AND {READY}"
)
_SINCE = "max(created_at, coalesce(run_at, created_at))"
#: Rows of (lane, queue, count, oldest, blocked, parked): what may be claimed, then what may not.
#: From the first task of a queue to that of the next along the index; the grouping of all rows by
#: two columns takes half as long again.
BACKLOG = (
    "WITH RECURSIVE heads (head) AS ("
    f" SELECT (SELECT seq FROM tasks INDEXED BY tasks_ready WHERE {READY}"
    " ORDER BY lane, queue, priority DESC, seq LIMIT 1)"
    " UNION ALL"
    " SELECT coalesce((SELECT seq FROM tasks INDEXED BY tasks_ready"
    f" WHERE lane = last.lane AND queue > last.queue AND {READY}"
    " ORDER BY queue, priority DESC, seq LIMIT 1),"
    f" (SELECT seq FROM tasks INDEXED BY tasks_ready WHERE lane > last.lane AND {READY}"
    " ORDER BY lane, queue, priority DESC, seq LIMIT 1))"
    " FROM heads CROSS JOIN tasks AS last ON last.seq = head)"
    f" SELECT lane, queue, (SELECT count(*) {_READY_IN_QUEUE}),"
    f" min({_SINCE}, (SELECT {_SINCE} FROM tasks WHERE seq = (SELECT seq {_READY_IN_QUEUE}"
    f" AND priority = (SELECT priority {_READY_IN_QUEUE} ORDER BY priority LIMIT 1)"
    " ORDER BY seq LIMIT 1))), 0, 0"
    " FROM heads CROSS JOIN tasks AS ready ON seq = head"
    " UNION ALL"
    f" SELECT lane, queue, 0, (SELECT {_SINCE} FROM tasks WHERE seq = first), blocked,"
    " held - blocked"
    " FROM (SELECT lane, queue, min(seq) AS first, count(*) AS held, count(blocked) AS blocked"
    " FROM tasks INDEXED BY tasks_withheld"
    " WHERE (blocked IS NOT NULL OR parked IS NOT NULL) GROUP BY lane, queue)"
)
NEXT_DUE = (
    "SELECT run_at FROM tasks INDEXED BY tasks_due"
    " WHERE status IN ('scheduled', 'retrying') AND run_at IS NOT NULL"
    " ORDER BY run_at LIMIT 1"
)
WINDOW = (
    " UNION ALL ".join(
        "SELECT * FROM (SELECT status, created_at, run_at, started_at, ended_at FROM tasks"
        f" INDEXED BY tasks_ended WHERE status = '{status}' AND ended_at >= :since"
        " ORDER BY ended_at DESC LIMIT :limit)"
        for status in ("success", "failed", "cancelled", "interrupted")
    )
    + " ORDER BY 5 DESC LIMIT :limit"
)
HAS_ID = "SELECT 1 FROM tasks WHERE task_id >= ? AND task_id < ? LIMIT 1"

#: A page has at most so many tasks.
MOST_LISTED = 200
#: Fewer characters are not taken for the beginning of an id.
SHORTEST_ID = 8


def id_range(prefix: str) -> tuple[str, str]:
    """All ids that begin with ``prefix`` lie between these two."""
    return prefix, prefix + "\U0010ffff"


def page(query: TaskFilter, *, by_id: bool) -> tuple[str, list[Any]]:
    """One page and one row more. ``by_id``: ``query.q`` is the beginning of an id."""
    where: list[str] = []
    values: list[Any] = []
    if query.status is not None:
        where.append("status = ?")
        values.append(str(query.status))
    if query.cursor is not None:
        where.append("seq < ?")
        values.append(read_cursor(query.cursor))
    if query.q and by_id:
        where.append("task_id >= ? AND task_id < ?")
        values += id_range(query.q)
    elif query.q:
        where.append("func_name LIKE ? ESCAPE '\\'")
        escaped = query.q.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        values.append(f"%{escaped}%")
    condition = f" WHERE {' AND '.join(where)}" if where else ""
    values.append(page_size(query) + 1)
    return f"SELECT seq, {SHOWN} FROM tasks{condition} ORDER BY seq DESC LIMIT ?", values


def page_size(query: TaskFilter) -> int:
    """How many tasks a page has."""
    return max(1, min(query.limit, MOST_LISTED))


def figures(rows: Iterable[tuple[Any, ...]]) -> Window:
    """Rows of `WINDOW` as figures; a task that never started has neither wait nor run."""
    ended = succeeded = 0
    waits: list[float] = []
    runs: list[float] = []
    for status, created_at, run_at, started_at, ended_at in rows:
        ended += 1
        succeeded += status == TaskStatus.SUCCESS
        if started_at is not None:
            waits.append(max(0.0, started_at - max(created_at, run_at or 0.0)))
            runs.append(max(0.0, ended_at - started_at))
    return Window(ended, succeeded, waits, runs)


def backlog(rows: Iterable[tuple[Any, ...]]) -> dict[tuple[str, str], Waiting]:
    """Rows of `BACKLOG`, put together."""
    found: dict[tuple[str, str], Waiting] = {}
    for lane, queue, count, oldest, blocked, parked in rows:
        ready = found.get((lane, queue))
        found[lane, queue] = Waiting(
            count if ready is None else ready.count,
            oldest if ready is None else ready.oldest,
            blocked,
            parked,
        )
    return found


def make_cursor(seq: int) -> str:
    """The opaque name of a position."""
    return base64.urlsafe_b64encode(str(seq).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> int:
    """The position that `make_cursor` named; raises ValueError if it did not."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
        seq = int(text)
    except (ValueError, binascii.Error):
        seq = -1
    if not 0 <= seq < 2**63 or make_cursor(seq) != cursor:
        raise ValueError(f"cursor={cursor[:50]!r} is not one of ours: take it from next_cursor")
    return seq
