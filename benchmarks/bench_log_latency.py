"""How long does a line or a step of a running task take to a subscriber in the app?

From the call of `task_log` or `progress` to the subscriber, on one clock for all processes of the
machine, task by task; from a worker process, and from a thread. The lines come one every few
milliseconds; so do the steps, of which a subscriber hears about ten a second, the newest each time.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

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
from taskflow import TaskManager, TaskStatus, progress, task_log
from taskflow.feed import LineWritten, Progressed, Subscription, TaskChanged

#: Seconds between two lines or steps: not a multiple of the time between two looks at progress.
PAUSE = 0.007
#: What the project holds itself to, in milliseconds.
AT_MOST = 100.0
TINY = {"rounds": 1, "lines": 5}


def speak(lines: int) -> None:
    """Lines and steps, each with the time at which it was said."""
    for _ in range(lines):
        time.sleep(PAUSE)
        task_log(str(time.monotonic()))
        progress(time.monotonic())


def speak_in_process(lines: int) -> None:
    """The same, by a name of its own for a lane of its own."""
    speak(lines)


LANES: tuple[tuple[str, Callable[[int], None]], ...] = (("cpu", speak_in_process), ("io", speak))


async def listen(events: Subscription) -> dict[str, list[float]]:
    """Milliseconds that each event took, until the task ends."""
    found: dict[str, list[float]] = {"line": [], "step": []}
    async for event in events:
        if isinstance(event, LineWritten):
            found["line"].append((time.monotonic() - float(event.message)) * 1000)
        elif isinstance(event, Progressed):
            found["step"].append((time.monotonic() - event.done) * 1000)
        elif isinstance(event, TaskChanged) and event.status == TaskStatus.SUCCESS:
            break
    return found


async def one_round(lines: int) -> dict[str, float]:
    """p50 and p95 of every lane."""
    found = {}
    with scratch() as folder:
        manager = TaskManager(folder / "tasks.db", cpu_workers=1)
        manager.task(lane="cpu")(work.now_in_process)
        for lane, function in LANES:
            manager.task(lane=lane)(function)  # type: ignore[call-overload]  # names from above
        async with manager:
            await (await manager.enqueue(work.now_in_process)).result()
            for lane, function in LANES:
                async with manager.subscribe() as events:
                    listening = asyncio.create_task(listen(events))
                    await manager.enqueue(function, lines)
                    heard = await listening
                check_all_done(len(heard["line"]), lines)
                for what, values in heard.items():
                    for share in (0.5, 0.95):
                        name = f"{lane} lane, a {what}: p{share * 100:.0f}"
                        found[name] = percentile(values, share)
    return found


def run(rounds: int = 3, lines: int = 1000) -> Report:
    """The figures of this benchmark."""
    found = collect(rounds, lambda: uvloop.run(one_round(lines)))
    return Report(
        first_line(__doc__),
        tuple(
            Figure(name, "ms", values, at_most=AT_MOST if name.endswith("p95") else None)
            for name, values in found.items()
        ),
    )
