"""How many durable no-op coroutine tasks a second go through one event loop?

Measured beside the bare sketch of a group-committing queue (`sketch.py`), with the same eight
producers that add a hundred tasks each and wait until these are on disk. Every task ends recorded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import uvloop

from benchmarks.harness import Figure, Report, check_all_done, in_turn, ratios, scratch
from benchmarks.sketch import Sketch
from taskflow import ManagedBackgroundTasks, TaskManager, TaskStatus

TASKS = 40_000
PRODUCERS = 8
BURST = 100


async def produce(total: int, burst: Callable[[int], Awaitable[None]]) -> None:
    """Add ``total`` tasks in bursts, from several producers at once."""

    async def producer(share: int) -> None:
        for start in range(0, share, BURST):
            await burst(min(BURST, share - start))

    await asyncio.gather(*(producer(total // PRODUCERS) for _ in range(PRODUCERS)))


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


done = 0


async def noop(number: int) -> None:
    """Nothing, counted."""
    global done
    done += 1


async def taskflow_rate(total: int, function: Callable[[int], object]) -> float:
    """Tasks a second through taskflow, from the first `add_task` to the last recorded end."""
    global done
    done = 0
    with scratch() as folder:
        manager = TaskManager(folder / "tasks.db")
        manager.task(function)
        async with manager:

            async def burst(size: int) -> None:
                tasks = ManagedBackgroundTasks(manager)
                for number in range(size):
                    tasks.add_task(function, number)
                await tasks()

            began = time.perf_counter()
            await produce(total, burst)
            await manager.join()
            took = time.perf_counter() - began
            counts = await manager.engine.store.counts()
            check_all_done(counts[TaskStatus.SUCCESS], total)
    return total / took


def run(rounds: int = 5) -> Report:
    """The figures of this benchmark."""
    found = in_turn(
        rounds,
        sketch=lambda: uvloop.run(sketch_rate(TASKS)),
        ours=lambda: uvloop.run(taskflow_rate(TASKS, noop)),
    )
    return Report(
        __doc__.splitlines()[0] if __doc__ else "",
        (
            Figure("bare group-commit sketch", "tasks/s", found["sketch"]),
            Figure("taskflow, async lane", "tasks/s", found["ours"]),
            Figure("taskflow to sketch", "x", ratios(found["ours"], found["sketch"])),
        ),
    )
