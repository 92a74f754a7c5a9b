"""The bare idea, without anything a user needs: the limit that the real thing is held against.

One table, one list of rows, one writer that commits whatever gathered meanwhile; a task that ended
before its row was written is written once. No states, retries, fences, options, logs or errors.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiosqlite

Row = list[Any]


class Sketch:
    """A durable queue of no-op coroutines in as few lines as it takes."""

    def __init__(self, db: aiosqlite.Connection) -> None:
        self.db = db
        self.rows: list[Row] = []
        self.promise: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.wake = asyncio.Event()
        self.ids = 0
        self.done = 0
        self.running: set[asyncio.Task[None]] = set()
        self.writer = asyncio.create_task(self.write())

    @classmethod
    async def open(cls, path: Path) -> Sketch:
        db = await aiosqlite.connect(path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            await db.execute(f"PRAGMA {pragma}")
        await db.execute("CREATE TABLE task (id INTEGER PRIMARY KEY, name, args, status)")
        return cls(db)

    def add(self, args: dict[str, Any]) -> asyncio.Future[None]:
        self.ids += 1
        row: Row = [self.ids, "noop", json.dumps(args), "pending"]
        self.rows.append(row)
        self.running.add(task := asyncio.create_task(self.run(row)))
        task.add_done_callback(self.running.discard)
        self.wake.set()
        return self.promise

    async def run(self, row: Row) -> None:
        await noop()
        row[3] = "success"
        self.done += 1

    async def write(self) -> None:
        while True:
            await self.wake.wait()
            self.wake.clear()
            rows, self.rows = self.rows, []
            promise, self.promise = self.promise, asyncio.get_running_loop().create_future()
            await self.db.execute("BEGIN IMMEDIATE")
            await self.db.executemany("INSERT INTO task VALUES (?, ?, ?, ?)", rows)
            await self.db.commit()
            promise.set_result(None)

    async def close(self) -> None:
        self.writer.cancel()
        await asyncio.wait({self.writer})
        await self.db.close()


async def noop() -> None:
    """Nothing."""
