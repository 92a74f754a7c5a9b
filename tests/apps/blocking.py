"""Routes and tasks that hold the event loop, each in its own way."""

from __future__ import annotations

import os
import time

from fastapi import BackgroundTasks, FastAPI

from taskflow import TaskAdmin, TaskManager
from tests.apps.holding import hold_the_interpreter

#: Seconds for which each of them holds it, at least: what computes, computes for so long, and on a
#: busy machine that takes longer.
LENGTH = 0.5

task_manager = TaskManager()
app = FastAPI()
TaskAdmin(app, task_manager, auto_install=True)


def wait() -> None:
    time.sleep(LENGTH)


def compute() -> None:
    until = time.thread_time() + LENGTH
    while time.thread_time() < until:
        pass


def compute_in_c() -> None:
    hold_the_interpreter(LENGTH)


WAYS = {"wait": wait, "compute": compute, "compute_in_c": compute_in_c}


def hold_in(way: str) -> tuple[float, float]:
    """Hold the loop in this way; for how many seconds, and for which part on a processor."""
    began, used = time.perf_counter(), time.thread_time()
    WAYS[way]()
    took = time.perf_counter() - began
    return took, (time.thread_time() - used) / took


@task_manager.task(name="blocks")
async def blocks(way: str) -> tuple[float, float]:
    return hold_in(way)


@app.get("/hold/{way}")
async def hold(way: str) -> tuple[float, float]:
    return hold_in(way)


@app.post("/add/{way}")
async def add(way: str, background_tasks: BackgroundTasks) -> str:
    return str(background_tasks.add_task(blocks, way))  # type: ignore[func-returns-value]


@app.get("/ping")
async def ping() -> int:
    return os.getpid()
