"""The app behind the benchmarks that ask for a route while tasks run."""

from __future__ import annotations

import time

from fastapi import BackgroundTasks, FastAPI

from taskflow import TaskAdmin, TaskManager

task_manager = TaskManager()
app = FastAPI()
TaskAdmin(app, task_manager, auto_install=True)


@task_manager.task(lane="cpu")
def burn(seconds: float) -> None:
    """Compute for so long."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


@task_manager.task
def sleep(seconds: float) -> None:
    """Block a thread for so long."""
    time.sleep(seconds)


@task_manager.task
async def nothing() -> None:
    """Do nothing."""


@app.post("/nothing")
async def add_nothing(background_tasks: BackgroundTasks) -> None:
    """Add a task that does nothing."""
    background_tasks.add_task(nothing)


@app.post("/burn")
async def add_burn(count: int, seconds: float, background_tasks: BackgroundTasks) -> None:
    """Add tasks that compute."""
    for _ in range(count):
        background_tasks.add_task(burn, seconds)


@app.post("/sleep")
async def add_sleep(count: int, seconds: float, background_tasks: BackgroundTasks) -> None:
    """Add tasks that block a thread."""
    for _ in range(count):
        background_tasks.add_task(sleep, seconds)


@app.get("/ping")
async def ping() -> dict[str, bool]:
    """A route on the event loop."""
    return {"ok": True}


@app.get("/ping-def")
def ping_def() -> dict[str, bool]:
    """A route in one of the threads that FastAPI keeps for these."""
    return {"ok": True}
