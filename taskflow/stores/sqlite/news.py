"""`taskflow.stores.news.News` on SQLite: changes are written down by triggers, see schema_4.sql."""

from __future__ import annotations

import sqlite3

from taskflow.record import COLUMNS, TaskRecord
from taskflow.stores.news import Delta, Position
from taskflow.stores.sqlite.access import Access
from taskflow.stores.sqlite.rows import to_record

#: Changes that are kept for who comes back.
KEPT = 20_000
#: Changes and lines that are looked at in one go; of more, only the number is told.
_MOST = 2_000

#: Lines that a deleted task may have had after another's: it is no harm to tell of them twice.
_LINES = 100
#: Seconds in the future beyond which a time is one of a clock that was wrong.
_FURTHEST = 600.0

#: What a list does not show, and may be long.
_LEFT_OUT = {"args": "''", "stacktrace": "NULL", "result": "NULL", "result_error": "NULL"}
_SHOWN = ", ".join(
    "coalesce(parked, error)" if name == "error" else _LEFT_OUT.get(name, name) for name in COLUMNS
)
_STATE = (
    "SELECT until, epoch, coalesce((SELECT max(seq) FROM news), 0),"
    " coalesce((SELECT max(seq) FROM tasks), 0), coalesce((SELECT max(id) FROM logs), 0),"
    " coalesce((SELECT min(seq) FROM news), 1) FROM watch"
)
_CHANGED = "SELECT DISTINCT task_id FROM news WHERE seq > ? AND seq <= ? ORDER BY seq DESC LIMIT ?"
_GROWN = "SELECT DISTINCT task_id FROM logs WHERE id > ? AND id <= ? LIMIT ?"
_NEW = f"SELECT {_SHOWN} FROM tasks WHERE seq > ? AND seq <= ? ORDER BY seq DESC LIMIT ?"  # noqa: S608
_TRIM = "DELETE FROM news WHERE seq < (SELECT max(seq) FROM news) - ?"


class SQLiteNews:
    """`taskflow.stores.news.News` in the file of the store."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def watch(self, until: float, now: float) -> Position:
        return await self._access.write(lambda it: _watch(it, until, now))

    async def unwatch(self, until: float) -> None:
        await self._access.write(lambda it: _end(it, until))

    async def expire(self, now: float) -> None:
        [(until, *_)] = await self._access.fetch(_STATE)
        if 0 < until < now or until > now + _FURTHEST:
            await self._access.write(lambda it: _end(it, until))

    async def since(self, position: Position, limit: int) -> Delta | None:
        [(until, epoch, change, task, line, oldest)] = await self._access.fetch(_STATE)
        now = Position(epoch, change, task, line)
        if not until or epoch != position.epoch or not oldest - 1 <= position.change <= change:
            return None
        if now == position:
            return Delta(now, [], [], frozenset(), 0)
        fetch = self._access.fetch
        changed = await fetch(_CHANGED, (position.change, change, _MOST))
        ids = [it for (it,) in changed]
        found = await self._read(ids[:limit])
        gone = [it for it in ids[:limit] if it not in found]
        # The number of the newest task or line is given again once that is deleted.
        first = max(0, min(position.task, task) - len(gone))
        rows = await fetch(_NEW, (first, task, limit + 1))
        tasks = {it.task_id: it for it in map(to_record, rows[:limit])} | found
        first = max(0, min(position.line, line) - _LINES * len(gone))
        grown = await fetch(_GROWN, (first, line, _MOST))
        more = max(0, len(ids) - limit) + max(0, len(tasks) - limit)
        if len(rows) > limit:
            more += max(0, task - position.task - limit)
        shown = list(tasks.values())[:limit]
        return Delta(now, shown, gone, frozenset(it for (it,) in grown), more)

    async def _read(self, ids: list[str]) -> dict[str, TaskRecord]:
        if not ids:
            return {}
        places = ", ".join("?" * len(ids))
        sql = f"SELECT {_SHOWN} FROM tasks WHERE task_id IN ({places})"  # noqa: S608
        rows = await self._access.fetch(sql, ids)
        return {record.task_id: record for record in map(to_record, rows)}


def _watch(it: sqlite3.Connection, until: float, now: float) -> Position:
    [(before, epoch, change, task, line, _)] = it.execute(_STATE).fetchall()
    if not before:
        epoch += 1
    if before > now + _FURTHEST:
        before = now
    it.execute("UPDATE watch SET until = ?, epoch = ?", (max(before, until), epoch))
    it.execute(_TRIM, (KEPT if before else 0,))
    return Position(epoch, change, task, line)


def _end(it: sqlite3.Connection, until: float) -> None:
    ended = it.execute("UPDATE watch SET until = 0 WHERE until <= ?", (until,)).rowcount
    if ended:
        it.execute(_TRIM, (0,))
