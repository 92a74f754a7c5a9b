"""One instance for `bench_recovery`: ``recovery_child leave|start|watch DATABASE TASKS``."""

from __future__ import annotations

import time

IMPORT_BEGAN = time.monotonic()

# What an app imports anyway is part of its import and not of a recovery.
# ruff: noqa: E402 - the clock must run before the imports
import asyncio
import sys
from pathlib import Path

from benchmarks import work
from benchmarks.children import report, run
from taskflow import ManagedBackgroundTasks, TaskManager, TaskStatus

IMPORTED = time.monotonic() - IMPORT_BEGAN
GROUP = 500


async def leave(manager: TaskManager, tasks: int) -> None:
    """Add tasks that never end here, and wait to be killed."""
    await manager.startup()
    for start in range(0, tasks, GROUP):
        added = ManagedBackgroundTasks(manager)
        for number in range(start, min(start + GROUP, tasks)):
            added.add_task(work.mark, number)
        await added()
    await manager.engine.settle()
    counts = await manager.engine.store.counts()
    unfinished = sum(counts.get(one, 0) for one in (TaskStatus.PENDING, TaskStatus.RUNNING))
    report(unfinished=unfinished)
    await asyncio.Event().wait()


async def finish(manager: TaskManager, tasks: int, began: float) -> None:
    """Run what another instance left, and say when."""
    store = manager.engine.store
    counts: dict[TaskStatus, int] = {}
    while counts.get(TaskStatus.SUCCESS, 0) < tasks:
        await asyncio.sleep(0.001)
        await manager.join()
        # Before the first one there is nothing to count, and the store is left alone.
        if work.first_mark is not None:
            counts = await store.counts()
    last = time.monotonic()
    report(
        imported=IMPORTED,
        began=began,
        first=work.first_mark,
        last=last,
        success=counts.get(TaskStatus.SUCCESS, 0),
    )
    await manager.shutdown()


async def main(role: str, database: Path, tasks: int) -> None:
    """Play one of the roles."""
    manager = TaskManager(database)
    manager.task(work.mark)
    if role == "leave":
        await leave(manager, tasks)
        return
    began = time.monotonic()
    await manager.startup()
    if role == "watch":
        report(ready=True)
    async with asyncio.timeout(120):
        await finish(manager, tasks, began)


if __name__ == "__main__":
    run(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
