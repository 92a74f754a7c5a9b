"""The store on one SQLite file: durable, and shared by every process of this host.

One thread writes, one reads; the event loop does neither.
"""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from taskflow.errors import StoreError, StoreUnavailableError
from taskflow.record import (
    AttemptRecord,
    Batch,
    Committed,
    LogLine,
    Page,
    TaskFilter,
    TaskRecord,
)
from taskflow.redaction import Redactor
from taskflow.schedules.rows import Fired, Firing, FiringRow, ScheduleRow
from taskflow.states import TaskStatus
from taskflow.stores.annals import Annals
from taskflow.stores.base import Claimed, TakenOver, Waiting, Window
from taskflow.stores.news import News
from taskflow.stores.search import TaskSearch
from taskflow.stores.sqlite import (
    claims,
    commit,
    firing,
    moves,
    once,
    queries,
    schedules,
    takeover,
)
from taskflow.stores.sqlite.access import Access
from taskflow.stores.sqlite.annals import SQLiteAnnals
from taskflow.stores.sqlite.checks import check_path
from taskflow.stores.sqlite.clean import clean
from taskflow.stores.sqlite.liveness import Liveness
from taskflow.stores.sqlite.news import SQLiteNews
from taskflow.stores.sqlite.problems import UncertainError
from taskflow.stores.sqlite.reader import Reader
from taskflow.stores.sqlite.rows import to_record
from taskflow.stores.sqlite.schema import check_library, connect, migrate
from taskflow.stores.sqlite.search import SQLiteSearch
from taskflow.stores.sqlite.shown import Shown
from taskflow.stores.sqlite.writer import Writer

T = TypeVar("T")
Row = tuple[Any, ...]
Values = dict[str, Any]

_REGISTER = (
    "INSERT INTO instances (id, pid, host, started_at) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (id) DO UPDATE SET pid = excluded.pid, host = excluded.host,"
    " started_at = excluded.started_at"
)


