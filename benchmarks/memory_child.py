"""One fresh process for `bench_memory`: ``memory_child DATABASE TASKS LANE GROUP``."""

from __future__ import annotations

import asyncio
import gc
import re
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from benchmarks import work
from benchmarks.children import report, run
from taskflow import ManagedBackgroundTasks, TaskManager, TaskStatus

BLOCKERS: dict[str, Callable[..., Any]] = {"async": work.block_loop_slot, "io": work.block_thread}
WAITERS: dict[str, Callable[..., Any]] = {"async": work.count_async, "io": work.count}


def resident() -> int:
    """Resident memory of this process in bytes."""
    gc.collect()
    return int(psutil.Process().memory_info().rss)


def peak() -> int:
    """The most memory this program ever had resident, in bytes."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:  # not Linux; there the figure may be that of the process that started this one
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    kib = re.search(r"^VmHWM:\s*(\d+) kB", status, re.MULTILINE)
    assert kib is not None, status
    return int(kib[1]) * 1024


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
        report(idle=idle, after=after, peak=most, waiting=counts.get(TaskStatus.PENDING, 0))


if __name__ == "__main__":
    run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
