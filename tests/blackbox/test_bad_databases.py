"""A database that cannot be used is named at once; one that fails later loses nothing."""

# ruff: noqa: ASYNC240 - looking at a file takes no time

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import BackgroundTasks, FastAPI

from taskflow import StoreError, StoreUnavailableError, TaskAdmin, TaskManager, TaskStatus


def make(path: Path | str, **settings: Any) -> TaskManager:
    return TaskManager(path, io_workers=1, cpu_workers=1, shutdown_grace=1, **settings)


def _directory(path: Path) -> None:
    path.mkdir()


def _text(path: Path) -> None:
    path.write_text("dear diary, " * 500)


def _spreadsheet(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE sales (amount)")
    connection.close()


def _newer(path: Path) -> None:
    async def make_current() -> None:
        async with make(path):
            pass

    asyncio.run(make_current())
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = 1000 WHERE key = 'schema_version'")
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        (_directory, "is a directory: give the path of a file"),
        (_text, "is not an SQLite database"),
        (_spreadsheet, "holds tables of another program"),
        (_newer, "has schema version 1000.*upgrade taskflow"),
    ],
)
def test_a_database_that_cannot_be_used_stops_the_start_with_one_clear_error(
    db_path: Path, spoil: Callable[[Path], None], complaint: str
) -> None:
    spoil(db_path)

    async def start() -> None:
        manager = make(db_path)
        try:
            await manager.startup()
        finally:
            await manager.shutdown()

    with pytest.raises(StoreError, match=complaint) as caught:
        asyncio.run(start())

    assert str(db_path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("/nowhere/at/all/tasks.db", "/nowhere/at/all does not exist: create the directory"),
        ("/sys/tasks.db", r"cannot be created|not writable"),
    ],
)
async def test_a_directory_that_cannot_be_used_stops_the_start(path: str, complaint: str) -> None:
    with pytest.raises(StoreError, match=complaint):
        await make(path).startup()


async def test_a_start_that_failed_can_be_tried_again(db_path: Path) -> None:
    db_path.mkdir()
    manager = make(db_path)
    with pytest.raises(StoreError):
        await manager.startup()
    db_path.rmdir()

    async with manager:
        handle = await manager.enqueue(len, [1, 2])
        assert await handle.result() == 2


async def test_a_database_that_is_locked_refuses_requests_in_time_and_then_goes_on(
    db_path: Path,
) -> None:
    manager = make(db_path, enqueue_timeout=0.5)
    app = FastAPI()
    TaskAdmin(app, manager, auto_install=True)
    ran: list[int] = []

    @app.post("/add/{number}")
    async def add(number: int, background_tasks: BackgroundTasks) -> None:
        background_tasks.add_task(ran.append, number)

    @app.get("/ping")
    async def ping() -> str:
        return "pong"

    transport = httpx.ASGITransport(app)
    async with manager, httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        stranger = sqlite3.connect(db_path, isolation_level=None)
        stranger.execute("BEGIN EXCLUSIVE")

        adding = asyncio.create_task(client.post("/add/1"))
        slowest = 0.0
        while not adding.done():
            begin = time.monotonic()
            await asyncio.sleep(0.005)
            assert (await client.get("/ping")).status_code == 200
            slowest = max(slowest, time.monotonic() - begin)

        assert (await adding).status_code == 503
        # Blocked, it would be the whole half second.
        assert slowest < 0.4
        stranger.execute("ROLLBACK")
        stranger.close()
        assert (await client.post("/add/2")).status_code == 200
        await manager.join()

    assert ran[-1] == 2


async def test_a_database_that_fills_up_refuses_what_it_cannot_keep_and_heals(
    db_path: Path,
) -> None:
    manager = make(db_path, enqueue_timeout=0.5, max_args_bytes=10_000_000)
    async with manager:
        first = await manager.enqueue(len, "x")
        assert await first.result() == 1
        resource = pytest.importorskip("resource")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, hard))
        try:
            with pytest.raises(StoreUnavailableError):
                await manager.enqueue(len, "x" * 8_000_000)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

        second = await manager.enqueue(len, "xy")
        assert await second.result() == 2
        assert first.task_id != second.task_id


async def test_nothing_acknowledged_is_lost_when_the_database_was_locked_while_tasks_ended(
    db_path: Path,
) -> None:
    manager = make(db_path, enqueue_timeout=0.3)
    release = asyncio.Event()

    async def wait() -> str:
        await release.wait()
        return "done"

    async with manager:
        handle = await manager.enqueue(wait)
        stranger = sqlite3.connect(db_path, isolation_level=None)
        stranger.execute("BEGIN IMMEDIATE")
        release.set()
        # The end of the task cannot be written; it is kept and written when the lock is free.
        await asyncio.sleep(0.6)
        stranger.execute("ROLLBACK")
        stranger.close()
        await asyncio.wait_for(manager.join(), 60)
        task_id = handle.task_id

    connection = sqlite3.connect(db_path)
    rows = connection.execute("SELECT status FROM tasks WHERE task_id = ?", (task_id,)).fetchall()
    connection.close()
    assert rows == [(TaskStatus.SUCCESS.value,)]
