"""`taskflow.stores.annals.Annals` on SQLite."""

from __future__ import annotations

import fcntl
import os
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from taskflow.stores.annals import Deed, DeedPage, InstanceRow, Point, StoreSize
from taskflow.stores.sqlite.access import Access
from taskflow.stores.sqlite.transactions import transaction

#: The largest number of a row.
_MOST = 2**63 - 1
#: Points of one step that are kept, however many instances have started and died.
MOST_POINTS = 100_000

_ADD_DEED = "INSERT INTO audit (at, user, action, target, detail, status) VALUES (?, ?, ?, ?, ?, ?)"
_FORGET_DEEDS = "DELETE FROM audit WHERE id <= ?"
_FORGET_OLD_DEEDS = "DELETE FROM audit WHERE at < ?"
_DEEDS = (
    "SELECT id, at, user, action, target, detail, status FROM audit"
    " WHERE id < ? ORDER BY id DESC LIMIT ?"
)
_PUT_POINT = "INSERT OR REPLACE INTO metrics (step, at, instance, figures) VALUES (?, ?, ?, ?)"
_FORGET_POINTS = (
    "DELETE FROM metrics WHERE step = :step AND at < max(:before, coalesce("
    "(SELECT at FROM metrics WHERE step = :step ORDER BY at DESC LIMIT 1 OFFSET :most), :before))"
)
_POINTS = (
    "SELECT step, at, instance, figures FROM metrics"
    " WHERE step = ? AND at >= ? AND at <= ? ORDER BY at DESC, instance DESC LIMIT ?"
)
_INSTANCES = "SELECT id, pid, host, started_at FROM instances ORDER BY started_at DESC, id LIMIT ?"


class SQLiteAnnals:
    """`taskflow.stores.annals.Annals` in the file of the store."""

    def __init__(self, access: Access, *, most_points: int = MOST_POINTS) -> None:
        self._access = access
        self._most_points = most_points

    async def record(self, deed: Deed, *, keep: int, before: float) -> None:
        row = (deed.at, *map(_storable, (deed.user, deed.action, deed.target, deed.detail)))

        def work(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                done = connection.execute(_ADD_DEED, (*row, deed.status))
                connection.execute(_FORGET_DEEDS, ((done.lastrowid or 0) - keep,))
                connection.execute(_FORGET_OLD_DEEDS, (before,))

        await self._access.write(work)

    async def deeds(self, limit: int, cursor: str | None) -> DeedPage:
        limit = max(1, limit)
        rows = await self._access.fetch(_DEEDS, (_parse_cursor(cursor), limit + 1))
        more = len(rows) > limit
        return DeedPage(
            items=[Deed(*row[1:]) for row in rows[:limit]],
            next_cursor=str(rows[limit - 1][0]) if more else None,
        )

    async def put_points(self, points: Sequence[Point], before: Mapping[int, float]) -> None:
        rows = [(point.step, point.at, point.instance, point.figures) for point in points]
        most = self._most_points
        old = [{"step": step, "before": at, "most": most} for step, at in before.items()]

        def work(connection: sqlite3.Connection) -> None:
            with transaction(connection):
                connection.executemany(_PUT_POINT, rows)
                connection.executemany(_FORGET_POINTS, old)

        await self._access.write(work)

    async def points(
        self, step: int, since: float, limit: int, *, until: float | None = None
    ) -> list[Point]:
        newest = _MOST if until is None else until
        rows = await self._access.survey(_POINTS, (step, since, newest, max(0, limit)))
        return [Point(*row) for row in rows]

    async def size(self) -> StoreSize:
        path = self._access.path()
        try:
            free: int | None = shutil.disk_usage(path.parent).free
        except OSError:
            free = None
        return StoreSize(_size_of(path), _size_of(path.with_name(path.name + "-wal")), free)

    async def instances(self, limit: int) -> list[InstanceRow]:
        folder = self._access.path().with_name(self._access.path().name + ".instances")
        own = self._access.instance()
        rows = await self._access.fetch(_INSTANCES, (max(0, limit),))
        return [
            InstanceRow(name, pid, host, at, name == own or _is_alive(folder, name))
            for name, pid, host, at in rows
        ]


def _parse_cursor(cursor: str | None) -> int:
    if cursor is None:
        return _MOST
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise ValueError(f"cursor={cursor!r:.100} is none that a page has given")
    return int(cursor)


def _storable(value: Any) -> Any:
    """Text that has no UTF-8 form is written as an escape."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


def _size_of(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _is_alive(folder: Path, instance: str) -> bool:
    """Whether somebody holds the lock of the instance, see liveness.py.

    The lock is asked for as one of many readers would, and given back at once: whoever starts or
    takes over at this very moment tries again.
    """
    try:
        descriptor = os.open(folder / (quote(instance, safe="") + ".lock"), os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
