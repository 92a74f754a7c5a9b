"""How long after it was added does a task run, on an idle app?

From the call of `enqueue` to the first line of the function, one task at a time; and to the return
of `enqueue`, when the task is on disk. While the store is prompt a task starts together with its
commit, eager or not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import uvloop

from benchmarks import work
from benchmarks.harness import (
    Figure,
    Report,
    check_all_done,
    collect,
    first_line,
    percentile,
    scratch,
)
from taskflow import TaskManager, TaskStatus

#: Lane and function; each returns when it began.
LANES: tuple[tuple[str, Callable[[], Any]], ...] = (
    ("async", work.now_async),
    ("io", work.now),
    ("cpu", work.now_in_process),
)
TINY = {"rounds": 1, "tasks": 3}


async def latencies(
    manager: TaskManager, function: Callable[[], Any], tasks: int
) -> dict[str, list[float]]:
    """Milliseconds from adding to starting, and to being on disk, task by task."""
    found: dict[str, list[float]] = {"starts": [], "on disk": []}
    for _ in range(tasks):
        began = time.monotonic()
        handle = await manager.enqueue(function)
        found["on disk"].append((time.monotonic() - began) * 1000)
        started: float = await handle.result()
        found["starts"].append((started - began) * 1000)
        await manager.join()
    return found


async def one_round(tasks: int) -> dict[str, float]:
    """p50 and p95 of every lane."""
    found = {}
    with scratch() as folder:
        manager = TaskManager(folder / "tasks.db", cpu_workers=2)
        for lane, function in LANES:
            manager.task(lane=lane)(function)  # type: ignore[call-overload]  # names from above
        async with manager:
            for lane, function in LANES:
                await latencies(manager, function, 5)
                eager = manager.options(function, eager=True)
                for way, target in (("", function), (", eager", eager)):
                    for what, values in (await latencies(manager, target, tasks)).items():
                        for share in (0.5, 0.95):
                            name = f"{lane} lane{way}: {what}, p{share * 100:.0f}"
                            found[name] = percentile(values, share)
            counts = await manager.engine.store.counts()
            check_all_done(counts.get(TaskStatus.SUCCESS, 0), len(LANES) * (2 * tasks + 5))
    return found


def run(rounds: int = 3, tasks: int = 300) -> Report:
    """The figures of this benchmark."""
    found = collect(rounds, lambda: uvloop.run(one_round(tasks)))
    return Report(
        first_line(__doc__), tuple(Figure(name, "ms", values) for name, values in found.items())
    )
