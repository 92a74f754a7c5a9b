"""One task in each lane; how long they take stands in a file, and each leaves marks in another.

``APP_FOLDER`` is where both files are: ``length`` with a number of seconds, ``marks`` with one line
for each start and each end.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

from fastapi import BackgroundTasks, FastAPI
from pydantic import BaseModel

from taskflow import TaskAdmin, TaskManager, get_task_context

FOLDER = Path(os.environ.get("APP_FOLDER", "."))

task_manager = TaskManager()
app = FastAPI()
TaskAdmin(app, task_manager, auto_install=True)


def length() -> float:
    return float((FOLDER / "length").read_text())


def mark(word: str) -> None:
    """One line in one write, so that lines of several processes do not mix."""
    context = get_task_context()
    assert context is not None
    with (FOLDER / "marks").open("ab", buffering=0) as file:
        file.write(f"{word} {context.task_id}\n".encode())


@task_manager.task
async def on_the_loop() -> None:
    mark("start")
    await asyncio.sleep(length())
    mark("end")


@task_manager.task
def in_a_thread() -> None:
    mark("start")
    time.sleep(length())
    mark("end")


@task_manager.task(lane="cpu")
def in_a_process() -> None:
    mark("start")
    until = time.perf_counter() + length()
    # Not a busy loop: the machine that runs the tests has other things to do.
    while time.perf_counter() < until:
        time.sleep(0.01)
    mark("end")


@task_manager.task(at_most_once=True)
def only_once() -> None:
    """With a negative length: the end of the whole process."""
    mark("start")
    if length() < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(length())
    mark("end")


@task_manager.task
def with_text(text: str) -> None:
    mark(f"start {len(text)}")


LANES = {"async": on_the_loop, "io": in_a_thread, "cpu": in_a_process, "once": only_once}


class Wanted(BaseModel):
    lanes: list[str]
    key: str | None = None
    #: Seconds the route itself takes before it adds anything.
    think: float = 0.0


@app.post("/add")
async def add(wanted: Wanted, background_tasks: BackgroundTasks) -> list[str]:
    """Add one task for each lane that is named."""
    if wanted.think:
        (FOLDER / "thinking").touch()
        await asyncio.sleep(wanted.think)
    options = {} if wanted.key is None else {"idempotency_key": wanted.key}
    return [
        str(background_tasks.add_task(LANES[lane], **options))  # type: ignore[func-returns-value]
        for lane in wanted.lanes
    ]


@app.post("/add-text")
def add_text(size: int, background_tasks: BackgroundTasks) -> float:
    """Seconds that adding took."""
    text = "x" * size
    began = time.perf_counter()
    try:
        background_tasks.add_task(with_text, text)
    finally:
        (FOLDER / "took").write_text(str(time.perf_counter() - began))
    return time.perf_counter() - began


@app.get("/ping")
async def ping() -> int:
    return os.getpid()
