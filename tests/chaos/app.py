"""The app that is killed: tasks in all three lanes, each leaves one line per execution."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from fastapi import BackgroundTasks, FastAPI

from taskflow import TaskAdmin, TaskManager, get_task_context

EFFECTS = Path(os.environ.get("CHAOS_EFFECTS", "effects.txt"))

task_manager = TaskManager()
app = FastAPI()
TaskAdmin(app, task_manager, auto_install=True)


def leave_a_mark() -> None:
    """One line in one write, so that lines of several processes do not mix."""
    context = get_task_context()
    assert context is not None
    with EFFECTS.open("ab", buffering=0) as file:
        file.write(f"{context.task_id}\n".encode())


@task_manager.task(retries=2)
async def on_the_loop(pause: float) -> None:
    await asyncio.sleep(pause)
    leave_a_mark()


@task_manager.task(retries=2)
def in_a_thread(pause: float) -> None:
    time.sleep(pause)
    leave_a_mark()


@task_manager.task(retries=2, lane="cpu")
def in_a_process(pause: float) -> None:
    until = time.perf_counter() + pause
    while time.perf_counter() < until:
        pass
    leave_a_mark()


@app.post("/add")
async def add(pause: float, background_tasks: BackgroundTasks) -> list[str]:
    return [
        str(background_tasks.add_task(function, pause))  # type: ignore[func-returns-value]
        for function in (on_the_loop, in_a_thread, in_a_process)
    ]


@app.get("/ping")
async def ping() -> int:
    return os.getpid()
