"""Schedules by the real clock: punctual, once each, and none ends because the store is away."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path

import pytest

from taskflow import TaskManager
from taskflow.record import TaskFilter
from tests.guide.crew import until

#: Seconds that somebody holds the database.
LOCKED = float(os.environ.get("LOCKED", "3"))


async def slots(manager: TaskManager) -> list[int]:
    """The slots that were fired, in order."""
    page = await manager.engine.store.list(TaskFilter(limit=200))
    texts = [json.loads(record.tags or "")["slot"] for record in page.items]
    return sorted(int(datetime.fromisoformat(text).timestamp()) for text in texts)


@pytest.mark.parametrize("catch_up", ["latest", "all"])
async def test_a_locked_database_delays_schedules_visibly_and_ends_none(
    db_path: Path, catch_up: str, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[float] = []

    async def note() -> None:
        ran.append(time.time())

    manager = TaskManager(db_path, enqueue_timeout=0.5)
    manager.schedule(every=1, name="x", overlap="allow", catch_up=catch_up)(note)  # type: ignore[arg-type]
    async with manager:
        await until(lambda: len(ran) >= 2)
        other = await asyncio.to_thread(sqlite3.connect, db_path, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        locked_at, before = time.time(), len(ran)
        await asyncio.sleep(LOCKED)

        state = await manager.schedules.get("x")
        assert state.lag > LOCKED - 1.5
        assert manager.engine.scheduler.failures > 0
        assert len(ran) <= before + 1  # one that was stored already
        other.rollback()
        other.close()
        freed_at = time.time()
        await until(lambda: len(ran) >= before + 3)

        assert (await manager.schedules.get("x")).lag < 1.5
        fired = await slots(manager)
        # The last look under the lock may have been when it was freed, and began a little earlier.
        missed = set(range(int(locked_at) + 2, int(freed_at - 0.5)))
        assert missed & set(fired) == (missed if catch_up == "all" else set())
        assert len(fired) == len(set(fired))
    assert "scheduler waits for the store" in caplog.text


APP = """
import asyncio, sys
from taskflow import TaskManager

manager = TaskManager(sys.argv[1], cpu_workers=1)

@manager.schedule(every=1, name="x", overlap="allow")
async def note() -> None:
    pass

async def main() -> None:
    async with manager:
        print("up", flush=True)
        await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_three_processes_of_which_two_are_killed_fire_each_second_once(
    db_path: Path, tmp_path: Path
) -> None:
    script = tmp_path / "app.py"
    script.write_text(APP)
    running = [
        subprocess.Popen([sys.executable, script, db_path], stdout=subprocess.PIPE)  # noqa: ASYNC220
        for _ in range(3)
    ]
    try:
        for process in running:
            assert process.stdout is not None
            assert await asyncio.to_thread(process.stdout.readline) == b"up\n"
        began = time.time()
        await asyncio.sleep(2)
        running[0].kill()
        await asyncio.sleep(2)
        running[1].kill()
        await asyncio.sleep(2)
        ended = time.time()
    finally:
        for process in running:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    manager = TaskManager(db_path)
    await manager.open()
    fired = await slots(manager)
    await manager.close()
    assert len(fired) == len(set(fired))
    wanted = set(range(int(began) + 1, int(ended)))
    assert wanted <= set(fired)
