"""Do limits hold, and does the loop keep going, while they are changed 200 times under load?

Tasks of a queue note how many of them run at once; at random moments the slots of the async lane or
the concurrency of the queue are changed. After a change to less what runs goes on, and nothing may
start until fewer run than the new limits allow.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping

import uvloop

from benchmarks.harness import Figure, Report, check_all_done, collect, first_line, scratch
from taskflow import ManagedBackgroundTasks, QueueConfig, TaskManager, TaskStatus

QUEUE = "limited"
MOST = 20
GROUP = 100
TINY = {"rounds": 1, "changes": 10, "tasks": 200}


class Watch:
    """What runs now, held against what may."""

    def __init__(self) -> None:
        self.running = 0
        self.allowed = MOST
        self.over = 0
        self.starts = 0

    async def work(self) -> None:
        """One task: it starts, which it may only if it fits, and takes a few milliseconds."""
        self.running += 1
        self.starts += 1
        if self.running > self.allowed:
            self.over += 1
        await asyncio.sleep(0.005)
        self.running -= 1


async def stalls(over: asyncio.Event) -> float:
    """The longest time in milliseconds that the loop was kept from a timer of one millisecond."""
    worst = 0.0
    while not over.is_set():
        began = time.perf_counter()
        await asyncio.sleep(0.001)
        worst = max(worst, time.perf_counter() - began - 0.001)
    return worst * 1000


async def change(manager: TaskManager, watch: Watch, changes: int, draw: random.Random) -> float:
    """Change limits at random; milliseconds that one change took at most."""
    slowest = 0.0
    lane = queue = MOST
    for _ in range(changes):
        limit = draw.randint(1, MOST)
        began = time.perf_counter()
        if draw.random() < 0.5:
            # What is allowed more is so from the moment of asking, what is less from the answer on.
            watch.allowed, lane = max(watch.allowed, min(limit, queue)), limit
            await manager.lanes["async"].resize(limit)
        else:
            watch.allowed, queue = max(watch.allowed, min(lane, limit)), limit
            await manager.queues[QUEUE].change(concurrency=limit)
        slowest = max(slowest, time.perf_counter() - began)
        # What had its slot by then takes its first step in this round of the loop.
        await asyncio.sleep(0)
        watch.allowed = min(lane, queue)
        await asyncio.sleep(draw.uniform(0.0, 0.02))
    return slowest * 1000


async def under_load(tasks: int, changes: int, seed: int) -> Mapping[str, float]:
    """Figures of one round."""
    watch = Watch()
    queues = {QUEUE: QueueConfig(concurrency=MOST)}
    with scratch() as folder:
        manager = TaskManager(folder / "tasks.db", async_limit=MOST, queues=queues)
        manager.task(queue=QUEUE, name="work")(watch.work)
        async with manager:
            over = asyncio.Event()
            watchman = asyncio.create_task(stalls(over))
            for _ in range(0, tasks, GROUP):
                added = ManagedBackgroundTasks(manager)
                for _ in range(GROUP):
                    added.add_task(watch.work)
                await added()
            slowest = await change(manager, watch, changes, random.Random(seed))
            watch.allowed = MOST
            await manager.lanes["async"].resize(None)
            await manager.queues[QUEUE].change(concurrency=None)
            await manager.join()
            over.set()
            worst = await watchman
            counts = await manager.engine.store.counts()
            check_all_done(counts.get(TaskStatus.SUCCESS, 0), tasks)
            check_all_done(watch.starts, tasks)
    return {"over": float(watch.over), "slowest": slowest, "stall": worst}


def run(rounds: int = 3, changes: int = 200, tasks: int = 3000) -> Report:
    """The figures of this benchmark."""
    seeds = iter(range(1_000_000))
    found = collect(
        rounds, lambda: uvloop.run(under_load(tasks, changes, next(seeds))), warm_up=False
    )
    return Report(
        first_line(__doc__),
        (
            Figure(f"starts over a limit, of {tasks}", "tasks", found["over"], at_most=1.0),
            Figure("longest change of a limit", "ms", found["slowest"]),
            Figure("longest stall of the loop", "ms", found["stall"], at_most=200.0),
        ),
    )
