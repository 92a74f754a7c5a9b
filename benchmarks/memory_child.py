"""One fresh process for `bench_memory`: ``memory_child DATABASE TASKS LANE GROUP``."""

from __future__ import annotations

import asyncio
import gc
import resource
import sys
from pathlib import Path

import psutil
import uvloop

from benchmarks import work
from benchmarks.children import report
from taskflow import ManagedBackgroundTasks, TaskManager, TaskStatus

BLOCKERS = {"async": work.block_loop_slot, "io": work.block_thread}
WAITERS = {"async": work.count_async, "io": work.count}


def resident() -> int:
    """Resident memory of this process in bytes."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def peak() -> int:
    """The most memory this process ever had resident, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def add_all(manager: TaskManager, tasks: int, lane: str, group: int) -> None:
    """Add the tasks a group at a time, as requests that follow each other would."""
    for start in range(0, tasks, group):
        added = ManagedBackgroundTasks(manager)
        for number in range(start, min(start + group, tasks)):
            added.add_task(WAITERS[lane], number)
        await added()


async def main(database: Path, tasks: int, lane: str, group: int) -> None:
    """Block the only slot, look at the memory, add everything, look again."""
    # Nothing is to be finished here: what waits is handed back at once.
    manager = TaskManager(database, async_limit=1, io_workers=1, shutdown_grace=0)
    for function in (*BLOCKERS.values(), *WAITERS.values()):
        manager.task(function)
    async with manager:
        await manager.enqueue(BLOCKERS[lane])
        await asyncio.sleep(0.2)
        idle = resident()
        await add_all(manager, tasks, lane, group)
        after, most = resident(), peak()
        counts = await manager.engine.store.counts()
        report(idle=idle, after=after, peak=most, waiting=counts[TaskStatus.PENDING])


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
