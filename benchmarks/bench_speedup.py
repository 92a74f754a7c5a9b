"""How much sooner is CPU-bound work done on two slots of the cpu lane than in one process?

Two bare processes with half the work each show what the machine itself gives away: shared caches,
shared clocks, and whoever else runs on it.
"""

from __future__ import annotations

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import uvloop

from benchmarks import work
from benchmarks.harness import Figure, Report, check_all_done, collect, first_line, scratch
from taskflow import ManagedBackgroundTasks, TaskManager, TaskStatus

SLOTS = 2
TINY = {"rounds": 1, "tasks": 4, "seconds": 0.005}


def bare(tasks: int, iterations: int) -> float:
    """Seconds for all of it in two processes that are given their half at once."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(SLOTS, mp_context=context) as pool:
        for future in [pool.submit(work.rest) for _ in range(SLOTS)]:
            future.result()
        began = time.perf_counter()
        half = tasks // SLOTS
        list(pool.map(work.burn_alone, [half, tasks - half], [iterations] * SLOTS))
        return time.perf_counter() - began


async def ours(tasks: int, iterations: int) -> float:
    """Seconds for all of it as tasks, from adding the first to recording the last."""
    with scratch() as folder:
        manager = TaskManager(folder / "tasks.db", cpu_workers=SLOTS)
        manager.task(lane="cpu")(work.burn)
        async with manager:
            for _ in range(2 * SLOTS):
                await manager.enqueue(work.burn, 1)
            await manager.join()
            began = time.perf_counter()
            added = ManagedBackgroundTasks(manager)
            for _ in range(tasks):
                added.add_task(work.burn, iterations)
            await added()
            await manager.join()
            took = time.perf_counter() - began
            counts = await manager.engine.store.counts()
            check_all_done(counts.get(TaskStatus.SUCCESS, 0), tasks + 2 * SLOTS)
    return took


def run(rounds: int = 3, tasks: int = 200, seconds: float = 0.05) -> Report:
    """The figures of this benchmark; each task takes ``seconds`` of one core."""
    iterations = work.calibrate(seconds)

    def one_round() -> dict[str, float]:
        one = work.burn_alone(tasks, iterations)
        two_bare = bare(tasks, iterations)
        two = uvloop.run(ours(tasks, iterations))
        return {"one": one, "two": two, "gain": one / two, "bare": one / two_bare}

    found = collect(rounds, one_round, warm_up=False)
    share = tuple(gain / SLOTS for gain in found["gain"])
    possible = tuple(a / b for a, b in zip(found["gain"], found["bare"], strict=True))
    return Report(
        first_line(__doc__),
        (
            Figure(f"{tasks} x {seconds * 1000:g} ms in one process", "s", found["one"]),
            Figure("the same on two slots of the cpu lane", "s", found["two"]),
            Figure("speed-up of two bare processes", "x", found["bare"]),
            Figure("speed-up of the cpu lane", "x", found["gain"]),
            Figure("speed-up to the ideal of 2", "x", share, at_least=0.93),
            Figure("speed-up to that of two bare processes", "x", possible),
        ),
    )
