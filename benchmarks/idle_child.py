"""An idle app for `bench_idle`: ``idle_child DATABASE SECONDS SETTING=VALUE ...``."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks import work
from benchmarks.children import report, run
from taskflow import TaskManager


async def main(database: Path, seconds: float, settings: dict[str, Any]) -> None:
    """Do nothing for a while, and say what that cost."""
    manager = TaskManager(database, cpu_workers=2, **settings)
    manager.task(lane="cpu")(work.burn)
    async with manager:
        for _ in range(4):
            await manager.enqueue(work.burn, 1)
        await manager.join()
        await asyncio.sleep(1.0)
        began, used = time.monotonic(), time.process_time()
        await asyncio.sleep(seconds)
        report(share=(time.process_time() - used) / (time.monotonic() - began))


if __name__ == "__main__":
    given = dict(word.split("=") for word in sys.argv[3:])
    wanted = {name: float(value) for name, value in given.items()}
    run(main(Path(sys.argv[1]), float(sys.argv[2]), wanted))
