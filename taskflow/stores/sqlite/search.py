"""`taskflow.stores.search.TaskSearch` on SQLite.

A search goes back in time by windows of so many candidates, each a short query of its own, until it
has what it needs or its time is over. Other readers get their turn in between.
"""

# ruff: noqa: S608 - only names from this package are put into statements, never values

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from taskflow.query import Query
from taskflow.record import COLUMNS
from taskflow.states import TaskStatus
from taskflow.stores.search import (
    Cancelled,
    ErrorGroup,
    ErrorGroups,
    Found,
    Handle,
    Overview,
    Picked,
    Tally,
)
from taskflow.stores.sqlite import many
from taskflow.stores.sqlite.access import Access
from taskflow.stores.sqlite.queries import make_cursor, read_cursor
from taskflow.stores.sqlite.rows import to_record
from taskflow.stores.sqlite.search_sql import (
    SLACK,
    SOURCES,
    Compiled,
    Source,
    compile_query,
    id_ranges,
)

#: Seconds that one call may look at tasks: for a page, and for a number.
PAGE_TIME, COUNT_TIME = 0.06, 0.1
#: Candidates in the first window, and in the largest.
FIRST, LARGEST = 2_000, 64_000
#: Candidates in the first window where each may have a long text that is gone through for secrets.
FIRST_SLOW = 100
#: Seconds that a window is to take.
WINDOW_TIME = 0.01
#: More tasks are not given at a time.
MOST = 500
#: Ids that are looked up instead of searching for them.
_MOST_IDS = 200
#: Functions that an overview names.
_MOST_NAMES = 50
#: Failures that groups are made of.
MOST_FAILURES = 50_000
_TOP = 2**62

#: What a list does not show may be large.
_LEFT_OUT = {"args": "''", "result": "NULL", "error": "coalesce(parked, error)"}
_ROWS = (
    f"SELECT seq, {', '.join(_LEFT_OUT.get(name, name) for name in COLUMNS)} FROM tasks"
    " WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq DESC"
)
_HANDLES = (
    "SELECT seq, lease, task_id, func_name FROM tasks"
    " WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq DESC"
)
_HANDLE = "SELECT seq, lease, task_id, func_name FROM tasks WHERE task_id = ?"
_IDS = "SELECT seq FROM tasks INDEXED BY tasks_by_id WHERE task_id >= ? AND task_id < ? LIMIT ?"
_ARRIVED = "SELECT created_at FROM tasks WHERE seq >= ? ORDER BY seq LIMIT 1"
_EARLY = (
    "coalesce((SELECT created_at FROM tasks WHERE seq >= (low + high) / 2 ORDER BY seq LIMIT 1)"
    " < :moment, 0)"
)
#: The number of the first task that arrived at a moment or later, found by halving.
_SEQ_AT = (
    "WITH RECURSIVE narrow (low, high) AS ("
    " SELECT 0, (SELECT coalesce(max(seq), 0) + 1 FROM tasks)"
    f" UNION ALL SELECT CASE WHEN {_EARLY} THEN (low + high) / 2 + 1 ELSE low END,"
    f" CASE WHEN {_EARLY} THEN high ELSE (low + high) / 2 END FROM narrow WHERE low < high)"
    " SELECT low FROM narrow WHERE low >= high"
)
# An older instance that retries a task leaves its fingerprint where it is.
_ERRORS = (
    "WITH seen AS MATERIALIZED ("
    " SELECT fingerprint, ended_at, seq FROM tasks INDEXED BY tasks_failed_at"
    " WHERE fingerprint IS NOT NULL AND ended_at >= :since AND ended_at < :until"
    " AND status IN ('failed', 'interrupted')"
    " ORDER BY ended_at DESC LIMIT :most),"
    " parts AS (SELECT fingerprint, min(:parts - 1, CAST((ended_at - :since) / :width AS INTEGER))"
    " AS part, count(*) AS n, min(ended_at) AS first_at, max(ended_at) AS last_at, max(seq) AS seq"
    " FROM seen GROUP BY 1, 2)"
    " SELECT fingerprint, sum(n), min(first_at), max(last_at), json_group_array(part),"
    " json_group_array(n), max(seq), (SELECT min(ended_at) FROM seen), (SELECT count(*) FROM seen)"
    " FROM parts GROUP BY fingerprint ORDER BY max(last_at) DESC, fingerprint LIMIT :limit"
)
_SAMPLES = (
    "SELECT seq, coalesce(error, ''), func_name, task_id FROM tasks"
    " WHERE seq IN (SELECT value FROM json_each(?))"
)