class SQLiteStore:
    """`taskflow.stores.base.Store` on the file ``path``, which is made if it is not there.

    ``":memory:"`` means a private file that is removed by `close`. A write waits up to
    ``busy_timeout`` seconds (default 5) while another process holds the lock, then raises
    `StoreUnavailableError`. No search finds what ``redactor`` hides; default one without names of
    its own. Belongs to one event loop at a time.
    """

    def __init__(
        self, path: str | Path, *, busy_timeout: float = 5.0, redactor: Redactor | None = None
    ) -> None:
        self._private: Path | None = None
        self._in_memory = str(path) == ":memory:"
        self.path = Path(path).expanduser().absolute()
        self.url = "sqlite:///:memory:" if self._in_memory else f"sqlite://{self.path}"
        self._busy_timeout = busy_timeout
        self._shown = Shown(redactor or Redactor())
        self._instance = ""
        self._writer: Writer | None = None
        self._reader: Reader | None = None
        #: For what has to look at every task: a page must not wait behind it.
        self._surveyor: Reader | None = None
        self._liveness: Liveness | None = None
        self._version = -1
        #: What an earlier commit may have written although it failed.
        self._doubtful: set[object] = set()
        access = Access(
            write=self._write,
            fetch=self._fetch,
            survey=self._survey,
            instance=lambda: self._instance,
            path=lambda: self.path,
        )
        self.search: TaskSearch = SQLiteSearch(access)
        self.annals: Annals = SQLiteAnnals(access)
        self.news: News = SQLiteNews(access)

    # -- lifecycle ---------------------------------------------------------------------------

    async def open(self, instance: str, now: float) -> None:
        if self._writer is not None:
            raise StoreError(f"the store {self.url} is open already")
        check_library()
        if self._in_memory:
            self._private = Path(tempfile.mkdtemp(prefix="taskflow-"))
            self.path = self._private / "tasks.db"
        self._instance, self._version = instance, -1
        self._doubtful.clear()
        liveness = self._liveness = Liveness(
            self.path.with_name(self.path.name + ".instances"), instance
        )
        row = (instance, os.getpid(), socket.gethostname(), now)

        def register(connection: sqlite3.Connection) -> None:
            # First the lock, then the row: a row without a lock is a dead instance.
            liveness.hold()
            connection.execute(_REGISTER, row)

        try:
            self._writer = Writer(
                self.path,
                check=lambda: check_path(self.path),
                connect=self._connect,
                busy_timeout=self._busy_timeout,
            )
            self._writer.start()
            await self._writer.call(register)
            self._reader, self._surveyor = Reader(self.path), self._make_surveyor()
            await self._fetch("SELECT 1 FROM tasks LIMIT 1")
        except BaseException:
            await self.close()
            raise

    def _make_surveyor(self) -> Reader:
        return Reader(self.path, self._shown.functions)

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.path)
        try:
            migrate(connection, self.path)
            commit.prepare(connection, self._instance)
        except BaseException:
            connection.close()
            raise
        return connection

    async def close(self) -> None:
        writer, self._writer = self._writer, None
        readers = (self._reader, self._surveyor)
        self._reader = self._surveyor = None
        liveness, self._liveness = self._liveness, None
        private, self._private = self._private, None
        try:
            if writer is not None:
                registered = liveness is not None and liveness.held
                await writer.stop(self._unregister if registered else None)
        finally:
            try:
                for reader in readers:
                    if reader is not None:
                        await reader.close()
            finally:
                if liveness is not None:
                    liveness.close()
                if private is not None:
                    shutil.rmtree(private, ignore_errors=True)

    def abandon(self) -> None:
        for part in (self._writer, self._reader, self._surveyor, self._liveness):
            if part is not None:
                part.abandon()
        self._writer = self._reader = self._surveyor = self._liveness = None

    def _unregister(self, connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM instances WHERE id = ?", (self._instance,))

    async def _write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        if self._writer is None:
            raise StoreUnavailableError(f"the store {self.url} is not open")
        return await self._writer.call(work)

    async def _fetch(self, sql: str, values: Sequence[Any] | Values = ()) -> list[Row]:
        if self._reader is None:
            raise StoreUnavailableError(f"the store {self.url} is not open")
        return await self._reader.fetch(sql, values)

    async def _survey(self, sql: str, values: Sequence[Any] | Values = ()) -> list[Row]:
        if self._surveyor is None:
            raise StoreUnavailableError(f"the store {self.url} is not open")
        return await self._surveyor.fetch(sql, values)

    # -- the write path ----------------------------------------------------------------------

    async def commit(self, batch: Batch) -> Committed:
        instance, doubtful = self._instance, self._doubtful

        def work(connection: sqlite3.Connection) -> Committed:
            try:
                return commit.write(connection, batch, instance, doubtful)
            except (UnicodeEncodeError, OverflowError):
                # One value that SQLite cannot hold must not lose its neighbours.
                return commit.write(connection, clean(batch), instance, doubtful)

        try:
            committed = await self._write(work)
        except UncertainError:
            doubtful.update(commit.repeatable(batch))
            raise
        if doubtful:
            doubtful.difference_update(commit.repeatable(batch))
        return committed

    async def claim(
        self,
        lane: str,
        limit: int,
        names: Collection[str],
        now: float,
        *,
        places: Mapping[str, int] | None = None,
        above: int | None = None,
    ) -> Claimed:
        instance, bounds = self._instance, places or {}
        return await self._write(
            lambda it: claims.claim(it, instance, lane, limit, names, bounds, above)
        )

    async def unpark(self, names: Collection[str]) -> int:
        return await self._write(lambda it: claims.unpark(it, names))

    async def promote(self, limit: int, now: float) -> int:
        return await self._write(lambda it: moves.promote(it, limit, now))

    async def next_due(self) -> float | None:
        rows = await self._fetch(queries.NEXT_DUE)
        return rows[0][0] if rows else None

    async def take_over(self, *, rerun: bool, max_crashes: int, now: float) -> TakenOver:
        liveness = self._liveness
        if liveness is None:
            raise StoreUnavailableError(f"the store {self.url} is not open")

        def work(connection: sqlite3.Connection) -> TakenOver:
            liveness.hold()
            dead = liveness.find_dead(takeover.known_owners(connection))
            freed = False
            try:
                if not dead.instances:
                    return TakenOver(0, 0, 0)
                found = takeover.free_tasks(
                    connection, dead.instances, rerun=rerun, max_crashes=max_crashes, now=now
                )
                freed = True
            finally:
                # While their locks are held here, nobody else finds them dead.
                dead.release(forget=freed)
            return found

        return await self._write(work)

    async def cancel(self, task_id: str, now: float) -> TaskStatus | None:
        return await self._write(lambda it: moves.cancel(it, task_id, now))

    async def request_cancel(self, task_id: str, now: float) -> TaskStatus | None:
        return await self._write(lambda it: moves.request_cancel(it, task_id, now))

    async def revive(self, task_id: str, now: float) -> TaskStatus | None:
        return await self._write(lambda it: moves.revive(it, task_id))

    async def prune(self, before: Mapping[TaskStatus, float], limit: int) -> int:
        return await self._write(lambda it: moves.prune(it, before, limit))

    async def set_control(self, kind: str, name: str, value: str | None, now: float) -> None:
        await self._write(lambda it: moves.set_control(it, kind, name, value, now))

    async def changed(self) -> bool:
        # On this connection the number moves only when another one has written.
        version = await self._write(lambda it: it.execute("PRAGMA data_version").fetchall())
        before, self._version = self._version, version[0][0]
        return before != self._version

    # -- the read path -----------------------------------------------------------------------

    async def get(self, task_id: str) -> TaskRecord | None:
        rows = await self._fetch(queries.GET, (task_id,))
        return to_record(rows[0]) if rows else None

    async def cancel_requests(self) -> list[str]:
        rows = await self._fetch(queries.CANCEL_REQUESTS, (self._instance,))
        return [task_id for (task_id,) in rows]

    async def key_holders(self, key: str) -> list[tuple[str, str]]:
        rows = await self._fetch(queries.KEY_HOLDERS, (key,))
        return [(task_id, func_name) for task_id, func_name in rows]

    async def controls(self) -> dict[tuple[str, str], str]:
        rows = await self._fetch(queries.CONTROLS)
        return {(kind, name): value for kind, name, value in rows}

    async def attempts(self, task_id: str) -> list[AttemptRecord]:
        rows = await self._fetch(queries.ATTEMPTS, (task_id,))
        return [AttemptRecord(task_id, number, *row) for number, row in enumerate(rows, 1)]

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        rows = await self._fetch(queries.LOGS, (task_id, max(0, limit)))
        return [LogLine(*row) for row in rows]

    async def counts(self) -> dict[TaskStatus, int]:
        rows = await self._survey(queries.COUNTS)
        return {TaskStatus(status): count for status, count in rows}

    async def backlog(self) -> dict[tuple[str, str], Waiting]:
        return queries.backlog(await self._survey(queries.BACKLOG))

    async def window(self, since: float, limit: int) -> Window:
        rows = await self._survey(queries.WINDOW, {"since": since, "limit": max(0, limit)})
        return queries.figures(rows)

    # -- schedules ---------------------------------------------------------------------------

    async def fire(self, firings: Sequence[Firing]) -> list[Fired]:
        instance = self._instance
        return await self._write(lambda it: firing.fire(it, firings, instance))

    async def declare_schedules(self, declared: Sequence[tuple[str, str, str]], now: float) -> None:
        await self._write(lambda it: schedules.declare(it, declared, now))

    async def add_schedule(self, name: str, func_name: str, declared: str, now: float) -> bool:
        return await self._write(lambda it: schedules.add(it, name, func_name, declared, now))

    async def change_schedule(
        self, name: str, changes: str | None, version: int, cursor: float | None
    ) -> bool:
        return await self._write(lambda it: schedules.change(it, name, changes, version, cursor))

    async def pause_schedule(self, name: str, by: str, now: float) -> bool:
        return await self._write(lambda it: schedules.pause(it, name, by, now))

    async def resume_schedule(self, name: str, now: float) -> bool:
        return await self._write(lambda it: schedules.resume(it, name, now))

    async def remove_schedule(self, name: str) -> bool:
        return await self._write(lambda it: schedules.remove(it, name))

    async def schedules(self) -> list[ScheduleRow]:
        [(text,)] = await self._fetch(schedules.ALL)
        return schedules.read_all(text)

    async def schedule(self, name: str) -> ScheduleRow | None:
        rows = await self._fetch(schedules.ONE, (name,))
        return ScheduleRow(*rows[0]) if rows else None

    async def schedules_stamp(self) -> tuple[int, int]:
        [(version, removals)] = await self._fetch(schedules.STAMP)
        return version, removals

    async def firings(self, name: str, limit: int) -> list[FiringRow]:
        rows = await self._fetch(firing.HISTORY, (name, max(0, limit)))
        return [firing.to_firing(row) for row in rows]

    async def prune_firings(self, before: float, keep: int, limit: int) -> int:
        # Looking at every schedule is not for the thread that writes. What is found stays true:
        # later firings only make it older.
        values = {"before": before, "keep": max(0, keep), "limit": max(0, limit)}
        doomed = await self._survey(firing.DOOMED, values)
        return await self._write(lambda it: firing.prune(it, doomed, before)) if doomed else 0

    async def put_once(self, key: str, record: TaskRecord, now: float) -> tuple[str, bool]:
        return await self._write(lambda it: once.put(it, key, record))

    async def cancel_once(self, key: str, now: float) -> str | None:
        return await self._write(lambda it: once.cancel(it, key, now))

    async def scheduled(self, limit: int) -> list[tuple[TaskRecord, str | None]]:
        rows = await self._survey(once.SCHEDULED, (max(0, limit),))
        return [(to_record(row[1:]), row[0]) for row in rows]

    # Last, because the name hides the built-in type from whatever follows it in the class.
    async def list(self, query: TaskFilter) -> Page:
        by_id = False
        if query.q is not None and len(query.q) >= queries.SHORTEST_ID:
            by_id = bool(await self._fetch(queries.HAS_ID, queries.id_range(query.q)))
        # A name that matches nothing is looked for in every task.
        read = self._survey if query.q and not by_id else self._fetch
        rows = await read(*queries.page(query, by_id=by_id))
        size = queries.page_size(query)
        cursor = queries.make_cursor(rows[size - 1][0]) if len(rows) > size else None
        return Page([to_record(row[1:]) for row in rows[:size]], cursor)
