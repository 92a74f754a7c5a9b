"""An instance with schedules for `bench_schedules`: ``DATABASE SECONDS EVERY_SECOND DAILY``."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from benchmarks.children import report, run
from taskflow import TaskManager

#: Seconds between the slot of a task and its first line, as it is measured there.
lateness: list[float] = []


async def note() -> None:
    """A task of a schedule whose slots are whole seconds."""
    lateness.append(time.time() % 1.0)


async def main(database: Path, seconds: float, every_second: int, daily: int) -> None:
    """Run the schedules for a while, and say how that went."""
    manager = TaskManager(database, cpu_workers=1)
    for number in range(every_second):
        manager.schedule(every=1, name=f"second-{number}", overlap="allow")(note)
    for number in range(daily):
        cron = f"{number % 60} {number // 60 % 24} * * *"
        manager.schedule(cron=cron, timezone="Europe/Berlin", name=f"day-{number}")(note)
    async with manager:
        await asyncio.sleep(3.0)
        lateness.clear()
        began, used = time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        share = (time.process_time() - used) / (time.monotonic() - began)
        report(share=share, lateness=list(lateness))


if __name__ == "__main__":
    path, length, *counts = sys.argv[1:]
    run(main(Path(path), float(length), *map(int, counts)))
