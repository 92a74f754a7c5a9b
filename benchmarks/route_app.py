"""The app behind `bench_route`: plain FastAPI, or with taskflow where ``BENCH_TASKFLOW`` is set."""

from __future__ import annotations

import os

from fastapi import BackgroundTasks, FastAPI

from benchmarks import work
from taskflow import TaskAdmin, TaskManager, TaskStatus

app = FastAPI()
task_manager: TaskManager | None = None
added = 0

if "BENCH_TASKFLOW" in os.environ:
    task_manager = TaskManager()
    task_manager.task(work.count_async)
    TaskAdmin(app, task_manager, auto_install=True)


@app.get("/add")
async def add(background_tasks: BackgroundTasks) -> dict[str, bool]:
    """A route that adds one task."""
    global added
    background_tasks.add_task(work.count_async, 1)
    added += 1
    return {"ok": True}


@app.get("/nothing")
async def nothing() -> dict[str, bool]:
    """A route that adds none."""
    return {"ok": True}


@app.get("/books")
async def books() -> dict[str, int]:
    """How many tasks were added, how many ran, how many are recorded as a success."""
    recorded = work.done
    if task_manager is not None:
        await task_manager.join()
        recorded = (await task_manager.engine.store.counts()).get(TaskStatus.SUCCESS, 0)
    return {"added": added, "done": work.done, "recorded": recorded}