class SQLiteSearch:
    """`taskflow.stores.search.TaskSearch` in the file of the store.

    ``page_time`` and ``count_time`` are the seconds that a call may look at tasks, ``first`` is the
    size of the first window.
    """

    def __init__(
        self,
        access: Access,
        *,
        page_time: float = PAGE_TIME,
        count_time: float = COUNT_TIME,
        first: int = FIRST,
    ) -> None:
        self._access = access
        self._page_time = page_time
        self._count_time = count_time
        self._first = first

    async def page(self, query: Query, now: float, limit: int, cursor: str | None) -> Found:
        limit = max(1, min(limit, MOST))
        seqs, walk = await self._find(query, now, limit, cursor)
        rows = await self._load(_ROWS, seqs[:limit])
        searched_to = None
        if len(seqs) <= limit and not walk.ended:
            arrived = await self._access.fetch(_ARRIVED, (walk.top,))
            searched_to = arrived[0][0] if arrived else None
        items = [to_record(row[1:]) for row in rows]
        return Found(items, _next_cursor(seqs, limit, walk), searched_to)

    async def pick(self, query: Query, now: float, limit: int, cursor: str | None) -> Picked:
        limit = max(1, min(limit, MOST))
        seqs, walk = await self._find(query, now, limit, cursor)
        rows = await self._load(_HANDLES, seqs[:limit])
        return Picked([Handle(*row) for row in rows], _next_cursor(seqs, limit, walk))

    async def handle(self, task_id: str) -> Handle | None:
        rows = await self._access.fetch(_HANDLE, (task_id,))
        return Handle(*rows[0]) if rows else None

    async def tally(self, query: Query, now: float) -> Tally:
        counts: Counter[str] = Counter()
        walk = await self._walk(query, now, None, self._count_time)
        async for rows in walk.select("status, count(*)", "GROUP BY status"):
            counts.update(dict(rows))
        return Tally({TaskStatus(name): n for name, n in counts.items()}, walk.ended)

    async def overview(self, query: Query, now: float) -> Overview:
        names: Counter[str] = Counter()
        moments: list[float] = []
        walk = await self._walk(query, now, None, self._count_time)
        what = "func_name, count(*), min(created_at), max(created_at)"
        async for rows in walk.select(what, "GROUP BY func_name"):
            for name, count, oldest, newest in rows:
                names[name] += count
                moments += (oldest, newest)
            moments = [min(moments), max(moments)] if moments else []
        return Overview(
            count=names.total(),
            complete=walk.ended,
            tasks=dict(names.most_common(_MOST_NAMES)),
            oldest=moments[0] if moments else None,
            newest=moments[1] if moments else None,
        )

    async def errors(self, since: float, until: float, parts: int, limit: int) -> ErrorGroups:
        values = {"since": since, "until": until, "parts": parts, "limit": limit,
                  "width": (until - since) / parts, "most": MOST_FAILURES}  # fmt: skip
        rows = await self._access.survey(_ERRORS, values)
        samples = {
            seq: rest
            for seq, *rest in await self._access.fetch(
                _SAMPLES, (json.dumps([row[6] for row in rows]),)
            )
        }
        items: list[ErrorGroup] = []
        for fingerprint, count, first_at, last_at, places, numbers, seq, _, _ in rows:
            trend = [0] * parts
            for place, number in zip(json.loads(places), json.loads(numbers), strict=True):
                trend[place] += number
            if seq not in samples:
                continue  # pruned a moment ago
            error, func_name, task_id = samples[seq]
            items.append(
                ErrorGroup(fingerprint, error, func_name, task_id, count, first_at, last_at, trend)
            )
        if rows and rows[0][8] >= MOST_FAILURES:
            since = rows[0][7]
        return ErrorGroups(items, since)

    # -- what is done to many ----------------------------------------------------------------

    async def revive(self, tasks: Sequence[Handle], now: float) -> int:
        return await self._access.write(lambda it: many.revive(it, tasks))

    async def request_cancel(self, tasks: Sequence[Handle], now: float) -> Cancelled:
        return await self._access.write(lambda it: many.request_cancel(it, tasks, now))

    async def discard(self, tasks: Sequence[Handle]) -> int:
        return await self._access.write(lambda it: many.discard(it, tasks))

    # -- inside ------------------------------------------------------------------------------

    async def _find(
        self, query: Query, now: float, limit: int, cursor: str | None
    ) -> tuple[list[int], _Walk]:
        """Numbers of tasks, the newest first: one more than ``limit``, if there are so many."""
        walk = await self._walk(query, now, cursor, self._page_time)
        seqs: list[int] = []
        # One more: whether there is another page.
        async for rows in walk.select("seq", "ORDER BY seq DESC LIMIT :most", most=limit + 1):
            seqs += (seq for (seq,) in rows)
            if len(seqs) > limit:
                break
        return seqs[: limit + 1], walk

    async def _load(self, sql: str, seqs: list[int]) -> list[tuple[Any, ...]]:
        return await self._access.fetch(sql, (json.dumps(seqs),)) if seqs else []

    async def _walk(self, query: Query, now: float, cursor: str | None, seconds: float) -> _Walk:
        top = _TOP if cursor is None else read_cursor(cursor)
        compiled = compile_query(query, now)
        ranges, strict = id_ranges(query)
        found: list[int] = []
        for first, last in ranges:
            rows = await self._access.fetch(_IDS, (first, last, _MOST_IDS + 1))
            found += (seq for (seq,) in rows)
        if ranges and len(found) <= _MOST_IDS and (found or strict):
            compiled = replace(compiled, source=Source("seq", tuple(found)))
        bottom = 0
        if compiled.after is not None:
            bottom = await self._seq_at(compiled.after - SLACK)
        if compiled.before is not None:
            top = min(top, await self._seq_at(compiled.before + SLACK))
        size = min(self._first, FIRST_SLOW) if compiled.slow else self._first
        return _Walk(self._access, compiled, top, bottom, seconds, size)

    async def _seq_at(self, moment: float) -> int:
        [(seq,)] = await self._access.fetch(_SEQ_AT, {"moment": moment})
        return int(seq)


