"""Tasks a second that are added, committed, run and recorded: ours and the sketch's, load alike."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.harness import check_all_done, scratch
from benchmarks.sketch import Sketch
from taskflow import ManagedBackgroundTasks, TaskManager, TaskStatus

PRODUCERS = 8
BURST = 100
#: Tasks that run before the clock starts: threads and worker processes are up by then.
WARM_UP = 16


async def produce(total: int, burst: Callable[[int], Awaitable[None]]) -> None:
    """Add ``total`` tasks in bursts, from several producers at once."""

    async def producer(share: int) -> None:
        for start in range(0, share, BURST):
            await burst(min(BURST, share - start))

    share, rest = divmod(total, PRODUCERS)
    await asyncio.gather(*(producer(share + (number < rest)) for number in range(PRODUCERS)))


async def sketch_rate(total: int) -> float:
    """Tasks a second through the sketch."""
    with scratch() as folder:
        sketch = await Sketch.open(folder / "sketch.db")

        async def burst(size: int) -> None:
            promise = None
            for number in range(size):
                promise = sketch.add({"args": [number]})
            if promise is not None:
                await promise

        began = time.perf_counter()
        await produce(total, burst)
        took = time.perf_counter() - began
        check_all_done(sketch.done, total)
        await sketch.close()
    return total / took


async def taskflow_rate(
    total: int, function: Callable[[int], object], lane: str | None = None, **settings: Any
) -> float:
    """Tasks a second through taskflow, from the first `add_task` to the last recorded end."""
    with scratch() as folder:
        manager = TaskManager(folder / "tasks.db", **settings)
        manager.task(lane=lane)(function)  # type: ignore[arg-type]  # a name from a benchmark
        async with manager:

            async def burst(size: int) -> None:
                tasks = ManagedBackgroundTasks(manager)
                for number in range(size):
                    tasks.add_task(function, number)
                await tasks()

            await burst(WARM_UP)
            await manager.join()
            began = time.perf_counter()
            await produce(total, burst)
            await manager.join()
            took = time.perf_counter() - began
            counts = await manager.engine.store.counts()
            check_all_done(counts.get(TaskStatus.SUCCESS, 0), total + WARM_UP)
    return total / took
