"""How soon is an endless loop in a worker process told of and its slot back, with a timeout of 1 s?

In Python, where SIGTERM ends it, and in C without ever letting go of the interpreter lock, where
only SIGKILL does. The next task waits for the only slot; one more worker process is warm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import uvloop

from benchmarks import stubborn
from benchmarks.harness import Figure, Report, check_all_done, collect, first_line, scratch
from executors import ProcessLane
from taskflow import TaskFailedError, TaskManager

TINY = {"rounds": 1, "timeout": 0.2}


async def until_spare_is_warm(lane: ProcessLane) -> None:
    """Two workers are up and do nothing."""
    async with asyncio.timeout(60):
        while [worker.busy for worker in lane.workers()] != [False, False]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def cut(function: Callable[..., Any], timeout: float) -> tuple[float, float]:
    """Seconds from the start of the attempt to its end, and from there until the slot serves."""
    with scratch() as folder:
        manager = TaskManager(folder / "tasks.db", cpu_workers=1)
        manager.task(lane="cpu")(function)
        manager.task(lane="cpu")(stubborn.tell_the_time)
        async with manager:
            for _ in range(3):
                await (await manager.enqueue(stubborn.tell_the_time)).result(timeout=60)
            lane = manager.engine.lanes["cpu"]
            assert isinstance(lane, ProcessLane)
            await until_spare_is_warm(lane)
            began = time.monotonic()
            endless = await manager.enqueue(manager.options(function, timeout=timeout))
            following = await manager.enqueue(stubborn.tell_the_time)
            try:
                await endless.result(timeout=60)
            except TaskFailedError as error:
                check_all_done(int("its worker process was killed" in str(error)), 1)
            told = time.monotonic()
            served = await following.result(timeout=60)
    return told - began, max(served - told, 0.0)


def one_round(timeout: float) -> Mapping[str, float]:
    """Both kinds of loop."""
    found = {}
    for name, function in (("python", stubborn.spin), ("c", stubborn.hold_the_interpreter)):
        told, again = uvloop.run(cut(function, timeout))
        found[f"{name} told"], found[f"{name} again"] = told, again * 1000
    return found


def run(rounds: int = 3, timeout: float = 1.0) -> Report:
    """The figures of this benchmark."""
    found = collect(rounds, lambda: one_round(timeout), warm_up=False)
    return Report(
        first_line(__doc__),
        (
            Figure("loop in Python: told after", "s", found["python told"], at_most=1.5),
            Figure("its slot serves again", "ms", found["python again"], at_most=100.0),
            Figure("loop in C: told after", "s", found["c told"], at_most=3.5),
            Figure("its slot serves again", "ms", found["c again"], at_most=100.0),
        ),
    )
