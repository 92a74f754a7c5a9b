"""A program that adds many tasks behind one busy slot, says what that costs, and lets some run.

``python -m tests.apps.crowd DATABASE COUNT RUN`` prints one JSON object; at least ``RUN`` tasks run
before it stops.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sys
import time

import psutil

from taskflow import ManagedBackgroundTasks, TaskManager

AT_A_TIME = 500
LEVELS = 5

free = asyncio.Event()
#: The numbers of the tasks, in the order in which they ran.
order: list[int] = []
enough = asyncio.Event()


async def block() -> None:
    await free.wait()


async def note(number: int, run: int) -> None:
    order.append(number)
    if len(order) >= run:
        enough.set()


def resident() -> float:
    """MiB of memory in use."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 2**20


async def main(database: str, count: int, run: int) -> None:
    # Whatever waits at the end is handed back at once.
    manager = TaskManager(database, async_limit=1, cpu_workers=1, shutdown_grace=0)
    manager.task(block)
    manager.task(note)
    draw = random.Random(20261122)
    priorities = bytes(draw.randrange(LEVELS) for _ in range(count))
    async with manager:
        await manager.enqueue(block)
        idle, began = resident(), time.monotonic()
        for start in range(0, count, AT_A_TIME):
            tasks = ManagedBackgroundTasks(manager)
            for number in range(start, start + AT_A_TIME):
                tasks.add_task(manager.options(note, priority=priorities[number]), number, run)
            await tasks()
        added, waiting = time.monotonic() - began, resident()
        free.set()
        await enough.wait()
    wanted = sorted(range(count), key=lambda number: (-priorities[number], number))
    room = manager.settings.async_queue

    def in_order(*, on_disk: bool) -> bool:
        """Whether those that waited on disk, or in memory, ran in the order of their priority."""
        ran = [number for number in order if (number >= room) is on_disk]
        return len(ran) > 0 and ran == [n for n in wanted if (n >= room) is on_disk][: len(ran)]

    report = {
        "ran": len(order),
        "grown_mib": waiting - idle,
        "added_s": added,
        "memory_in_order": in_order(on_disk=False),
        "disk_in_order": in_order(on_disk=True),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