def _next_cursor(seqs: list[int], limit: int, walk: _Walk) -> str | None:
    if len(seqs) > limit:
        return make_cursor(seqs[limit - 1])
    return None if walk.ended else make_cursor(walk.top)


class _Walk:
    """Goes from ``top`` down to ``bottom``, for at most ``seconds``, but by one window at least."""

    def __init__(
        self,
        access: Access,
        compiled: Compiled,
        top: int,
        bottom: int,
        seconds: float,
        first: int,
    ) -> None:
        self._access = access
        self._compiled = compiled
        self._bottom = bottom
        self._seconds = seconds
        self._size = first
        #: All from here on was looked at.
        self.top = top
        #: Nothing is left below.
        self.ended = top <= bottom

    async def select(
        self, what: str, how: str, **values: object
    ) -> AsyncIterator[list[tuple[Any, ...]]]:
        """The rows of one window after the other."""
        origin, floor = SOURCES[self._compiled.source.kind]
        sql = (
            f"SELECT {what} FROM {origin} AND seq >= :low AND seq < :top"
            f" AND {self._compiled.where} {how}"
        )
        bound = {
            **self._compiled.values,
            **values,
            "source": json.dumps(self._compiled.source.values),
        }
        until = time.monotonic() + self._seconds
        while not self.ended:
            began = time.monotonic()
            position = {"source": bound["source"], "top": self.top, "skip": self._size - 1}
            low = await self._floor(floor, position)
            rows = await self._access.survey(sql, {**bound, "top": self.top, "low": low})
            self.top, self.ended = low, low <= self._bottom
            yield rows
            now = time.monotonic()
            self._resize(now - began)
            if now >= until:
                return

    async def _floor(self, sql: str, position: dict[str, object]) -> int:
        rows = await self._access.survey(sql, position)
        return max(self._bottom, rows[0][0] or 0) if rows else self._bottom

    def _resize(self, took: float) -> None:
        """As many candidates as can be looked at in a hundredth of a second."""
        factor = WINDOW_TIME / max(took, 1e-6)
        self._size = int(self._size * min(max(factor, 0.25), 4.0))
        self._size = max(1, min(self._size, LARGEST))
